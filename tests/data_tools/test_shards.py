"""Token shards are Megatron's format, appear whole or not at all, and tell of damage when it is read."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clapas.recipe.errors import UserError
from clapas_data.blocks import BLOCK_BYTES, BlockChecksums, block_count
from clapas_data.shards import HEADER, IndexHeader, ShardRecord, ShardWriter, TokenShard, token_dtype

Documents = list[list[int]]


def megatron_read(prefix: Path) -> Documents:
    """The documents of a `.bin`/`.idx` pair, read as the format is specified, with nothing of ours."""
    codes = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
    index = prefix.with_suffix(".idx").read_bytes()
    data = prefix.with_suffix(".bin").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, marks = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    at = 34
    lengths = struct.unpack_from(f"<{sequences}i", index, at)
    pointers = struct.unpack_from(f"<{sequences}q", index, at + 4 * sequences)
    document_marks = struct.unpack_from(f"<{marks}q", index, at + 12 * sequences)
    assert len(index) == at + 12 * sequences + 8 * marks
    documents = []
    for first, last in pairwise(document_marks):
        tokens: list[int] = []
        for sequence in range(first, last):
            tokens += np.frombuffer(data, codes[code], lengths[sequence], pointers[sequence]).tolist()
        documents.append(tokens)
    return documents


def megatron_write(prefix: Path, documents: list[Documents], dtype: str = "<i4") -> None:
    """Documents of several sequences each, written as Megatron-LM's IndexedDatasetBuilder does."""
    sequences = [np.array(sequence, dtype) for document in documents for sequence in document]
    lengths = [len(sequence) for sequence in sequences]
    size = np.dtype(dtype).itemsize
    pointers = [size * sum(lengths[:number]) for number in range(len(lengths))]
    marks = [0, *np.cumsum([len(document) for document in documents]).tolist()]
    code = {"<u2": 8, "<i4": 4, "<i8": 5}[dtype]
    prefix.with_suffix(".bin").write_bytes(b"".join(sequence.tobytes() for sequence in sequences))
    prefix.with_suffix(".idx").write_bytes(
        b"MMIDIDX\x00\x00"
        + struct.pack("<QBQQ", 1, code, len(sequences), len(marks))
        + struct.pack(f"<{len(lengths)}i", *lengths)
        + struct.pack(f"<{len(pointers)}q", *pointers)
        + struct.pack(f"<{len(marks)}q", *marks)
    )


def write(prefix: Path, documents: Documents, dtype: str = "uint16") -> ShardRecord:
    """A shard of these documents."""
    with ShardWriter(prefix, np.dtype(dtype)) as writer:
        for document in documents:
            writer.add(np.array(document))
    return writer.close()


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_a_reader_of_megatrons_format_reads_our_shards(tmp_path: Path, dtype: str) -> None:
    """Written by us, read by the specification: equal documents."""
    documents = [[5, 6, 7], [1], [65_535] * 300, [9, 2]]
    write(tmp_path / "a", documents, dtype)
    assert megatron_read(tmp_path / "a") == documents


def test_megatron_itself_reads_our_shards(tmp_path: Path) -> None:
    """Where megatron-core is installed (`pip install --no-deps megatron-core`): last run by hand with 0.16.1."""
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    documents = [[5, 6, 7], [1], [65_535] * 300, [9, 2]]
    write(tmp_path / "a", documents)
    theirs = indexed.IndexedDataset(str(tmp_path / "a"))
    assert [document.tolist() for document in theirs] == documents
    assert theirs.document_indices.tolist() == [0, 1, 2, 3, 4]


def test_many_documents_at_once_make_the_same_files_as_one_by_one(tmp_path: Path) -> None:
    """`add_many` is a fast `add`."""
    documents = [[number] * (number % 7 + 1) for number in range(100)]
    one = write(tmp_path / "a", documents)
    with ShardWriter(tmp_path / "b", np.dtype("uint16")) as writer:
        lengths = np.array([len(document) for document in documents])
        writer.add_many(np.concatenate([np.array(document) for document in documents]), lengths)
    many = writer.close()
    assert (many.bin_sha256, many.idx_sha256, many.crc_sha256) == (one.bin_sha256, one.idx_sha256, one.crc_sha256)


def test_the_record_says_what_the_files_are(tmp_path: Path) -> None:
    """Sizes and counts in the record are those on the disk."""
    record = write(tmp_path / "a", [[1, 2, 3], [4]])
    assert (record.documents, record.sequences, record.tokens) == (2, 2, 4)
    sizes = [(tmp_path / f"a.{ending}").stat().st_size for ending in ("bin", "idx", "crc")]
    assert sizes == [record.bin_bytes, record.idx_bytes, record.crc_bytes]


