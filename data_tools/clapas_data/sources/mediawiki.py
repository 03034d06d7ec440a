"""MediaWiki's dumps (`frwiki-…-pages-articles.xml.bz2`): articles as prose, read as a stream.

Only pages of the main namespace that are wikitext and no redirect. The multistream form is many bzip2 streams of 100
pages one after another: it is cut by ranges of compressed bytes, each of which reads the streams that begin in it, so
that all processes share one dump without its index. A dump of one stream is read by one process.
https://www.mediawiki.org/wiki/Help:Export#Export_format
"""

from __future__ import annotations

import bz2
import re
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.formats.wikitext import wikitext_to_text
from clapas_data.formats.xml import find, parse_xml, value
from clapas_data.sources.limits import LARGEST_DOCUMENT, check_ratio, tell_left_out
from clapas_data.sources.opened import BUFFER, open_file
from clapas_data.sources.part import Part, RawDocument, id_start, left_out

COMPRESSED_PART = 4 * 2**20
"""Bytes of a multistream dump in a part: about 16 MiB of XML."""
_STREAM = re.compile(rb"BZh[1-9]1AY&SY")
_MAGIC = 10
"""Bytes that a bzip2 stream begins with: its level, and the digits of pi that begin a block."""
_BASE = re.compile(rb"<base>([^<]+)</base>")
_BEGIN, _END, _LAST = b"<page>", b"</page>", b"</mediawiki>"


class _Piece(NamedTuple):
    """Some uncompressed bytes. place: of the first of them; step: by how much the place of the next one is higher,
    0 where a piece only knows its stream's. own: whether pages that begin in it are of the part."""

    place: int
    step: int
    data: bytes
    own: bool


def parts(source: Source, path: str) -> list[Part]:
    """Ranges of compressed bytes of a multistream dump; any other whole. Raises UserError where it is no dump."""
    with open_file(path) as file:
        if b"<mediawiki" not in file.read(4096):
            raise UserError("not a MediaWiki dump", where=path, wanted="XML that begins with <mediawiki")
    size = Path(path).stat().st_size
    if not _is_multistream(path):
        return [Part(source, (path,))]
    ranges = range(0, size, COMPRESSED_PART)
    return [Part(source, (path,), start, min(start + COMPRESSED_PART, size)) for start in ranges]


def read(part: Part) -> Iterator[RawDocument]:
    """The articles whose pages begin in a part. A page's place is the byte at which its stream begins, as the dump's
    own index counts it, in a multistream dump, else its byte in the uncompressed file."""
    path = part.paths[0]
    pages = _Pages(_streams(path, part.start, part.stop) if part.stop else _plain(path), path)
    while (page := pages.next()) is not None:
        place, data = page
        if data is None:
            tell_left_out(f"{path}@{place}")
            yield left_out(part, place)
        elif document := _article(data, part, place):
            yield document


def _article(page: bytes, part: Part, place: int) -> RawDocument | None:
    """A page as a document, None where it is no article."""
    path = part.paths[0]
    root = parse_xml(page, f"{path}@{place}")
    model = value(find(root, "revision", "model"))
    if value(find(root, "ns")) != "0" or find(root, "redirect") is not None or model not in ("", "wikitext"):
        return None
    title, number = value(find(root, "title")), value(find(root, "id"))
    text = wikitext_to_text(value(find(root, "revision", "text")))
    base = _base(path)
    url = f"{base}{quote(title.replace(' ', '_'), safe='/:,()!*;')}" if base else ""
    return RawDocument(number or id_start(part), path, f"{title}\n\n{text}" if text else "", len(page), url, place)


class _Pages:
    """The pages that begin in a part's own bytes, one after another."""

    def __init__(self, pieces: Iterator[_Piece], path: str) -> None:
        self._pieces = pieces
        self._path = path
        self._held = bytearray()
        self._starts: deque[tuple[int, _Piece]] = deque()  # where in `_held` each piece begins; negative where cut
        self._complete = False

    def next(self) -> tuple[int, bytes | None] | None:
        """A page with its place, without its bytes where it is larger than a document may be; None after the last."""
        if not self._skip_to_page():
            return None
        start, piece = self._starts[0]
        if not piece.own:
            return None
        place, size, searched = piece.place - start * piece.step, 0, 0
        while (end := self._held.find(_END, searched)) < 0:
            searched = max(0, len(self._held) - len(_END))
            if len(self._held) > LARGEST_DOCUMENT:
                size += searched
                self._forget(searched)
                searched = 0
            if not self._pull():
                raise UserError("a dump that is cut short: its last page has no end", where=f"{self._path}@{place}")
        end += len(_END)
        page = None if size + end > LARGEST_DOCUMENT else bytes(self._held[:end])
        self._forget(end)
        return place, page

    def _skip_to_page(self) -> bool:
        while (found := self._held.find(_BEGIN)) < 0:
            self._complete |= _LAST in self._held
            self._forget(max(0, len(self._held) - len(_LAST)))
            if not self._pull():
                if self._starts and not self._complete:
                    what = f"a dump that is cut short: no {_LAST.decode()} at its end"
                    raise UserError(what, where=self._path)
                return False
        self._forget(found)
        return True

    def _pull(self) -> bool:
        piece = next(self._pieces, None)
        if piece is not None:
            self._starts.append((len(self._held), piece._replace(data=b"")))
            self._held += piece.data
        return piece is not None

    def _forget(self, count: int) -> None:
        del self._held[:count]
        self._starts = deque((start - count, piece) for start, piece in self._starts)
        while len(self._starts) > 1 and self._starts[1][0] <= 0:
            self._starts.popleft()


def _plain(path: str) -> Iterator[_Piece]:
    """All of a dump that is not compressed, or is one stream."""
    place = 0
    with open_file(path) as file:
        while data := file.read(BUFFER):
            yield _Piece(place, 1, data, own=True)
            place += len(data)


def _streams(path: str, start: int, stop: int) -> Iterator[_Piece]:
    """The streams that begin in bytes `[start, stop)`, then those after them as long as someone reads on."""
    with Path(path).open("rb") as file:
        file.seek(start)
        found = _STREAM.search(file.read(stop - start + _MAGIC - 1))
        if found is None:
            return
        at, given, ready = start + found.start(), 0, b""
        file.seek(at)
        while ready := ready or file.read(BUFFER):
            stream, first = bz2.BZ2Decompressor(), at
            while not stream.eof:
                if stream.needs_input:
                    ready = ready or file.read(BUFFER)
                    if not ready:
                        raise UserError("a dump that is cut short", where=path, found=f"no end of the stream at {at:,}")
                try:
                    data = stream.decompress(ready, max_length=BUFFER)
                except OSError as error:
                    found = f"in the stream at byte {at:,}"
                    raise UserError(f"a damaged dump: {error}", where=path, found=found) from None
                ready = b""
                given += len(data)
                check_ratio(path, max(1, file.tell() - start), given)
                yield _Piece(first, 0, data, own=first < stop)
            ready = stream.unused_data
            at = file.tell() - len(ready)


def _is_multistream(path: str) -> bool:
    """Whether a second bzip2 stream begins in the first megabyte: the first holds the site's description alone."""
    if not path.endswith(".bz2"):
        return False
    with Path(path).open("rb") as file:
        return _STREAM.search(file.read(2**20), 1) is not None


@lru_cache(maxsize=16)
def _base(path: str) -> str:
    """What the addresses of a dump's pages begin with; empty where it does not say."""
    with open_file(path) as file:
        found = _BASE.search(file.read(2**16))
    return found[1].decode().rpartition("/")[0] + "/" if found else ""
