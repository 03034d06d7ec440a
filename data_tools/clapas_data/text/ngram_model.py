"""A language model of word n-grams in hash tables: how surprising a text is to who has read the reference only.

Each n-gram of the reference has the logarithm of its probability and of its weight as a context, as in the ARPA files
of other tools; a longer one that is not there is told by the shorter (Katz, 1987). A word is its lower-case letters;
one that begins with a digit is a number, and all numbers are one word. A file is mapped, not read: processes share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from pydantic import ValidationError

from clapas.recipe.errors import UserError
from clapas.recipe.typed import Section
from clapas_data.files import new_file
from clapas_data.text.batch import TextBatch
from clapas_data.text.glyphs import DIGIT
from clapas_data.text.spans import mixed
from clapas_data.text.table import HashTable

MAGIC = b"CLAPASNG"
ALIGNMENT = 64
"""Bytes: the tables begin at a multiple of it."""
UNITS = 1024
"""Of a logarithm that is summed: whole numbers, so that a document's sum is the same wherever it stands in a batch."""

_NUMBER = np.uint64(0xD1B54A32D192ED03)
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Header(Section):
    """What stands before the tables. slots: of the table of each length. unknown: log probability of an unknown word.

    percentiles: 101 perplexities of the documents that it was calibrated on, from the lowest to the highest.
    words, documents: what it was trained on. origin: the corpus and its source, in words, and the text's key.
    """

    format: int = 1
    slots: tuple[int, ...]
    unknown: float
    percentiles: tuple[float, ...] = ()
    words: int
    documents: int
    origin: str
    key: str


@dataclass(frozen=True, slots=True)
class NgramModel:
    """tables: of the n-grams of 1, 2, ... words: key -> log probability and log weight, float16 each."""

    header: Header
    tables: Sequence[HashTable]

    def perplexity(self, batch: TextBatch) -> np.ndarray:
        """Of each document, a word: float64[documents]; infinite where it has no word."""
        counts = batch.words.counts
        units = np.rint(-self.log_probabilities(batch) * np.float32(UNITS)).astype(np.int64)
        mean = batch.words.total(units) / (np.maximum(counts, 1) * UNITS)
        return np.where(counts > 0, np.exp(np.minimum(mean, 700)), np.inf)

    def log_probabilities(self, batch: TextBatch) -> np.ndarray:
        """Of each word of a batch after those before it in its document: natural logarithms, float32[words]."""
        first = np.zeros(len(batch.words.hashes), bool)
        first[batch.words.bounds[:-1][batch.words.counts > 0]] = True
        found = np.full(len(first), self.header.unknown, np.float32)
        weight = np.zeros(len(first), np.float32)
        for table, (keys, whole) in zip(self.tables, ngram_keys(batch, len(self.tables)), strict=True):
            values = table.find(keys).view(np.float16).reshape(-1, 2)  # a missing one is not a number, twice
            known = ~np.isnan(values[:, 0]) & whole
            found[1:] += weight[:-1] * ~first[1:]
            found = np.where(known, values[:, 0].astype(np.float32), found)
            weight = np.where(known, values[:, 1].astype(np.float32), np.float32(0))
        return found

    def write(self, path: Path) -> None:
        """Write a file that `read_model` reads."""
        header = orjson.dumps(self.header.model_dump(mode="json"))
        before = len(MAGIC) + 8
        header += b" " * (-(before + len(header)) % ALIGNMENT)
        with new_file(path) as partial, partial.open("wb") as file:
            file.write(MAGIC + len(header).to_bytes(8, "little") + header)
            for table in self.tables:
                file.write(table.slots.tobytes())


def read_model(path: Path) -> NgramModel:
    """Map a model's file. Raises UserError for one that is missing, cut short, or something else."""
    way_out = f"clapas data perplexity CORPUS --source NAME --out {path}"
    if not path.is_file():
        raise UserError("no such n-gram model", where=path, way_out=way_out)
    with path.open("rb") as file:
        before = file.read(len(MAGIC) + 8)
        length = int.from_bytes(before[len(MAGIC) :], "little")
        text = file.read(length) if before.startswith(MAGIC) and length < 2**20 else b""
    try:
        header = Header.model_validate_json(text)
    except ValidationError:
        raise UserError("not an n-gram model of this version", where=path, way_out=way_out) from None
    at = len(before) + length
    if path.stat().st_size != at + 8 * sum(header.slots):
        found, wanted = f"{path.stat().st_size} bytes", f"{at + 8 * sum(header.slots)}"
        raise UserError("an n-gram model that is cut short", where=path, found=found, wanted=wanted, way_out=way_out)
    tables: list[HashTable] = []
    for slots in header.slots:
        tables.append(HashTable(np.memmap(path, np.uint64, "r", offset=at, shape=slots)))
        at += 8 * slots
    return NgramModel(header, tables)


def ngram_keys(batch: TextBatch, order: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For n = 1 to `order`: keys of the n words that end at each word, uint64[words], and whether there are so many."""
    words = batch.words
    hashes = np.where(batch.classes[words.starts] & DIGIT != 0, _NUMBER, words.hashes)
    place = np.arange(len(hashes)) - np.repeat(words.bounds[:-1], words.counts)
    runs = hashes
    for length in range(1, order + 1):
        if length > 1:
            before = np.zeros_like(runs)
            before[1:] = runs[:-1]
            runs = before * _BASE + hashes
        yield mixed(runs + np.uint64(length)), place >= length - 1
