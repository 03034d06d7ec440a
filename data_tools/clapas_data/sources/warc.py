"""WARC: the HTML pages that a crawler was given, as one document each, with their addresses.

Only answers with status 200 and of type text/html (or XHTML) are pages; requests, redirects, images, PDF and a crawl's
own records are passed over and not counted. https://iipc.github.io/warc-specifications/, read by warcio.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.formats import extract_text
from clapas_data.formats.page import decode_page
from clapas_data.optional import needs
from clapas_data.sources.limits import LARGEST_DOCUMENT, tell_left_out
from clapas_data.sources.opened import open_file
from clapas_data.sources.part import Part, RawDocument, id_start, left_out

if TYPE_CHECKING:
    from warcio.recordloader import ArcWarcRecord

ENDINGS = (".warc", ".warc.gz", ".warc.zst")
PAGES = ("text/html", "application/xhtml+xml")


def parts(source: Source, path: str) -> list[Part]:
    """A WARC file, a gigabyte in a usual crawl, is read by one process."""
    if source.extract not in ("page", "html"):
        wanted = "`page` (the main text, by trafilatura) or `html` (all text)"
        raise UserError("a WARC file holds pages: `extract:` says what of them is read", where=path, wanted=wanted)
    return [Part(source, (path,))]


def read(part: Part) -> Iterator[RawDocument]:
    """The pages of a file. Raises UserError where it is damaged or cut short."""
    path = part.paths[0]
    with open_file(path) as file:
        for place, record in _records(file, path):
            if _is_page(record):
                yield _document(part, place, record)


def _records(file: Any, path: str) -> Iterator[tuple[int, ArcWarcRecord]]:
    """Each record with the byte of the uncompressed file at which it begins."""
    with needs("warcio", "reading a WARC file"):
        from warcio.archiveiterator import WARCIterator
        from warcio.exceptions import ArchiveLoadFailed
        from warcio.statusandheaders import StatusAndHeadersParserException

    records = WARCIterator(file)
    while True:
        try:
            record = next(records)
        except StopIteration:
            return
        except (ArchiveLoadFailed, StatusAndHeadersParserException, EOFError, ValueError) as error:
            raise _damaged(path, records.offset, (str(error).strip() or type(error).__name__).splitlines()[0]) from None
        except AttributeError:  # warcio looks into the address of a page without asking whether there is one
            raise _damaged(path, records.offset, "a page without its WARC-Target-URI") from None
        place = records.offset
        if records.err_count:
            raise _damaged(path, place, "the record before is longer than it says")
        if not (record.rec_headers.get_header("Content-Length") or "").isdigit():
            raise _damaged(path, place, "a record's headers end before they say its length")
        yield place, record
        while record.raw_stream.read(2**16):
            pass
        if left := getattr(record.raw_stream, "limit", 0):
            raise _damaged(path, place, f"cut short: {left:,} bytes of this record are missing")


def _damaged(path: str, place: int, what: str) -> UserError:
    found = f"at byte {place:,} of what it holds"
    return UserError(f"a damaged WARC file: {what[:100]}", where=path, found=found, way_out="download it again")


def _is_page(record: ArcWarcRecord) -> bool:
    if record.rec_type != "response" or record.http_headers is None:
        return False
    kind = (record.http_headers.get_header("Content-Type") or "").partition(";")[0].strip().lower()
    return record.http_headers.get_statuscode() == "200" and kind in PAGES


def _document(part: Part, place: int, record: ArcWarcRecord) -> RawDocument:
    path = part.paths[0]
    url = record.rec_headers.get_header("WARC-Target-URI") or ""
    content = _body(record)
    if len(content) > LARGEST_DOCUMENT:
        tell_left_out(f"{path}@{place} ({url})")
        return left_out(part, place)
    declared = (record.http_headers and record.http_headers.get_header("Content-Type")) or ""
    text = extract_text(part.source.extract, decode_page(content, declared), url)
    identifier = (record.rec_headers.get_header("WARC-Record-ID") or "").strip("<>") or f"{id_start(part)}@{place}"
    return RawDocument(identifier, path, text, len(content), url, place)


def _body(record: ArcWarcRecord) -> bytes:
    """What the page's server sent; nothing where it does not unpack as its headers say, as the web has such pages."""
    import zlib

    try:
        return record.content_stream().read(LARGEST_DOCUMENT + 1)
    except (zlib.error, EOFError, ValueError):
        return b""
