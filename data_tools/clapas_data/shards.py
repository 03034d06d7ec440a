"""Token shards: Megatron's `.bin`/`.idx` pair (MMIDIDX, version 1) and a `.crc` with the checksum of each block.

Megatron-LM, GPT-NeoX and NeMo read the pair; the third file is ours and theirs need not have one. The layout is that of
`megatron/core/datasets/indexed_dataset.py` (Megatron-LM), all little-endian:

    .bin   the tokens of all documents, one after another
    .idx   9 bytes `MMIDIDX\\0\\0`, uint64 version 1, uint8 dtype code, uint64 sequences n, uint64 document marks m + 1,
           int32[n] tokens of each sequence, int64[n] its first byte in .bin,
           int64[m + 1] the sequence at which each document begins, then n
    .crc   uint32 CRC-32 of each 64 KiB block of .bin, then of .idx

A document of ours is one sequence and ends with EOS. Theirs may hold several sequences.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from clapas.recipe.errors import UserError
from clapas.recipe.files import partial_of, sync_folder
from clapas_data.blocks import CHECKSUM_DTYPE, BlockChecksums, CheckedFile, block_count, cut_short

HEADER = struct.Struct("<9sQBQQ")
MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
DTYPE_CODES = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "uint16": 8}
DTYPE_NAMES = {code: name for name, code in DTYPE_CODES.items()}
LONGEST_DOCUMENT = 2**31 - 1
"""Tokens: MMIDIDX keeps a sequence's length as an int32."""


def token_dtype(vocab_size: int) -> np.dtype:
    """The dtype that shards of a vocabulary use: uint16 up to 65,536 tokens, int32 above."""
    return np.dtype("<u2") if vocab_size <= 65_536 else np.dtype("<i4")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """What is known of one shard once it is written.

    path: the files' path without their endings, relative to the manifest's folder, with `/`.
    sequences: as `documents`, but for foreign shards whose documents hold several.
    Checksums are None for a bare shard.
    """

    path: str
    documents: int
    sequences: int
    tokens: int
    bin_bytes: int
    idx_bytes: int
    bin_sha256: str | None = None
    idx_sha256: str | None = None
    crc_sha256: str | None = None

    @property
    def crc_bytes(self) -> int:
        """The length of the `.crc` file."""
        return CHECKSUM_DTYPE.itemsize * (block_count(self.bin_bytes) + block_count(self.idx_bytes))

    @property
    def is_bare(self) -> bool:
        """Whether nobody recorded checksums for it."""
        return self.crc_sha256 is None


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """The first 34 bytes of an `.idx`."""

    dtype: str
    sequences: int
    documents: int

    def pack(self) -> bytes:
        """The header as bytes."""
        return HEADER.pack(MAGIC, VERSION, DTYPE_CODES[self.dtype], self.sequences, self.documents + 1)

    @classmethod
    def unpack(cls, data: bytes, path: Path) -> IndexHeader:
        """Read a header. Raises UserError where it is not one of MMIDIDX version 1 with integer tokens."""
        if len(data) < HEADER.size:
            raise cut_short(path, len(data), HEADER.size)
        magic, version, code, sequences, marks = HEADER.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            found = f"{magic!r}, version {version}"
            raise UserError("not a Megatron index", where=path, found=found, wanted=f"{MAGIC!r}, version {VERSION}")
        if code not in DTYPE_NAMES:
            names = ", ".join(f"{code} ({name})" for name, code in DTYPE_CODES.items())
            raise UserError("tokens of an unknown type", where=path, found=f"dtype code {code}", wanted=names)
        return cls(DTYPE_NAMES[code], sequences, max(0, marks - 1))

    @property
    def lengths_at(self) -> int:
        """The byte at which the sequences' lengths begin."""
        return HEADER.size

    @property
    def pointers_at(self) -> int:
        """The byte at which the sequences' first bytes in `.bin` begin."""
        return self.lengths_at + 4 * self.sequences

    @property
    def marks_at(self) -> int:
        """The byte at which the documents' first sequences begin."""
        return self.pointers_at + 8 * self.sequences

    @property
    def size(self) -> int:
        """The length of the whole `.idx`, in bytes."""
        return self.marks_at + 8 * (self.documents + 1)


