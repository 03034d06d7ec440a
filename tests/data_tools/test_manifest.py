"""A manifest tells what a folder of shards holds, and refuses one that is not whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson
import pytest

from clapas.recipe.errors import UserError
from clapas_data.manifest import UNKNOWN, FileRecord, Manifest, ShardEntry, open_manifest
from clapas_data.shards import IndexHeader, ShardRecord, ShardWriter, shard_files
from clapas_data.step_record import StepRecord
from corpora import manifest_of, write_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two sources, a held-out split, four shards."""
    write_corpus(tmp_path / "data", {"law": [[3, 4], [5]], "web": [[2] * 10]}, {"law": [[6, 1]]})
    return tmp_path / "data"


def change(folder: Path, **values: object) -> None:
    """Edit a manifest by hand."""
    path = folder / "manifest.json"
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **values}))


def test_what_is_written_is_what_is_opened(corpus: Path) -> None:
    """Splits, counts, folder and hash survive the disk."""
    manifest = open_manifest(corpus)
    assert manifest.splits == ["train", "heldout"]
    assert (manifest.tokens("train"), manifest.tokens("heldout"), manifest.text_bytes("heldout")) == (32, 7, 28)
    assert [shard.path for shard in manifest.shards][:2] == ["train/law-00000", "train/law-00001"]
    assert manifest.folder == corpus
    manifest.write(corpus)
    assert open_manifest(corpus).hash == manifest.hash


def test_the_hash_is_of_the_data_alone(corpus: Path) -> None:
    """Time, place and notes leave it alone; another token, source or order changes it."""
    manifest = open_manifest(corpus)
    step = StepRecord(name="x", documents_in=1, documents_out=1, bytes_in=1, bytes_out=1, seconds=2.5)
    renamed = [{**asdict(shard), "path": f"{shard.path}-moved"} for shard in manifest.shards]
    assert copy(manifest, steps=(step,), name="other", shards=renamed).hash == manifest.hash
    assert copy(manifest, shards=tuple(reversed(manifest.shards))).hash != manifest.hash
    assert copy(manifest, shards=manifest.shards[:-1]).hash != manifest.hash
    altered = [{**asdict(shard), "bin_sha256": "f" * 64} for shard in manifest.shards]
    assert copy(manifest, shards=altered).hash != manifest.hash


def copy(manifest: Manifest, **values: object) -> Manifest:
    """A manifest with other values."""
    kept = {name: getattr(manifest, name) for name in Manifest.model_fields}
    return Manifest.model_validate({**kept, **values})


@pytest.mark.parametrize("name", ["train/law-00000.bin", "train/law-00001.idx", "heldout/law-00000.crc"])
def test_a_file_cut_short_is_refused_at_open(corpus: Path, name: str) -> None:
    """The message names the file, the size found, the size wanted and the way out."""
    path = corpus / name
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(UserError) as error:
        open_manifest(corpus)
    message = str(error.value)
    assert all(part in message for part in (str(path), f"{size - 1:,} bytes", f"{size:,} bytes", "clapas data verify"))


def test_a_missing_file_is_refused_at_open(corpus: Path) -> None:
    """Shards and the other files alike."""
    (corpus / "train/law-00001.bin").unlink()
    with pytest.raises(UserError, match="file missing"):
        open_manifest(corpus)


def test_the_other_files_are_looked_at_too(corpus: Path) -> None:
    """`files` lists them with their sizes."""
    copy(open_manifest(corpus), files={"documents.parquet": FileRecord(bytes=1, sha256="")}).write(corpus)
    with pytest.raises(UserError, match=r"documents\.parquet: file longer"):
        open_manifest(corpus)


def test_an_index_of_another_shard_is_refused_at_open(corpus: Path) -> None:
    """Equal sizes, other header: found without reading the content."""
    path = corpus / "train/law-00000.idx"
    content = bytearray(path.read_bytes())
    content[17] = 8  # uint16 instead of int32
    path.write_bytes(content)
    with pytest.raises(UserError, match="not the index that the manifest describes") as error:
        open_manifest(corpus)
    assert "uint16" in str(error.value)


def test_a_manifest_edited_by_hand_is_refused_where_it_matters(corpus: Path) -> None:
    """A licence may be corrected; another order of shards would be another corpus under the old hash."""
    manifest = open_manifest(corpus)
    change(corpus, sources={name: {"licence": "etalab-2.0"} for name in manifest.sources})
    assert open_manifest(corpus).hash == manifest.hash
    change(corpus, shards=orjson.loads((corpus / "manifest.json").read_bytes())["shards"][::-1])
    with pytest.raises(UserError, match="not those it was sealed with"):
        open_manifest(corpus)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dtype": "float32"}, "not a manifest: dtype"),
        ({"surprise": 1}, "not a manifest: surprise"),
        ({"version": 2}, "not a manifest: version"),
        ({"sources": {}}, "is not described"),
    ],
)
def test_a_manifest_that_is_none_is_refused(corpus: Path, values: dict[str, object], message: str) -> None:
    """One message that names the place."""
    change(corpus, **values)
    with pytest.raises(UserError, match=message):
        open_manifest(corpus)


