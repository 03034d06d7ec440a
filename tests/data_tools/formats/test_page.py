"""Web pages: the main text and nothing of the machinery around it, whatever encoding they say they have."""

from __future__ import annotations

import sys

import pytest

from clapas.recipe.errors import UserError
from clapas_data.formats import extract_file, extract_text
from clapas_data.formats.page import decode_page

PARAGRAPH = (
    "Le conseil municipal s'est réuni jeudi soir pour examiner le budget de la commune, qui prévoit la rénovation de "
    "l'école et l'achat d'un terrain près de la rivière. Les élus ont longuement débattu avant de voter."
)
PAGE = f"""<html><head><title>Budget</title><script>var x = "piège";</script><style>p {{}}</style></head><body>
<nav><a href="/">Accueil</a> <a href="/contact">Contact</a></nav>
<article><h1>Le budget est voté</h1><p onclick="alert('piège')">{PARAGRAPH}</p><script>document.write("piège")</script>
<p>{PARAGRAPH.replace("jeudi", "vendredi")}</p></article>
<aside class="sidebar"><ul><li><a href="/a">À lire aussi</a></li></ul></aside>
<footer>Mentions légales</footer></body></html>"""


def test_the_main_text() -> None:
    """Paragraphs and headings; no menus, scripts, handlers, styles."""
    text = extract_text("page", PAGE, "https://exemple.fr/budget")
    assert text.splitlines()[-2:] == [PARAGRAPH, PARAGRAPH.replace("jeudi", "vendredi")]
    for word in ("piège", "Accueil", "Mentions", "À lire"):
        assert word not in text


def test_french_typography_stays() -> None:
    """No-break spaces before `:;!?»` and after `«`, as characters or entities; those of layout do not."""
    before = "Il a dit\u00a0: «&nbsp;oui&nbsp;»&#8239;; 1&nbsp;000&#xa0;€\u202f! Fin&nbsp;&nbsp;&nbsp; de phrase."
    after = "Il a dit\u00a0: «\u00a0oui\u00a0»\u202f; 1\u00a0000\u00a0€\u202f! Fin de phrase."
    assert extract_text("page", PAGE.replace(PARAGRAPH, f"{PARAGRAPH} {before}")).splitlines()[-2].endswith(after)


@pytest.mark.parametrize("html", ["", "   ", "<html></html>", "<nav><a href='/'>Accueil</a></nav>", "\x01<<<>"])
def test_a_page_without_main_text_gives_none(html: str) -> None:
    """It is not made up of menus instead."""
    assert extract_text("page", html) == ""


@pytest.mark.parametrize(
    ("declared", "meta", "encoding"),
    [
        ("text/html; charset=iso-8859-15", "", "iso-8859-15"),
        ("text/html", '<meta charset="windows-1252">', "cp1252"),
        ("", '<meta http-equiv=Content-Type content="text/html; charset=ISO-8859-1">', "cp1252"),
        ("", "", "cp1252"),
        ("text/html; charset=utf-8", "", "utf-8"),
        ("text/html; charset=iso-8859-1", "", "utf-8"),
        ("text/html; charset=none-such", "", "cp1252"),
        ("text/html; charset=base64", "", "cp1252"),
        ("", "", "utf-16"),
        ("text/html; charset=us-ascii", "", "cp1252"),
        ("text/html; charset=gb2312", "", "utf-8"),
    ],
)
def test_encodings(declared: str, meta: str, encoding: str) -> None:
    """UTF-8 where the bytes are that, whatever is declared; else as declared; else what the web means by nothing."""
    html = f"{meta}<p>L'été, 20 €</p>"
    assert decode_page(html.encode(encoding), declared) == html


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "raw_unicode_escape", "idna", "punycode", "utf-8"])
def test_what_is_no_encoding_of_pages_stops_nothing(charset: str) -> None:
    """A page may declare what it likes: its text has no half characters, which no file could hold."""
    data = f'<meta charset="{charset}">'.encode() + b"<p>\xe9 \\ud800 +2AA- \xff</p>"
    assert "<p>" in decode_page(data).encode().decode()


def test_saved_pages_declare_their_own() -> None:
    """A file's only declaration is in it."""
    data = PAGE.replace("<title>", '<meta charset="iso-8859-1"><title>').encode("cp1252")
    (found,) = extract_file("page", data, "a.html")
    assert PARAGRAPH in found.text


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    with pytest.raises(UserError, match=r"needs `trafilatura`(.|\n)*pip install 'clapas\[data\]'"):
        extract_text("page", PAGE)
