"""Rows as documents: the fields that a source names, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.formats import extract_text
from clapas_data.sources.part import RawDocument


def documents_of_rows(source: Source, rows: Iterable[Any], path: str, first: int, named: str) -> Iterator[RawDocument]:
    """Rows of a table as documents.

    first: the number of the first row. named: what an id begins with where the source gives none.
    """
    for place, row in enumerate(rows, first):
        identifier, text = row_fields(source, row, lambda place=place: f"{path}#{place}")
        yield RawDocument(identifier or f"{named}#{place}", path, text, len(text.encode()))


def row_fields(source: Source, row: Any, where: Callable[[], str]) -> tuple[str | None, str]:
    """A row's id and text. where: says the row's place, called only for a message."""
    if not isinstance(row, dict):
        raise UserError("not a JSON object", where=where(), found=repr(row)[:60], wanted=f'{{"{source.text}": "..."}}')
    if source.text not in row:
        fields = ", ".join(map(str, row)) or "no field at all"
        way_out = "set `text:` of the source to the field that holds the text"
        raise UserError(f"no field {source.text!r}", where=where(), found=fields, way_out=way_out)
    text = row[source.text]
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise UserError(f"field {source.text!r} is not text", where=where(), found=repr(text)[:60], wanted="a string")
    if source.id and source.id not in row:
        way_out = "set `id:` of the source to the field that names a document, or leave it out"
        raise UserError(f"no field {source.id!r}", where=where(), found=", ".join(map(str, row)), way_out=way_out)
    identifier = row.get(source.id) if source.id else row.get("id", row.get("url"))
    return None if identifier is None else str(identifier), extract_text(source.extract, text)
