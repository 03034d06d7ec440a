"""Rows as documents: the fields that a source names, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.formats import extract_text
from clapas_data.sources.part import RawDocument

FIELDS = {
    "text": "holds the text",
    "id": "names a document",
    "url_field": "holds the page's address",
    "only": "says which rows are read",
}
"""Option of a source -> what its field is for."""

URL_FIELD = "url"
"""The field of a page's address where a source names none; a row need not have it."""


class Row(NamedTuple):
    """What a row says of its document. id: None where it has none."""

    id: str | None
    text: str
    url: str


def documents_of_rows(source: Source, rows: Iterable[Any], path: str, first: int, named: str) -> Iterator[RawDocument]:
    """Rows of a table as documents.

    first: the number of the first row. named: what an id begins with where the source gives none.
    """
    for place, row in enumerate(rows, first):
        found = row_fields(source, row, lambda place=place: f"{path}#{place}")
        if found is None:
            continue
        yield RawDocument(found.id or f"{named}#{place}", path, found.text, len(found.text.encode()), found.url, place)


def wanted_fields(source: Source, kind: str) -> dict[str, str]:
    """The fields that a source needs, each with the option that names it: `text`, and what else was asked for.

    kind: `field` or `column`; a column of addresses must be there, a line of JSON may have none.
    """
    named = {**dict.fromkeys(source.only, "only"), source.text: "text"}
    if source.id:
        named[source.id] = "id"
    if kind == "column" and source.url_field:
        named[source.url_field] = "url_field"
    return named


def check_fields(source: Source, known: Iterable[Any], where: str | Callable[[], str], kind: str) -> None:
    """Raise UserError where a field that the source needs is not among those known. kind: `field` or `column`."""
    for field, option in wanted_fields(source, kind).items():
        if field not in known:
            optional = "" if option == "text" else ", or leave it out"
            raise UserError(
                f"no {kind} {field!r}",
                where=where if isinstance(where, str) else where(),
                found=", ".join(map(str, known)) or f"no {kind} at all",
                way_out=f"set `{option}:` of the source to the {kind} that {FIELDS[option]}{optional}",
            )


def row_fields(source: Source, row: Any, where: Callable[[], str]) -> Row | None:
    """A row's id, text and address; None where the source's `only` passes it over.

    where: says the row's place, called only for a message.
    """
    if not isinstance(row, dict):
        raise UserError("not a JSON object", where=where(), found=repr(row)[:60], wanted=f'{{"{source.text}": "..."}}')
    only = source.only
    if source.text not in row or (source.id and source.id not in row) or (only and not row.keys() >= only.keys()):
        check_fields(source, row, where, "field")
    if only and any(str(row[field]) != wanted for field, wanted in only.items()):
        return None
    text = row[source.text]
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise UserError(f"field {source.text!r} is not text", where=where(), found=repr(text)[:60], wanted="a string")
    url = row.get(source.url_field or URL_FIELD)
    identifier = row.get(source.id) if source.id else row.get("id", url)
    url = url if isinstance(url, str) else ""
    return Row(None if identifier is None else str(identifier), extract_text(source.extract, text, url), url)