def test_nothing_is_left_behind_by_a_build_that_failed(tmp_path: Path) -> None:
    """An exception in the `with` block leaves an empty folder."""

    def build() -> None:
        with ShardWriter(tmp_path / "a", np.dtype("uint16")) as writer:
            writer.add(np.array([1, 2]))
            raise RuntimeError("the text ended badly")

    with pytest.raises(RuntimeError):
        build()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_behind_by_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while finishing removes the temporary files and passes on."""

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    writer = ShardWriter(tmp_path / "a", np.dtype("uint16"))
    writer.add(np.array([1, 2]))
    monkeypatch.setattr("clapas_data.shards.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("document", [[], [65_536], [-1]])
def test_what_does_not_fit_is_refused(tmp_path: Path, document: list[int]) -> None:
    """An empty document or a token outside the dtype never reaches the disk."""
    writer = ShardWriter(tmp_path / "a", np.dtype("uint16"))
    with pytest.raises(ValueError, match="token"):
        writer.add(np.array(document))
    writer.abandon()


def test_the_dtype_follows_the_vocabulary() -> None:
    """65,536 ids are the most that two bytes hold."""
    assert (token_dtype(65_536).name, token_dtype(65_537).name) == ("uint16", "int32")


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30), data=st.data())
def test_tokens_and_documents_are_found_by_place(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], data: st.DataObject
) -> None:
    """Any range of tokens, the documents that begin in it, and the document of any token."""
    folder = tmp_path_factory.mktemp("shard")
    total, starts = sum(lengths), np.cumsum([0, *lengths])
    with ShardWriter(folder / "a", np.dtype("int32")) as writer:
        writer.add_many(np.arange(total), np.array(lengths))
    shard = TokenShard(folder, writer.close())
    first = data.draw(st.integers(0, total))
    last = data.draw(st.integers(first, total))
    assert shard.read(first, last).tolist() == list(range(first, last))
    assert shard.document_starts(first, last).tolist() == [s for s in starts[:-1] if first <= s < last]
    token = data.draw(st.integers(0, total - 1))
    document = shard.document_at(token)
    assert starts[document] <= token < starts[document + 1]
    assert shard.document_start(len(lengths)) == total


def test_documents_of_several_sequences_are_read_as_one(tmp_path: Path) -> None:
    """Megatron's documents may hold sentences: documents begin where theirs do, not at each sentence."""
    megatron_write(tmp_path / "a", [[[1, 2], [3]], [[4]], [[5, 6], [7, 8], [9]]])
    sizes = [(tmp_path / f"a.{ending}").stat().st_size for ending in ("bin", "idx")]
    shard = TokenShard(
        tmp_path, ShardRecord(path="a", documents=3, sequences=6, tokens=9, bin_bytes=sizes[0], idx_bytes=sizes[1])
    )
    assert shard.document_starts(0, 9).tolist() == [0, 3, 4]
    assert [shard.document_at(token) for token in range(9)] == [0, 0, 0, 1, 2, 2, 2, 2, 2]
    assert shard.read(2, 6).tolist() == [3, 4, 5, 6]


@given(pieces=st.lists(st.binary(max_size=3 * BLOCK_BYTES), max_size=4))
@settings(max_examples=20, deadline=None)
def test_checksums_do_not_depend_on_how_the_bytes_came(pieces: list[bytes]) -> None:
    """Written in pieces or at once, a stream has the same blocks."""
    apart, at_once = BlockChecksums(), BlockChecksums()
    for piece in pieces:
        apart.update(piece)
    at_once.update(b"".join(pieces))
    sums = apart.finish().tolist()
    assert sums == at_once.finish().tolist()
    assert len(sums) == block_count(sum(map(len, pieces)))


BIG = 4 * BLOCK_BYTES // 2
"""Tokens of two bytes that fill four blocks."""


@pytest.mark.parametrize("block", [0, 2, 3])
def test_an_altered_block_is_found_when_it_is_read_and_others_still_read(tmp_path: Path, block: int) -> None:
    """One flipped bit: the block that holds it is refused by name, every other block is read as before."""
    record = write(tmp_path / "a", [[7] * BIG])
    flip(tmp_path / "a.bin", block * BLOCK_BYTES + 100)
    shard = TokenShard(tmp_path, record)
    per_block = BLOCK_BYTES // 2
    for other in range(4):
        start = other * per_block
        if other == block:
            with pytest.raises(UserError, match=rf"a\.bin: altered .*block {block}\)"):
                shard.read(start + 5, start + 6)
        else:
            assert shard.read(start, start + per_block).tolist() == [7] * per_block


def test_an_altered_index_is_found_when_documents_are_asked_for(tmp_path: Path) -> None:
    """The index has checksums too: a wrong boundary would silently cut documents elsewhere."""
    record = write(tmp_path / "a", [[1]] * 20_000)
    flip(tmp_path / "a.idx", record.idx_bytes - 3)
    shard = TokenShard(tmp_path, record)
    assert shard.document_starts(0, 10).tolist() == list(range(10))
    with pytest.raises(UserError, match=r"a\.idx: altered"):
        shard.document_starts(19_990, 20_000)


def test_a_shard_cut_short_after_opening_the_manifest_is_refused(tmp_path: Path) -> None:
    """Mapping a file shorter than expected would end in a bus error: the size is looked at again."""
    record = write(tmp_path / "a", [[1, 2, 3]])
    with (tmp_path / "a.bin").open("r+b") as file:
        file.truncate(2)
    with pytest.raises(UserError, match="cut short"):
        TokenShard(tmp_path, record)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MMIDIDX", "cut short"),
        (b"TNTIDX\x00\x00\x00" + bytes(25), "not a Megatron index"),
        (HEADER.pack(b"MMIDIDX\x00\x00", 2, 4, 0, 1), "not a Megatron index"),
        (HEADER.pack(b"MMIDIDX\x00\x00", 1, 7, 0, 1), "tokens of an unknown type"),
    ],
)
def test_what_is_not_such_an_index_is_refused(data: bytes, message: str) -> None:
    """Too short, another format, another version, floats for tokens: each with its own message."""
    with pytest.raises(UserError, match=message):
        IndexHeader.unpack(data, Path("a.idx"))


def flip(path: Path, byte: int) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
