"""What is odd in a vocabulary: tokens that no text gives, that the corpus never has, that one document alone has.

Such tokens are rows of the embeddings that training hardly moves, and a prompt that holds one makes a model stray: what
Land & Bartolo (2024, "Fishing for Magikarp", arXiv 2405.05417) call under-trained or glitch tokens. Found here:

- partial: more than a byte and no whole characters. Only the pieces beside it make text of it.
- unreachable: whole characters, and yet encoding them gives other ids; no text by itself has the token.
- variants: tokens that differ in case or in a space before them only. Each is learned anew.
- unused, rare: never in the corpus's training text, or fewer than ten times.
- of one document: nine in ten of its occurrences (twenty at least) are in one document: likely junk of that document.
- by source: tokens that one source alone has.
- untrained (embeddings.py), where a model is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clapas_data.corpus import read_corpus
from clapas_data.prepare import prepare
from clapas_data.tokenizer.embeddings import untrained
from clapas_data.tokenizer.opened import Opened, open_any
from clapas_data.workers import Workers

RARE = 10
ENOUGH = 20
"""Occurrences from which it is judged where a token occurs."""
IN_ONE_DOCUMENT = 0.9
IN_ONE_SOURCE = 0.99
LONGEST = 20


def inspect(name: str, corpus: str | None = None, model: Path | None = None) -> dict[str, Any]:
    """Look into a tokenizer. corpus: whose training text is counted. model: a Hugging Face folder made with it.

    Raises UserError where one of them is not what it should be.
    """
    tokenizer = open_any(name)
    pieces = tokenizer.pieces
    ordinary = [number for number, piece in enumerate(pieces) if piece is not None]
    counted = _count(tokenizer, corpus) if corpus else None
    found: dict[str, Any] = {
        "name": tokenizer.name,
        "vocab_size": tokenizer.vocab_size,
        "split": tokenizer.split,
        "special": tokenizer.vocab_size - len(ordinary),
        "bytes": sum(len(pieces[number] or b"") == 1 for number in ordinary),
        "partial": _listed(tokenizer, [number for number in ordinary if _is_partial(pieces[number])]),
        "unreachable": _listed(tokenizer, _unreachable(tokenizer, ordinary)),
        "variants": _variants(pieces),
        "longest": _listed(tokenizer, sorted(ordinary, key=lambda one: -len(pieces[one] or b""))[:LONGEST]),
    }
    if counted:
        found["corpus"] = _in_corpus(tokenizer, counted, ordinary)
    if model:
        unused = found["corpus"]["unused"]["ids"] if counted else []  # ordinary ones: EOS is no text, yet trained
        found["model"] = untrained(model, tokenizer, [*found["unreachable"]["ids"], *unused])
    return found


def _listed(tokenizer: Opened, ids: Sequence[int]) -> dict[str, Any]:
    return {"count": len(ids), "ids": list(map(int, ids)), "tokens": [shown(tokenizer, number) for number in ids]}


def shown(tokenizer: Opened, number: int) -> str:
    """A token as text, bytes that are no text as `\\xe2`."""
    piece = tokenizer.pieces[number]
    return f"<special {number}>" if piece is None else piece.decode(errors="backslashreplace")


def _is_partial(piece: bytes | None) -> bool:
    return piece is not None and len(piece) > 1 and not _is_text(piece)


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unreachable(tokenizer: Opened, ordinary: Sequence[int]) -> list[int]:
    """Tokens of whole characters that encoding those characters does not give."""
    pieces = tokenizer.pieces
    texts = {number: piece.decode() for number in ordinary if (piece := pieces[number]) and _is_text(piece)}
    ids, lengths = tokenizer.encode_flat(list(texts.values()))
    firsts = np.cumsum(lengths) - lengths
    alone = (lengths == 1) & (ids[np.minimum(firsts, len(ids) - 1)] == np.fromiter(texts, np.int64, len(texts)))
    return [number for number, reached in zip(texts, alone, strict=True) if not reached]


def _variants(pieces: Sequence[bytes | None]) -> dict[str, Any]:
    """Tokens with letters, by what they are in lower case and without spaces about."""
    groups: dict[str, list[str]] = defaultdict(list)
    for piece in pieces:
        if piece is not None and _is_text(piece):
            text = piece.decode()
            if any(map(str.isalpha, text)):
                groups[text.strip().casefold()].append(text)
    several = [group for group in groups.values() if len(group) > 1]
    several.sort(key=lambda group: (-len(group), group))
    beyond = sum(len(group) - 1 for group in several)
    return {"groups": len(several), "tokens_beyond_first": beyond, "largest": several[:10]}


@dataclass(slots=True)
class _Counts:
    """How often each token occurs: in all, in any one document at most, by source; int64[ids] each."""

    corpus: str
    total: np.ndarray
    most: np.ndarray
    sources: dict[str, np.ndarray] = field(default_factory=dict)
    texts: int = 0
    bytes: int = 0

    def add(self, source: str, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Count a batch. tokens: of all its documents end to end. lengths: how many each has."""
        size = len(self.total)
        places = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths) * size + tokens
        pairs, counts = np.unique(places, return_counts=True)
        found = pairs % size
        own = np.bincount(found, counts, size).astype(np.int64)
        self.total += own
        self.sources[source] = self.sources.get(source, 0) + own
        np.maximum.at(self.most, found, counts)


def _count(tokenizer: Opened, name: str) -> _Counts:
    corpus = read_corpus(name)
    with Workers() as workers:
        prepared = prepare(corpus, workers)
    size = tokenizer.vocab_size
    counts = _Counts(corpus.name, np.zeros(size, np.int64), np.zeros(size, np.int64))
    for source, batches in prepared.batches("train").items():
        for batch in batches:
            texts = batch.read("text").column("text").to_pylist()
            counts.add(source, *tokenizer.encode_flat(texts))
            counts.texts += len(texts)
            counts.bytes += batch.bytes
    return counts


def _in_corpus(tokenizer: Opened, counts: _Counts, ordinary: Sequence[int]) -> dict[str, Any]:
    known = np.zeros(len(counts.total), bool)
    known[ordinary] = True

    def listed(chosen: np.ndarray, by: Callable[[int], Any] = lambda _: 0) -> dict[str, Any]:
        return _listed(tokenizer, sorted(np.flatnonzero(chosen & known).tolist(), key=by))

    judged = counts.total >= ENOUGH
    alone = judged & (counts.most >= IN_ONE_DOCUMENT * counts.total)
    tokens = int(counts.total.sum())
    by_source = {name: own >= IN_ONE_SOURCE * counts.total for name, own in counts.sources.items()}
    return {
        "name": counts.corpus,
        "documents": counts.texts,
        "bytes": counts.bytes,
        "tokens": tokens,
        "bytes_per_token": round(counts.bytes / max(1, tokens), 4),
        "unused": listed(counts.total == 0),
        "rare": listed((counts.total > 0) & (counts.total < RARE)),
        "of_one_document": listed(alone, lambda number: -int(counts.total[number])),
        "by_source": {name: int((own & judged & known).sum()) for name, own in by_source.items()},
    }
