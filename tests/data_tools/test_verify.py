"""`verify` reads everything, names each damaged file, and says which blocks of it are damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas_data.blocks import BLOCK_BYTES
from clapas_data.manifest import FileRecord, Manifest
from clapas_data.verify import verify
from corpora import write_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A shard of five blocks, a small one, and a listed tokenizer."""
    manifest = write_corpus(tmp_path, {"law": [[1000] * 80], "web": [[5, 5]]})
    (tmp_path / "tokenizer.json").write_text("{}")
    record = FileRecord(bytes=2, sha256=hashlib.sha256(b"{}").hexdigest())
    values = {name: getattr(manifest, name) for name in Manifest.model_fields}
    Manifest.model_validate({**values, "files": {"tokenizer.json": record}}).write(tmp_path)
    return tmp_path


def write_at(path: Path, byte: int, content: bytes) -> None:
    """Overwrite a few bytes."""
    with path.open("r+b") as file:
        file.seek(byte)
        file.write(content)


def test_a_sound_corpus_passes(corpus: Path) -> None:
    """All files are read, and progress ends at their sum."""
    seen: list[tuple[int, int]] = []
    result = verify(corpus, progress=lambda done, total: seen.append((done, total)))
    assert (result.files, result.damage, result.unchecked) == (7, (), ())
    assert seen[-1] == (result.bytes, result.bytes)
    result.raise_for_damage()
    assert str(result).startswith("7 of 7 files sound")


def test_altered_blocks_are_named(corpus: Path) -> None:
    """Two of five blocks of one file, none of the others."""
    path = corpus / "train/law-00000.bin"
    write_at(path, BLOCK_BYTES + 3, b"\xff\xff")
    write_at(path, 4 * BLOCK_BYTES, b"\xff\xff")
    (damage,) = verify(corpus).damage
    assert (damage.path, damage.what, damage.blocks) == (path, "altered", (1, 4))


@pytest.mark.parametrize(
    "name", ["train/law-00000.idx", "train/law-00000.crc", "train/web-00000.bin", "tokenizer.json"]
)
def test_any_altered_file_is_found(corpus: Path, name: str) -> None:
    """Index, checksums, tokens, tokenizer: one byte each."""
    write_at(corpus / name, 1, b"\x7f")
    assert [(damage.path, damage.what) for damage in verify(corpus).damage] == [(corpus / name, "altered")]


def test_all_damage_is_told_at_once(corpus: Path) -> None:
    """Cut short, missing and altered in one message, exit 2."""
    with (corpus / "train/law-00000.bin").open("r+b") as file:
        file.truncate(10)
    (corpus / "train/web-00000.idx").unlink()
    write_at(corpus / "tokenizer.json", 0, b"[")
    result = verify(corpus)
    assert [damage.what for damage in result.damage] == ["cut short", "missing", "altered"]
    with pytest.raises(UserError, match="3 of 7 files damaged") as error:
        result.raise_for_damage()
    assert all(str(damage.path) in str(error.value) for damage in result.damage)


def test_bare_shards_are_said_to_be_unchecked(corpus: Path) -> None:
    """Nothing was recorded of them: no false comfort."""
    (corpus / "manifest.json").unlink()
    result = verify(corpus)
    assert (result.files, result.unchecked) == (0, ("train/law-00000", "train/web-00000"))
    assert "2 bare shards have no checksums" in str(result)
