"""HTML as text: lines follow the page's blocks, tables are readable, nothing of the page's machinery stays."""

from __future__ import annotations

import pytest

from clapas_data.formats import extract_text
from clapas_data.formats.html import html_to_text

HTML = {
    "<p>un</p><p>deux<br/>trois</p>quatre": "un\ndeux\ntrois\nquatre",
    "<p>l'<b>alin</b>éa\n   second</p>": "l'alinéa second",
    "a\u00a0: b &amp; c &nbsp;!": "a\u00a0: b & c \u00a0!",
    "<ul><li>un<li>deux</ul>": "un\ndeux",
    "<table><tr><th><br>Âge </th><th>Taux</th></tr><tr><td><p>18</p><p>ans</p></td><td>5 %</td></tr></table>": (
        "Âge | Taux\n18 ans | 5 %"
    ),
    "<p>x<script>alert(1)</script><style>p{}</style><!-- y --></p>": "x",
    "simple  texte\n": "simple texte",
    "": "",
}


@pytest.mark.parametrize("html", HTML)
def test_html(html: str) -> None:
    """Lines follow the page's blocks."""
    assert html_to_text(html) == HTML[html]


def test_deep_html() -> None:
    """A page nested deeper than Python recurses reads."""
    assert html_to_text("<div>" * 20_000 + "fond" + "</div>" * 20_000) == "fond"


def test_text_fields() -> None:
    """A row's field is text as it is, or HTML."""
    assert extract_text("plain", "a <b> c") == "a <b> c"
    assert extract_text("html", "a <b>c</b>") == "a c"
