"""Archives: their members are read where they lie; nothing in them reaches the disk; damage is named with its place."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from clapas.recipe.errors import UserError
from clapas_data.sources import limits
from clapas_data.sources.archive import members, safe_name
from reading import documents, files

TEXTS = {"a/un.txt": "premier", "a/deux.txt": "deuxième", "b/trois.md": "troisième"}
PACK = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def tar_of(texts: dict[str, str], *more: tarfile.TarInfo) -> bytes:
    """A tar of texts, and of members without content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        for member in more:
            tar.addfile(member)
    return file.getvalue()


def zip_of(path: Path, texts: dict[str, str], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A zip of texts."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return path


def deb_of(data: bytes, name: str = "data.tar.xz") -> bytes:
    """A Debian package that holds a tar."""

    def member(name: str, content: bytes) -> bytes:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        return header + content + b"\n" * (len(content) % 2)

    return b"!<arch>\n" + member("debian-binary", b"2.0\n") + member("control.tar.xz", b"odd") + member(name, data)


def test_every_kind_holds_the_same(tmp_path: Path) -> None:
    """tar in all its compressions, zip and deb: the members that match, in their order, each with its place."""
    for ending, pack in PACK.items():
        (tmp_path / f"x{ending}").write_bytes(pack(tar_of(TEXTS)))
    for name, method in (("x", zipfile.ZIP_DEFLATED), ("y", zipfile.ZIP_BZIP2), ("z", zipfile.ZIP_LZMA)):
        zip_of(tmp_path / f"{name}.zip", TEXTS, method)
    (tmp_path / "x.deb").write_bytes(deb_of(lzma.compress(tar_of(TEXTS))))
    for path in sorted(tmp_path.iterdir()):
        found = documents(files(path, pattern="a/*.txt"))
        assert [(d.id, d.file, d.text, d.place) for d in found] == [
            (f"{path.name}/{name}", f"{path.name}/{name}", TEXTS[name], 0) for name in ("a/un.txt", "a/deux.txt")
        ]


def test_compressed_members_are_opened(tmp_path: Path) -> None:
    """As manual pages are in a package."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo("man/un.txt.gz")
        data = gzip.compress(b"premier")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    (tmp_path / "x.tar").write_bytes(file.getvalue())
    assert [(d.id, d.text) for d in documents(files(tmp_path / "x.tar"))] == [("x.tar/man/un.txt.gz", "premier")]


@pytest.mark.parametrize("ending", [*PACK, ".zip", ".deb"])
def test_damage_is_named(tmp_path: Path, ending: str) -> None:
    """Cut short anywhere, or altered in the middle: one message with the archive's name, and no other exception."""
    path = tmp_path / f"x{ending}"
    texts = {f"{n}.txt": f"texte {n} " * (n * 37 % 300 + 1) for n in range(20)}
    if ending == ".zip":
        zip_of(path, texts)
    elif ending == ".deb":
        path.write_bytes(deb_of(gzip.compress(tar_of(texts)), "data.tar.gz"))
    else:
        path.write_bytes(PACK[ending](tar_of(texts)))
    data = path.read_bytes()
    assert len(documents(files(path))) == 20
    for size in [*range(0, len(data) - 1025, max(1, len(data) // 12)), len(data) - 1025]:
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match=rf"x{ending}"):
            documents(files(path))
    if ending == ".tar":  # the header of a member in the middle
        at = data.index(b"10.txt")
        data = data[:at] + b"\xff" * 300 + data[at + 300 :]
    else:
        data = data[: len(data) // 2] + b"\xff" * 40 + data[len(data) // 2 + 40 :]
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"x{ending}"):
        documents(files(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_damaged_anywhere(tmp_path: Path, method: int) -> None:
    """Whatever byte is wrong, and whatever its members are packed with: read as it was, or one message."""
    path = zip_of(tmp_path / "x.zip", {f"{n}.txt": f"texte {n} " * 40 for n in range(3)}, method)
    data = path.read_bytes()
    for place in range(0, len(data), 2):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with suppress(UserError):
            documents(files(path))


def test_names_reach_no_disk_and_links_are_not_followed(tmp_path: Path) -> None:
    """A member that climbs out, or is absolute, is only bytes with a tame id; links and devices are no members."""
    evil = {"../../climbed.txt": "un", "/etc/absolute.txt": "deux", "..\\..\\windows.txt": "trois", "a\n\x1b[31mb": "4"}
    links = []
    for kind, target in (
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "../../climbed.txt"),
        (tarfile.CHRTYPE, ""),
    ):
        link = tarfile.TarInfo(f"link{len(links)}.txt")
        link.type, link.linkname = kind, target
        links.append(link)
    (tmp_path / "x.tar").write_bytes(tar_of(evil, *links))
    names = ["climbed.txt", "etc/absolute.txt", "windows.txt", "a??[31mb"]
    assert [d.id for d in documents(files(tmp_path / "x.tar"))] == [f"x.tar/{name}" for name in names]
    zip_of(tmp_path / "x.zip", evil)
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert [d.id for d in documents(files(tmp_path / "x.zip"))] == [f"x.zip/{name}" for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tar", "x.zip"]
    assert safe_name("caf\udce9") == "caf?"
    assert safe_name("../..") == "?"


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What grows beyond measure is refused as a whole: zip, gzip, Zstandard, bzip2 and xz, also around a tar."""
    monkeypatch.setattr(limits, "ALWAYS_READ", 2**20)
    zeros = {f"{n}.txt": "a" * 2_000_000 for n in range(3)}
    zip_of(tmp_path / "x.zip", zeros)
    zip_of(tmp_path / "y.zip", zeros, zipfile.ZIP_BZIP2)
    for ending, pack in list(PACK.items())[1:]:
        (tmp_path / f"x{ending}").write_bytes(pack(tar_of(zeros)))
        (tmp_path / f"x.txt{ending[4:]}").write_bytes(pack(b"a" * 6_000_000))
    assert len(list(tmp_path.iterdir())) == 10
    for path in tmp_path.iterdir():
        with pytest.raises(UserError, match=rf"{path.name}: grows beyond measure(.|\n)*way out"):
            documents(files(path))


def test_an_extended_header_is_small(tmp_path: Path) -> None:
    """One that asks for the memory of the machine is damage, and read no further."""
    data = bytearray(tar_of({"a.txt": "un"}))
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 * 2**30
    (tmp_path / "x.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + data)
    with pytest.raises(UserError, match=r"x\.tar: a damaged archive: a header of 8,589,934,592 bytes"):
        list(members(str(tmp_path / "x.tar"), "*"))


def test_an_encrypted_zip_is_told(tmp_path: Path) -> None:
    """With the way out."""
    data = bytearray(zip_of(tmp_path / "x.zip", {"a.txt": "un"}, zipfile.ZIP_STORED).read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"x\.zip/a\.txt: an encrypted member"):
        documents(files(tmp_path / "x.zip"))
