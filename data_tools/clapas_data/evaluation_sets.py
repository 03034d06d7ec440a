"""The texts of evaluation sets, out of JSONL, Parquet or plain text files, and the index of their n-grams.

An n-gram is `words` words (13, as in Brown et al., 2020, appendix C), lower-cased, runs of letters, digits and `_`:
what punctuation and line ends stand between them is all one. A text of `FEWEST` to 12 words, the least that the same
paper takes, is one n-gram of all of its words; a shorter one says too little to be looked for and is left out.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas.recipe.errors import UserError
from clapas_data.text.phrases import Phrases, words_of
from clapas_data.text.spans import Spans

FEWEST = 8
"""Words of the shortest text that is looked for."""
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".txt")
BATCH_CHARACTERS = 2**22


@dataclass(frozen=True, slots=True)
class Index:
    """The n-grams of several sets, about 64 bytes of memory each. masks: uint64, which sets hold each: bit i, set i."""

    phrases: Phrases
    masks: np.ndarray


def index_of(sets: Sequence[tuple[Sequence[Path], Sequence[str]]], names: Sequence[str], words: int) -> Index:
    """The index of sets, at most 64: files and fields of each.

    Raises UserError for files that are not what they should be, and for a set without a text that is long enough.
    """
    rows: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = defaultdict(list)
    shortest = min(FEWEST, words)
    for number, ((files, fields), name) in enumerate(zip(sets, names, strict=True)):
        found = False
        for texts in _batches(text for path in files for text in read_texts(path, fields)):
            for size, hashes, beginnings in _ngrams(words_of(texts), shortest, words):
                rows[size].append((hashes, beginnings, np.full(len(hashes), 1 << number, np.uint64)))
                found = True
        if not found:
            wanted = f"texts of {shortest} words or more in the fields {', '.join(fields)}"
            raise UserError(f"evaluation set {name}: nothing to look for", where=files[0], wanted=wanted)
    sizes = sorted(rows)
    distinct = [_distinct(rows[size]) for size in sizes]
    hashes, beginnings, masks = ([part[place] for part in distinct] for place in range(3))
    everything = np.concatenate(masks)
    if sizes == [words]:  # no text is short: whole n-grams are looked up at once
        shortest, beginnings = words, hashes
    return Index(Phrases.build(shortest, sizes, hashes, beginnings, np.arange(len(everything))), everything)


def read_texts(path: Path, fields: Sequence[str]) -> Iterator[str]:
    """The texts of a file: all of a `.txt`, or the fields of each row (`answers.text` goes into mappings and lists)."""
    if not path.name.endswith(ENDINGS):
        raise UserError("not a kind of file that is read", where=path, wanted=", ".join(ENDINGS))
    if path.name.endswith(".txt"):
        try:
            yield path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"not UTF-8: byte {error.start}", where=path, way_out="iconv -t utf8 FILE") from None
        return
    rows = _rows_of_parquet(path, fields) if path.name.endswith(".parquet") else _rows_of_lines(path)
    for where, row in rows:
        for field in fields:
            yield from _strings(_value(row, field, where))


def _rows_of_lines(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa

    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    number = 0
    try:
        with io.BufferedReader(pa.input_stream(str(path), compression=compression), 2**20) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{number}", orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg}", where=f"{path}:{number}", wanted="one object a line") from None
    except (OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"not a sound compressed file: {error}", where=path) from None


def _rows_of_parquet(path: Path, fields: Sequence[str]) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            known = file.schema_arrow.names
            wanted = list(dict.fromkeys(field.partition(".")[0] for field in fields))
            if missing := [field for field in wanted if field not in known]:
                raise UserError(f"no column {missing[0]}", where=path, found=", ".join(known))
            number = 0
            for batch in file.iter_batches(columns=wanted):
                for row in batch.to_pylist():
                    yield f"{path}, row {number}", row
                    number += 1
    except pa.ArrowInvalid as error:
        raise UserError(f"not a sound Parquet file: {error}", where=path) from None


def _value(row: Any, field: str, where: str) -> Any:
    """A field's value; within a list, those of all its items. Raises UserError where a row does not have it."""
    for name in field.split("."):
        if isinstance(row, list):
            row = [_value(item, name, where) for item in row]
        elif isinstance(row, dict) and name in row:
            row = row[name]
        elif row is not None:
            found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise UserError(f"no field {field}", where=where, found=found, way_out="name the set's own `fields`")
    return row


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _ngrams(words: Spans, shortest: int, size: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The n-grams of texts by their size, with the hashes of their first `shortest` words."""
    hashes, firsts = words.ngrams(size)
    if len(hashes):
        yield size, hashes, words.ngrams_at(shortest, firsts)[0]
    for length in range(shortest, size):
        firsts = words.bounds[:-1][words.counts == length]
        if len(firsts):
            yield length, words.ngrams_at(length, firsts)[0], words.ngrams_at(shortest, firsts)[0]


def _distinct(
    parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each n-gram once, with its beginning and all the sets that hold it."""
    hashes, beginnings, masks = (np.concatenate([part[place] for part in parts]) for place in range(3))
    order = np.argsort(hashes, kind="stable")
    hashes, beginnings, masks = hashes[order], beginnings[order], masks[order]
    new = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    return hashes[new], beginnings[new], np.bitwise_or.reduceat(masks, new)
