"""WARC: the pages that were answered, with their addresses; nothing else of a crawl; damage is named."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from clapas.recipe.errors import UserError
from reading import documents, files

PAGE = "<html><body><nav>Menu</nav><p>Un été à la mer, n° {number}.</p><script>piège()</script></body></html>"


def warc_of(packed: bool = False) -> bytes:
    """A crawl: its own record, a request, two pages (one Latin-1), a picture, a page that is not there, a redirect."""
    file = io.BytesIO()
    writer = WARCWriter(file, gzip=packed)
    writer.write_record(writer.create_warcinfo_record("a.warc", {"software": "essai"}))

    def add(kind: str, status: str, content_type: str, body: bytes, number: int) -> None:
        headers = StatusAndHeaders(status, [("Content-Type", content_type)], protocol="HTTP/1.1")
        url = f"https://exemple.fr/{number}"
        made = {"WARC-Record-ID": f"<urn:uuid:{number}>", "WARC-Date": "2024-01-01T00:00:00Z"}
        writer.write_record(
            writer.create_warc_record(url, kind, io.BytesIO(body), http_headers=headers, warc_headers_dict=made)
        )

    add("request", "GET /1 HTTP/1.1", "text/html", b"", 1)
    add("response", "200 OK", "text/html; charset=utf-8", PAGE.format(number=1).encode(), 2)
    add("response", "200 OK", "text/html", b"<p>" + b"mot " * 100_000, 7)
    add("response", "200 OK", "image/png", b"\x89PNG" * 100, 3)
    add("response", "404 Not Found", "text/html", b"<p>Rien</p>", 4)
    add("response", "301 Moved", "text/html", b"<p>Ailleurs</p>", 5)
    add("response", "200 OK", "text/html; charset=iso-8859-1", PAGE.format(number=2).encode("latin-1"), 6)
    return file.getvalue()


@pytest.mark.parametrize("ending", [".warc", ".warc.gz"])
def test_pages(tmp_path: Path, ending: str) -> None:
    """Only answers 200 of HTML, each with its address, its record's id, and the byte that it begins at."""
    plain = warc_of()
    (tmp_path / f"a{ending}").write_bytes(warc_of(packed=True) if ending.endswith(".gz") else plain)
    found = documents(files(tmp_path / f"a{ending}", extract="html"))
    long = found.pop(1)
    assert (long.text, long.bytes_read) == (("mot " * 100_000).strip(), 400_003)
    assert [d.text for d in found] == ["Menu\nUn été à la mer, n° 1.", "Menu\nUn été à la mer, n° 2."]
    assert [(d.id, d.url) for d in found] == [(f"urn:uuid:{n}", f"https://exemple.fr/{n}") for n in (2, 6)]
    if ending == ".warc":
        assert all(plain[d.place :].startswith(b"WARC/1.0") for d in found)
        assert [d.id.encode() in plain[d.place : d.place + 300] for d in found] == [True, True]


def test_the_main_text_needs_no_menu(tmp_path: Path) -> None:
    """`extract: page` reads what trafilatura takes for the page's text; a WARC needs one of the two."""
    (tmp_path / "a.warc").write_bytes(warc_of())
    found = documents(files(tmp_path / "a.warc", extract="page"))
    assert len(found) == 3
    assert not any("Menu" in d.text or "piège" in d.text for d in found)
    with pytest.raises(UserError, match=r"a\.warc: a WARC file holds pages"):
        documents(files(tmp_path / "a.warc"))


def test_a_body_that_does_not_unpack_is_an_empty_page(tmp_path: Path) -> None:
    """The web has such pages: they are counted, and no reason to stop."""
    headers = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    block = headers + gzip.compress(b"<p>mot</p>" * 100)[:30]
    record = f"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: {len(block)}\r\n".encode()
    record += b"Content-Type: application/http; msgtype=response\r\nWARC-Target-URI: https://a.fr/\r\n\r\n"
    (tmp_path / "a.warc").write_bytes(record + block + b"\r\n\r\n" + warc_of())
    first, *others = documents(files(tmp_path / "a.warc", extract="html"))
    assert (first.id, first.url) == ("a.warc@0", "https://a.fr/")
    assert len(others) == 3


def test_a_page_without_an_address_is_damage(tmp_path: Path) -> None:
    """The standard asks for it."""
    (tmp_path / "a.warc").write_bytes(warc_of().replace(b"WARC-Target-URI", b"WARC-Target-URX"))
    with pytest.raises(UserError, match=r"a\.warc: a damaged WARC file: a page without its WARC-Target-URI"):
        documents(files(tmp_path / "a.warc", extract="html"))


@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_named(tmp_path: Path, packed: bool) -> None:
    """Cut short within any record, or no WARC at all."""
    path = tmp_path / ("a.warc.gz" if packed else "a.warc")
    data = warc_of(packed)
    sizes = [len(data) - 60, len(data) * 3 // 4, len(data) // 2, len(data) // 3]
    for content in [*(data[:size] for size in sizes), b"ceci n'est pas un WARC\r\n" * 9]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=path.name):
            documents(files(path, extract="html"))
