"""Plain text: UTF-8, or refused with the place."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator

from clapas.recipe.errors import UserError
from clapas_data.formats.document import Document


def read_plain(data: bytes, name: str) -> Iterator[Document]:
    """A file as one document."""
    yield Document("", decode(data, name))


def decode(data: bytes, name: str) -> str:
    """UTF-8 text, a byte-order mark removed. Raises UserError naming line and byte where it is not text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte {data[error.start]:#04x} at offset {error.start}"
        raise not_utf8(data[: error.start] or data[:2], f"{name}:{line}", found) from None
    nul = text.find("\0")
    if nul >= 0:
        raise UserError(
            "a NUL byte: not a text file, or one cut short by a crash",
            where=f"{name}:{text.count(chr(10), 0, nul) + 1}",
            found=f"NUL at character {nul}",
            way_out="remove the file, or the bytes: tr -d '\\000'",
        )
    return text


def not_utf8(before: bytes, where: str, found: str) -> UserError:
    """The error for a text in another encoding. before: what precedes the first wrong byte, of the line or the file."""
    if not before.isascii() and not before.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        way_out = "convert the part that is not UTF-8, or set the file aside; ftfy mends text that was decoded wrongly"
        return UserError(
            "mixed encodings: UTF-8 before, not UTF-8 text here", where=where, found=found, way_out=way_out
        )
    likely = "UTF-16" if before.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "ISO-8859-1"
    way_out = f"convert it: iconv -f {likely} -t UTF-8 (if that is its encoding)"
    return UserError("not UTF-8 text", where=where, found=found, way_out=way_out)