@pytest.mark.parametrize("path", ["../secret", "train/../../secret", "/etc/secret"])
def test_a_shard_outside_the_folder_is_refused(corpus: Path, path: str) -> None:
    """A manifest from elsewhere cannot make us read /etc."""
    shards = orjson.loads((corpus / "manifest.json").read_bytes())["shards"]
    change(corpus, shards=[{**shards[0], "path": path}])
    with pytest.raises(UserError, match="outside the folder"):
        open_manifest(corpus)


def test_dots_in_a_name_are_no_way_out(tmp_path: Path) -> None:
    """A source may be called `notes..old`."""
    write_corpus(tmp_path / "data", {"notes..old": [[3, 4]]}, {})
    assert open_manifest(tmp_path / "data").shards[0].path == "train/notes..old-00000"


def test_a_manifest_that_is_not_json_is_refused(corpus: Path) -> None:
    """As a user's mistake, without a traceback."""
    (corpus / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        open_manifest(corpus)


def test_a_folder_without_a_corpus_is_refused(tmp_path: Path) -> None:
    """Missing, or empty: the message says how to build one."""
    with pytest.raises(UserError, match="no such corpus folder"):
        open_manifest(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no corpus here"):
        open_manifest(tmp_path)


def test_opening_reads_no_tokens(tmp_path: Path) -> None:
    """A shard of 10^12 tokens (a sparse file of two terabytes) opens as fast as any."""
    tokens = 10**12
    record = ShardRecord(
        path="train/huge",
        documents=1,
        sequences=1,
        tokens=tokens,
        bin_bytes=2 * tokens,
        idx_bytes=54,
        bin_sha256="0" * 64,
        idx_sha256="0" * 64,
        crc_sha256="0" * 64,
    )
    entry = ShardEntry.of(record, folder="", split="train", source="huge", text_bytes=1)
    (tmp_path / "train").mkdir()
    for path, size in zip(shard_files(tmp_path, entry), (2 * tokens, 54, entry.crc_bytes), strict=True):
        with path.open("wb") as file:
            file.write(IndexHeader("uint16", 1, 1).pack() if path.suffix == ".idx" else b"")
            file.truncate(size)
    manifest_of([entry], "uint16").write(tmp_path)
    manifest = open_manifest(tmp_path)
    assert manifest.tokens("train") == tokens


def test_an_unknown_split_is_refused(corpus: Path) -> None:
    """The message lists those that there are."""
    with pytest.raises(UserError, match="train, heldout"):
        open_manifest(corpus).tokens("validation")


def bare(folder: Path, name: str, dtype: str = "uint16") -> None:
    """A Megatron pair without a manifest or checksums."""
    with ShardWriter(folder / name, np.dtype(dtype)) as writer:
        writer.add_many(np.arange(10), np.array([4, 6]))
    (folder / f"{name}.crc").unlink()


def test_bare_megatron_shards_open_with_an_unknown_licence(tmp_path: Path) -> None:
    """Each is a source of its own; folders are splits."""
    bare(tmp_path, "wiki_text_document")
    bare(tmp_path / "heldout", "wiki_text_document")
    manifest = open_manifest(tmp_path)
    assert manifest.splits == ["heldout", "train"]
    assert (manifest.tokens("train"), manifest.text_bytes("train"), manifest.tokenizer) == (10, None, None)
    assert manifest.sources["wiki_text_document"].licence == UNKNOWN
    assert manifest.shards[0].is_bare
    assert manifest.hash == open_manifest(tmp_path).hash


def test_bare_shards_cut_short_are_refused_at_open(tmp_path: Path) -> None:
    """The index tells how long the tokens must be, and itself."""
    bare(tmp_path, "a")
    with (tmp_path / "a.bin").open("r+b") as file:
        file.truncate(19)
    with pytest.raises(UserError, match=r"a\.bin: file cut short"):
        open_manifest(tmp_path)
    with (tmp_path / "a.idx").open("r+b") as file:
        file.truncate(50)
    with pytest.raises(UserError, match=r"a\.idx: file cut short"):
        open_manifest(tmp_path)


def test_bare_shards_of_several_types_are_refused(tmp_path: Path) -> None:
    """They cannot come from one tokenizer."""
    bare(tmp_path, "a")
    bare(tmp_path, "b", "int32")
    with pytest.raises(UserError, match="several token types"):
        open_manifest(tmp_path)
