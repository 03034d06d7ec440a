"""Archives read where they lie: tar (plain or compressed), zip, Debian packages.

Members are read, never unpacked: no name in an archive reaches the disk, no link is followed, and what has not the
bytes of a file (links, devices) is passed over. Archives within archives stay closed.
"""

from __future__ import annotations

import errno
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources.limits import LARGEST_DOCUMENT, check_ratio, tell_left_out
from clapas_data.sources.opened import BUFFER, COMPRESSED, inflate, open_file, open_stream, read_document
from clapas_data.sources.part import Part, RawDocument, documents_of_file, within

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")
ENDINGS = (*TAR_ENDINGS, ".zip", ".deb")
LONGEST_HEADER = 2**20
"""Bytes that a tar's extended header may take: names and times, a few hundred bytes in practice."""
SMALL_STEP = 4096
"""Compressed bytes: at most 100 MB come out of so many."""
AR_MAGIC = b"!<arch>\n"
_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class Member(NamedTuple):
    """A file of an archive. name: made safe to print and keep. data: None where it is larger than a document may be."""

    name: str
    data: bytes | None


def parts(source: Source, path: str) -> list[Part]:
    """An archive is read by one process."""
    return [Part(source, (path,))]


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of the members that match the source's `pattern`, in the archive's order."""
    path, source = part.paths[0], part.source
    for name, data in members(path, source.pattern or "*"):
        yield from documents_of_member(source, Member(f"{within(part, path)}/{name}", data), f"{path}/{name}")


def documents_of_member(source: Source, member: Member, where: str) -> Iterator[RawDocument]:
    """What one member holds; compressed ones (manual pages) are opened."""
    name, data = member
    if data is not None and name.endswith(COMPRESSED) and not name.endswith(TAR_ENDINGS):
        data = inflate(data, where)
    if data is None:
        tell_left_out(where)
        yield RawDocument(name, name, "", 0)
    else:
        yield from documents_of_file(source, data, where, name)


def members(path: str, pattern: str) -> Iterator[Member]:
    """The files of an archive whose path in it matches a glob, one at a time, in its order.

    Raises UserError where it is damaged, cut short, encrypted or grows beyond measure (limits.py).
    """
    if path.endswith(".zip"):
        return _members_of_zip(path, pattern)
    if path.endswith(".deb"):
        return _members_of_deb(path, pattern)
    return _members_of_tar(open_file(path), path, pattern)


def safe_name(name: str) -> str:
    """A member's path as an id: no `..`, no root, nothing that does not print or is not UTF-8."""
    steps = [step for step in name.replace("\\", "/").split("/") if step not in ("", ".", "..")]
    return "".join(c if c.isprintable() else "?" for c in "/".join(steps)) or "?"


class _Info(tarfile.TarInfo):
    """A tar's header, read strictly: `tarfile` takes a damaged one in mid-archive, and a missing end, for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Info:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # pyright: ignore[reportAttributeAccessIssue] - the end, as it should be
            raise
        except tarfile.HeaderError as error:
            raise _DamagedTarError(str(error)) from None
        if info.type in _HEADERS and info.size > LONGEST_HEADER:
            raise _DamagedTarError(f"a header of {info.size:,} bytes")
        return info


class _DamagedTarError(Exception):
    """Not one of `tarfile`'s own, which it would swallow."""


def _members_of_tar(file: BinaryIO, path: str, pattern: str) -> Iterator[Member]:
    place, last = 0, ""
    try:
        with file, tarfile.open(fileobj=file, mode="r|", tarinfo=_Info, bufsize=BUFFER) as tar:
            for info in tar:
                place += 1
                cast("Any", tar).members.clear()  # it would keep the headers of all
                last = safe_name(info.name)
                if info.isfile() and fnmatchcase(info.name, pattern):
                    yield Member(last, read_document(cast("Any", tar.extractfile(info)).read))
    except (tarfile.TarError, EOFError, _DamagedTarError) as error:
        raise _damaged(path, error, f"after {place} members, the last of them {last}" if place else None) from None


def _members_of_zip(path: str, pattern: str) -> Iterator[Member]:
    size, given, name = Path(path).stat().st_size, 0, ""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = safe_name(info.filename)
                if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16) or not fnmatchcase(info.filename, pattern):
                    continue
                if info.flag_bits & 1:
                    raise UserError("an encrypted member", where=f"{path}/{name}", way_out="decrypt the archive first")
                content = _content(archive, info)
                given += LARGEST_DOCUMENT if content is None else len(content)
                check_ratio(path, size, given)
                yield Member(name, content)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's trouble; a damaged place in the file is an invalid argument, bad bzip2 has no number
        raise _damaged(path, error, f"at member {name}" if name else None) from None


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes | None:
    """A member's bytes, None where they are too many. `zipfile` decompresses all that it reads at once but for deflate:
    in small steps, so that a bomb of bzip2 or LZMA does not go off in one of them."""
    step = BUFFER if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else SMALL_STEP
    with archive.open(info) as file:
        return read_document(cast("zipfile.ZipExtFile", file).read1, step)


def _members_of_deb(path: str, pattern: str) -> Iterator[Member]:
    """The files of a Debian package: an `ar` archive with a compressed tar in it (deb(5))."""
    with Path(path).open("rb") as file:
        if file.read(len(AR_MAGIC)) != AR_MAGIC:
            raise UserError("not a Debian package", where=path, wanted="an `ar` archive that begins with !<arch>")
        while header := file.read(60):
            if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
                raise UserError("a damaged Debian package", where=path, found=f"no header at {file.tell() - 60:,}")
            name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(header[48:58])
            if name.startswith("data.tar"):
                content = io.BytesIO(file.read(size))
                if len(content.getbuffer()) < size:
                    raise UserError("a damaged Debian package: cut short", where=path)
                stream = open_stream(content, f"{path}/{name}", size) if name.endswith(COMPRESSED) else content
                yield from _members_of_tar(cast("BinaryIO", stream), path, pattern)
                return
            file.seek(size + size % 2, 1)
    raise UserError("a damaged Debian package: it holds no data.tar", where=path)


def _damaged(path: str, error: Exception, found: str | None) -> UserError:
    return UserError(f"a damaged archive: {error}", where=path, found=found, way_out="copy or download it again")
