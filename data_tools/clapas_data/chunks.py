"""Prepared text on disk: one Arrow file for each part of a source, cleaned, with what choosing among documents needs.

A chunk is `NAME.arrow` (record batches of about 4 MB of text, LZ4) and `NAME.json` (its counts), written last: where
the counts are, the chunk is whole. Reading is memory-mapped, one batch at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa

from clapas.recipe.files import atomic_write
from clapas_data.arrow import as_numpy, fixed_binary, numbers, strings
from clapas_data.clean import clean
from clapas_data.deduplicate import HASH_BYTES, text_hash
from clapas_data.files import new_file
from clapas_data.sources import RawDocument

BATCH_BYTES = 4 * 2**20
"""UTF-8 bytes of text in a record batch: the unit of work that follows."""

SCHEMA = pa.schema(
    [
        ("id", pa.large_string()),
        ("file", pa.large_string()),
        ("text", pa.large_string()),
        ("hash", pa.binary(HASH_BYTES)),
        ("bytes", pa.int64()),
    ]
)
TEXT_COLUMN = SCHEMA.get_field_index("text")


@dataclass(frozen=True, slots=True)
class Counts:
    """What came in and went out of a chunk. bytes_read: of the source's files; the others are UTF-8 text.

    read, extracted, cleaned: documents found, those with any text, those with any after cleaning. seconds: of one
    process.
    """

    read: int = 0
    bytes_read: int = 0
    extracted: int = 0
    bytes_extracted: int = 0
    cleaned: int = 0
    bytes_cleaned: int = 0
    seconds: float = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: value + getattr(other, name) for name, value in asdict(self).items()})


@dataclass(frozen=True, slots=True)
class Chunk:
    """One prepared part. path: of its `.arrow`."""

    path: Path
    counts: Counts

    def batches(self, *, text: bool) -> Iterator[pa.RecordBatch]:
        """Its record batches in order; without text, that column is not read."""
        fields = None if text else [place for place in range(len(SCHEMA)) if place != TEXT_COLUMN]
        with pa.memory_map(str(self.path)) as file:
            reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
            for place in range(reader.num_record_batches):
                yield reader.get_batch(place)


def read_batch(path: str, place: int) -> pa.RecordBatch:
    """One record batch of a chunk, text included."""
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).get_batch(place)


def find_chunk(path: Path) -> Chunk | None:
    """The chunk at a path, None where it was not finished."""
    try:
        return Chunk(path, Counts(**orjson.loads(path.with_suffix(".json").read_bytes())))
    except FileNotFoundError:
        return None


def write_chunk(path: Path, documents: Iterable[RawDocument]) -> Chunk:
    """Clean documents and write those that have any text. Leaves nothing where it fails."""
    counts, began = Counts(), time.monotonic()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with new_file(path) as partial, pa.ipc.new_file(str(partial), SCHEMA, options=options) as file:
        for batch, its_counts in _cleaned_batches(documents):
            if batch is not None:
                file.write(batch)
            counts += its_counts
    counts += Counts(seconds=round(time.monotonic() - began, 3))
    atomic_write(path.with_suffix(".json"), orjson.dumps(asdict(counts)))
    return Chunk(path, counts)


def _cleaned_batches(documents: Iterable[RawDocument]) -> Iterator[tuple[pa.RecordBatch | None, Counts]]:
    """Record batches of cleaned documents, each with its counts; None at the end where no document is left."""
    ids: list[bytes] = []
    files: list[bytes] = []
    texts: list[bytes] = []
    read = bytes_read = extracted = bytes_extracted = size = 0
    for document in documents:
        read += 1
        bytes_read += document.bytes_read
        raw = document.text
        if raw and (text := clean(raw)):
            data = text.encode()
            extracted += 1
            bytes_extracted += len(data) if text is raw else len(raw.encode())
            size += len(data)
            ids.append(document.id.encode())
            files.append(document.file.encode())
            texts.append(data)
        elif raw:
            extracted += 1
            bytes_extracted += len(raw.encode())
        if size >= BATCH_BYTES:
            yield _batch(ids, files, texts), Counts(read, bytes_read, extracted, bytes_extracted, len(texts), size)
            ids, files, texts = [], [], []
            read = bytes_read = extracted = bytes_extracted = size = 0
    last = _batch(ids, files, texts) if texts else None
    yield last, Counts(read, bytes_read, extracted, bytes_extracted, len(texts), size)


def _batch(ids: list[bytes], files: list[bytes], texts: list[bytes]) -> pa.RecordBatch:
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    hashes = b"".join(map(text_hash, texts))
    columns = [strings(ids), strings(files), strings(texts), fixed_binary(hashes, HASH_BYTES), numbers(lengths)]
    return pa.record_batch(columns, schema=SCHEMA)


def hashes_of(batch: pa.RecordBatch) -> np.ndarray:
    """The documents' hashes: uint64[documents, 2]."""
    return as_numpy(batch.column("hash"), np.uint64)


def sizes_of(batch: pa.RecordBatch) -> np.ndarray:
    """The documents' sizes, int64[documents], in UTF-8 bytes."""
    return as_numpy(batch.column("bytes"), np.int64)