class ShardWriter:
    """Writes one shard. Its files appear under their names, whole, when the `with` block ends well, else not at all.

        with ShardWriter(folder / "train" / "legi-00000", np.dtype("uint16")) as writer:
            writer.add(tokens)
        record = writer.close()

    prefix: the files' path without their endings; its folder is made where missing.
    Raises OSError where the disk is full; the temporary files are then removed.
    """

    def __init__(self, prefix: Path, dtype: np.dtype) -> None:
        self.prefix = prefix
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._lengths: list[np.ndarray] = []
        self._tokens = 0
        self._sha256 = hashlib.sha256()
        self._checksums = BlockChecksums()
        self._record: ShardRecord | None = None
        prefix.parent.mkdir(parents=True, exist_ok=True)
        self._bin: BinaryIO = self._partial("bin").open("wb")

    def add(self, tokens: np.ndarray) -> None:
        """Add one document, its EOS included."""
        self.add_many(tokens, np.array([len(tokens)]))

    def add_many(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Add documents laid end to end. tokens: 1-D, any integer dtype; lengths: tokens of each document, at least 1.

        Raises ValueError where lengths and tokens disagree or a token does not fit the shard's dtype.
        """
        if not len(lengths):
            return
        if int(lengths.sum()) != len(tokens) or int(lengths.min()) < 1 or int(lengths.max()) > LONGEST_DOCUMENT:
            raise ValueError(f"{len(tokens)} tokens do not make documents of {lengths} tokens")
        if tokens.dtype != self.dtype:
            limits = np.iinfo(self.dtype)
            if int(tokens.min()) < limits.min or int(tokens.max()) > limits.max:
                raise ValueError(f"token {tokens.max()} does not fit {self.dtype.name}")
            tokens = tokens.astype(self.dtype)
        data = np.ascontiguousarray(tokens).data.cast("B")
        self._bin.write(data)
        self._sha256.update(data)
        self._checksums.update(data)
        self._lengths.append(lengths.astype(np.int32))
        self._tokens += len(tokens)

    def close(self) -> ShardRecord:
        """Finish the three files, rename them into place, and say what they hold. Later calls only say it again."""
        if self._record is None:
            try:
                self._record = self._finish()
            except BaseException:
                self.abandon()
                raise
        return self._record

    def abandon(self) -> None:
        """Remove the temporary files."""
        self._bin.close()
        for ending in ("bin", "idx", "crc"):
            self._partial(ending).unlink(missing_ok=True)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._record is None:
            self.abandon()

    def _finish(self) -> ShardRecord:
        _close_synced(self._bin)
        index = self._index_bytes()
        checksums = BlockChecksums()
        checksums.update(index)
        sums = np.concatenate([self._checksums.finish(), checksums.finish()]).tobytes()
        for ending, content in (("idx", index), ("crc", sums)):
            file = self._partial(ending).open("wb")
            file.write(content)
            _close_synced(file)
        documents = sum(len(lengths) for lengths in self._lengths)
        for ending in ("bin", "idx", "crc"):
            self._partial(ending).replace(self.prefix.with_name(f"{self.prefix.name}.{ending}"))
        sync_folder(self.prefix.parent)
        return ShardRecord(
            path=self.prefix.name,
            documents=documents,
            sequences=documents,
            tokens=self._tokens,
            bin_bytes=self._tokens * self.dtype.itemsize,
            idx_bytes=len(index),
            bin_sha256=self._sha256.hexdigest(),
            idx_sha256=hashlib.sha256(index).hexdigest(),
            crc_sha256=hashlib.sha256(sums).hexdigest(),
        )

    def _index_bytes(self) -> bytes:
        lengths = np.concatenate([np.zeros(0, np.int32), *self._lengths])
        ends = np.cumsum(lengths, dtype=np.int64) * self.dtype.itemsize
        pointers = ends - lengths.astype(np.int64) * self.dtype.itemsize
        marks = np.arange(len(lengths) + 1, dtype="<i8")
        header = IndexHeader(self.dtype.name, len(lengths), len(lengths)).pack()
        return b"".join([header, lengths.astype("<i4").tobytes(), pointers.astype("<i8").tobytes(), marks.tobytes()])

    def _partial(self, ending: str) -> Path:
        return partial_of(self.prefix.with_name(f"{self.prefix.name}.{ending}"))


class TokenShard:
    """One shard, memory-mapped. Each block is checked against the shard's `.crc` when it is first read.

    folder: the manifest's. record: what the manifest says of the shard.
    checked: see CheckedFile; from `new_checked(record)`, where a shard is mapped more than once.
    """

    def __init__(self, folder: Path, record: ShardRecord, checked: tuple[bytearray, bytearray] | None = None) -> None:
        self.record = record
        bin_path, idx_path, crc_path = shard_files(folder, record)
        bin_checked, idx_checked = checked or new_checked(record)
        bin_sums = idx_sums = None
        if not record.is_bare:
            sums = np.fromfile(crc_path, dtype=CHECKSUM_DTYPE)
            if sums.nbytes != record.crc_bytes:
                raise cut_short(crc_path, sums.nbytes, record.crc_bytes)
            bin_sums, idx_sums = np.split(sums, [block_count(record.bin_bytes)])
        self._bin = CheckedFile(bin_path, record.bin_bytes, bin_sums, bin_checked)
        self._idx = CheckedFile(idx_path, record.idx_bytes, idx_sums, idx_checked)
        self._header = IndexHeader.unpack(bytes(self._idx.read(0, HEADER.size)), idx_path)
        self.dtype = np.dtype(self._header.dtype).newbyteorder("<")

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens `[start, stop)`, in the shard's dtype, read-only, not copied. Raises UserError on altered blocks."""
        size = self.dtype.itemsize
        return np.frombuffer(self._bin.read(start * size, stop * size), dtype=self.dtype)

    def document_start(self, document: int) -> int:
        """The first token of a document; of the document after the last, the number of tokens."""
        if document == self.record.documents:
            return self.record.tokens
        sequence = self._int64(self._header.marks_at, document)
        if sequence == self._header.sequences:  # a foreign document without any sequence, at the end
            return self.record.tokens
        return self._int64(self._header.pointers_at, sequence) // self.dtype.itemsize

    def document_at(self, token: int) -> int:
        """The document, counted from 0 within the shard, that holds a token."""
        return bisect.bisect_right(range(self.record.documents), token, key=self.document_start) - 1

    def document_starts(self, start: int, stop: int) -> np.ndarray:
        """The first tokens, int64, of the documents that begin in `[start, stop)`."""
        documents = range(self.record.documents)
        first = bisect.bisect_left(documents, start, key=self.document_start)
        last = bisect.bisect_left(documents, stop, lo=first, key=self.document_start)
        if first == last:
            return np.zeros(0, np.int64)
        marks = self._int64s(self._header.marks_at, first, last)
        pointers = self._int64s(self._header.pointers_at, int(marks[0]), int(marks[-1]) + 1)
        return pointers[marks - marks[0]] // self.dtype.itemsize

    def _int64(self, at: int, position: int) -> int:
        start = at + 8 * position
        return int.from_bytes(self._idx.read(start, start + 8), "little", signed=True)

    def _int64s(self, at: int, start: int, stop: int) -> np.ndarray:
        return np.frombuffer(self._idx.read(at + 8 * start, at + 8 * stop), dtype="<i8")


def new_checked(record: ShardRecord) -> tuple[bytearray, bytearray]:
    """Marks for a shard's blocks of `.bin` and `.idx`, none checked yet."""
    return bytearray(block_count(record.bin_bytes)), bytearray(block_count(record.idx_bytes))


def shard_files(folder: Path, record: ShardRecord) -> tuple[Path, Path, Path]:
    """The paths of a shard's `.bin`, `.idx` and `.crc`."""
    prefix = f"{folder}/{record.path}"
    return Path(f"{prefix}.bin"), Path(f"{prefix}.idx"), Path(f"{prefix}.crc")


def _close_synced(file: BinaryIO) -> None:
    with file:
        file.flush()
        os.fsync(file.fileno())
