"""Opting out: whichever way a URL is written, and nothing beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas_data.pipeline import run_steps
from clapas_data.steps.opt_out import OptOut
from clapas_data.text.batch import TextBatch
from clapas_data.web import split_url

OUT = {
    "https://exemple.fr/page": "domain",
    "http://WWW.Exemple.FR.:8080/": "domain",
    "https://blog.exemple.fr": "domain",
    "https://user:pw@exemple.fr/": "domain",
    "exemple.fr/sans-schema": "domain",
    "https://xn--crmerie-cya.fr/": "domain",
    "https://CRÉMERIE.fr/lait": "domain",
    "https://www.journal.fr/archives/2020": "url",
    "https://journal.fr/archives/%c3%a9t%c3%a9?p=1": "url",
    "https://reserve.fr/articles/1": "tdm_reservation",
    "https://m.reserve.fr/articles/1": "tdm_reservation",
    "https://entier.fr/": "tdm_reservation",
}
IN = [
    "https://mon-exemple.fr/",
    "https://exemple.fr.autre.org/",
    "https://autre.org/?u=https://exemple.fr/",
    "https://journal.fr/archive",
    "https://m.journal.fr/archives/",
    "https://reserve.fr/",
    "https://reserve.fr/articles/libres/1",
    "",
    "urn:isbn:9782",
]


@pytest.fixture
def lists(tmp_path: Path) -> OptOut:
    """One list of each kind."""
    (tmp_path / "domaines.txt").write_text("# refus\n*.exemple.fr\r\ncrémerie.fr\n")
    (tmp_path / "urls.txt").write_text("https://www.journal.fr/archives/\n")
    (tmp_path / "ids.txt").write_text("doc 7\n")
    rows = [
        {"domain": "reserve.fr", "source": "tdmrep.json", "date": "2026-11-01", "path": "/articles/"},
        {"domain": "reserve.fr", "source": "tdmrep.json", "date": "2026-11-01", "path": "/articles/libres/"},
        {"domain": "www.entier.fr", "source": "robots.txt", "date": "2026-11-02"},
    ]
    rows[1]["tdm-reservation"] = 0  # pyright: ignore[reportArgumentType]
    (tmp_path / "tdm.jsonl").write_text("\n".join(map(json.dumps, rows)))
    step = OptOut(domains="domaines.txt", urls="urls.txt", ids="ids.txt", reservations="*.jsonl")  # pyright: ignore[reportArgumentType]
    return step.under(tmp_path)


def test_all_ways_to_write_a_url(lists: OptOut) -> None:
    """Each of those that are out has its reason; those that only look alike stay; documents without URL are counted."""
    urls = [*OUT, *IN, "https://libre.fr/"]
    ids = [f"doc {place}" if url != urls[-1] else "doc 7" for place, url in enumerate(urls, 100)]
    passed = run_steps([lists], TextBatch(["texte"] * len(urls), ids=ids, urls=urls))
    assert [urls[place] for place in passed.kept] == IN
    assert {sample.id: sample.reason for sample in passed.rejected}["doc 7"] == "id"
    assert passed.counts[0].reasons == {"domain": 7, "url": 2, "tdm_reservation": 3, "id": 1}
    assert passed.counts[0].counts == {"without_url": 2}


def test_hosts_have_one_form() -> None:
    """Ports, users, final dots, full-width dots and letters, and percent signs change nothing."""
    assert split_url("HTTP://u@Www.Été。Fr:80/a%2Fb#c") == ("xn--t-9fab.fr", "/a/b")
    assert split_url("//a.fr?q=é") == ("a.fr", "/?q=%C3%A9")
    assert split_url("https://[2001:DB8::1]:443/x") == ("[2001:db8::1]", "/x")
    assert split_url("https://www.fr/") == ("www.fr", "/")
    assert split_url("https:///chemin") == split_url("https://-a.fr/") == split_url("") == ("", "")


WRONG = {
    ("domains", "fr"): "not a domain",
    ("domains", "0.0.0.0 exemple.fr"): "not a domain",
    ("domains", "https://exemple.fr/a"): "not a domain(.|\n)*a list of `urls`",
    ("urls", "/archives/"): "not the beginning of a URL",
    ("urls", "https://fr"): "not the beginning of a URL",
    ("reservations", "exemple.fr"): "not JSON",
    ("reservations", '{"domain": "exemple.fr"}'): "not a reservation",
    ("reservations", '{"domain": "fr", "source": "meta", "date": "2026-11-27"}'): "domain: not what",
    ("reservations", '{"domain": "a.fr", "source": "on dit", "date": "2026-11-27"}'): "source: not what",
    ("reservations", '{"domain": "a.fr", "source": "meta", "date": "hier"}'): "date: not what",
    ("reservations", '{"domain": "a.fr", "source": "meta", "date": "2026-11-27", "path": "/*.pdf"}'): "path: not what",
}


@pytest.mark.parametrize(("option", "line"), WRONG)
def test_a_bad_line_is_named(option: str, line: str, tmp_path: Path) -> None:
    """A line that would match nothing, or all, is refused with its file and number."""
    (tmp_path / "liste").write_text(f"# liste\n\n{line}\n")
    step = OptOut(**{option: (str(tmp_path / "liste"),)})  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match=f"liste:3: {WRONG[option, line]}"):
        step(TextBatch(["texte"], ids=["a"]))


def test_some_list_is_there(tmp_path: Path) -> None:
    """An opting out without a list, or with one that is missing, is no opting out."""
    with pytest.raises(ValueError, match="found no list"):
        OptOut()
    with pytest.raises(UserError, match="no such file"):
        OptOut(domains=(str(tmp_path / "rien.txt"),)).identity()
