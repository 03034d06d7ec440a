"""Wikipedia's dumps: every article once, however the dump is cut; redirects and other namespaces never."""

from __future__ import annotations

import bz2
import gzip
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clapas.recipe.errors import UserError
from clapas_data.sources import Part, limits, mediawiki, read_part, source_parts
from reading import documents, files

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="fr">
  <siteinfo><sitename>Wikipédia</sitename><base>https://fr.wikipedia.org/wiki/Wikip%C3%A9dia:Accueil</base></siteinfo>
"""
PAGE = """  <page>
    <title>{title}</title><ns>{ns}</ns><id>{id}</id>{redirect}
    <revision><id>9</id><contributor><username>X</username><id>7</id></contributor><model>wikitext</model>
      <format>text/x-wiki</format><text bytes="9" xml:space="preserve">{text}</text></revision>
  </page>
"""


def page(number: int, **changes: object) -> str:
    values = {
        "title": f"L'été {number}",
        "ns": 0,
        "id": number,
        "redirect": "",
        "text": f"'''Texte''' {number} &amp; fin",
    }
    return PAGE.format(**{**values, **changes})


PAGES = [page(number) for number in range(1, 31)]
OTHERS = [page(100, redirect='<redirect title="Ailleurs" />'), page(101, ns=10), page(102, ns=1)]


def streams_of(pages: list[str], cuts: list[int]) -> bytes:
    """A dump as many bzip2 streams, the XML cut at any bytes."""
    body = "".join(pages).encode()
    pieces = [HEAD.encode(), *(body[a:b] for a, b in pairwise([0, *sorted(cuts), len(body)])), b"</mediawiki>\n"]
    return b"".join(map(bz2.compress, pieces))


def test_articles(tmp_path: Path) -> None:
    """Title and prose, with address and id; plain, compressed as one stream, or as many."""
    xml = (HEAD + "".join([*OTHERS, *PAGES]) + "</mediawiki>\n").encode()
    (tmp_path / "w-pages-articles.xml").write_bytes(xml)
    (tmp_path / "w-pages-articles.xml.bz2").write_bytes(bz2.compress(xml))
    (tmp_path / "w-pages-articles.xml.gz").write_bytes(gzip.compress(xml))
    (tmp_path / "w-multistream.xml.bz2").write_bytes(streams_of([*OTHERS, *PAGES], [4000, 8000]))
    for path in tmp_path.iterdir():
        found = documents(files(path, extract="mediawiki"))
        assert [d.id for d in found] == [str(number) for number in range(1, 31)]
        assert found[0].text == "L'été 1\n\nTexte 1 & fin"
        assert found[0].url == "https://fr.wikipedia.org/wiki/L%27%C3%A9t%C3%A9_1"
        if "multistream" not in path.name:
            assert all(xml[d.place :].startswith(b"<page>") for d in found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 9000), max_size=12), st.integers(20, 3000))
def test_any_cut_reads_every_page_once(tmp_path: Path, cuts: list[int], step: int) -> None:
    """Streams that end in mid-page (pbzip2 writes such), and parts that end in mid-stream."""
    path = tmp_path / "w.xml.bz2"
    data = streams_of(PAGES, cuts)
    path.write_bytes(data)
    source = files(path, extract="mediawiki")
    ranges = [(start, min(start + step, len(data))) for start in range(0, len(data), step)]
    found = [d.id for start, stop in ranges for d in read_part(Part(source, (str(path),), start, stop))]
    assert found == [str(number) for number in range(1, 31)]


def test_a_multistream_dump_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into parts of about a size; a dump of one stream is one."""
    monkeypatch.setattr(mediawiki, "COMPRESSED_PART", 500)
    (tmp_path / "a.xml.bz2").write_bytes(streams_of(PAGES, [2000, 4000, 6000]))
    (tmp_path / "b.xml.bz2").write_bytes(bz2.compress((HEAD + "".join(PAGES) + "</mediawiki>").encode()))
    assert len(source_parts("a", files(tmp_path / "a.xml.bz2", extract="mediawiki"))) > 2
    assert len(source_parts("b", files(tmp_path / "b.xml.bz2", extract="mediawiki"))) == 1


def test_damage_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut short in or after a stream or a page, altered, not XML, not a dump, or a bomb."""
    path = tmp_path / "w.xml.bz2"
    source = files(path, extract="mediawiki")
    good, xml = streams_of(PAGES, [2000, 4000]), (HEAD + "".join(PAGES)).encode()
    bad = [
        *(good[:-20], good[: good.rindex(b"BZh9")], bz2.compress(xml), bz2.compress(xml[:-40])),
        *(good[:-150] + b"\xff" * 30 + good[-120:], bz2.compress(xml)[:-9], b"BZh9" + bytes(99)),
        *(streams_of([page(1), "<page><title>x</page>"], []), streams_of([page(1, text="a<b")], [])),
        bz2.compress(b"<article/>"),
    ]
    what = "(cut short|damage|not a sound|not sound XML|not a MediaWiki dump)"
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"w\.xml\.bz2(@\d+(:\d+)?)?: .*{what}"):
            documents(source)
    monkeypatch.setattr(limits, "ALWAYS_READ", 2**20)
    path.write_bytes(streams_of([page(1, text="a" * 5_000_000)], [100]))
    with pytest.raises(UserError, match=r"w\.xml\.bz2: grows beyond measure"):
        documents(source)


def test_a_large_page_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those after it are read."""
    monkeypatch.setattr(mediawiki, "LARGEST_DOCUMENT", 2000)
    path = tmp_path / "w.xml"
    path.write_text(HEAD + page(1) + page(2, text="x" * 3_000_000) + page(3) + "</mediawiki>")
    assert [d.text[:7] for d in documents(files(path, extract="mediawiki"))] == ["L'été 1", "", "L'été 3"]
