"""Which text a tokenizer is trained on, and how often: sources in proportion, or languages weighed for parity.

In proportion, a corpus that is 1 % Occitan yields a vocabulary that serves it badly: the same sentence costs more
tokens. Parity-aware BPE (Foroutan et al. 2025, arXiv 2508.04796) takes each merge from the language that is worst
off on parallel text. The trainer of `tokenizers` cannot do that, so the languages' weights are searched for instead:
train, count the tokens of the same sentences in each language, give more weight to those above the mean, again. The
weights kept are those by which the dearest language is cheapest.

The sentences must be the same: bytes a token of each language's own documents say how plain those are (decision 123).
Sources that declare no language (code, tables) keep their proportion and are not compared.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clapas.recipe.errors import UserError
from clapas_data.chunks import hashes_of
from clapas_data.corpus import Corpus
from clapas_data.prepare import Prepared

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PARITY = 1
"""Version of what the search for weights does: raised when it changes."""

ROUNDS = 6
ROUND_BYTES = 64 * 10**6
"""Text that each round of the search trains on, at most: weights hardly change beyond."""
STEP = 5.0
"""How much a language's weight grows with what it lacks, both as logarithms. Twice the text of a small language gives
it a few per cent more bytes a token, hence a number well above one."""
MOST_COPIES = 20.0
"""How often a small language's documents are read at most, against the proportion: more would learn them by heart."""
CLOSE = 1.01
"""The search ends where no language costs more tokens than another by this factor."""

Learn = Callable[[Iterable[list[str]]], "Tokenizer"]


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the search found.

    rates: source -> copies of each of its documents that are read; of 2.4 copies, two are of all, and the third of
    four in ten. copies: the same by language. before, after: language -> tokens of the same sentences, in proportion
    and weighed.
    """

    rates: dict[str, float]
    copies: dict[str, float]
    before: dict[str, int]
    after: dict[str, int]

    def report(self) -> dict[str, Any]:
        """As `report.json` keeps it."""
        copies = {language: round(value, 4) for language, value in self.copies.items()}
        return {"copies": copies, "tokens_in_proportion": self.before, "tokens": self.after}


def languages_of(corpus: Corpus, parallel: Mapping[str, str]) -> dict[str, str]:
    """Source -> language, of the sources that declare one.

    parallel: language -> text. Raises UserError where there are not two languages, or one has no parallel text.
    """
    languages = {name: source.language for name, source in corpus.sources.items() if source.language}
    known = sorted(set(languages.values()))
    where = f"corpus {corpus.name}"
    if len(known) < 2:
        raise UserError(
            "--parity weighs languages",
            where=where,
            found=", ".join(known) or "no source with a `language`",
            wanted="sources of two languages or more",
            way_out="say `language: fr` (ISO 639) at each source that has one, or train without --parity",
        )
    if missing := [language for language in known if language not in parallel]:
        raise UserError(
            "--parity has no parallel text in a language of the corpus",
            where=where,
            found=f"{', '.join(missing)}; there is text in {', '.join(sorted(parallel))}",
            way_out="--parity FOLDER, with LANGUAGE.txt for each language: the same sentences, line by line",
        )
    return languages


def training_texts(
    prepared: Prepared, most_bytes: int, rates: Mapping[str, float] | None = None
) -> Iterator[list[str]]:
    """The training text, a batch at a time, up to about `most_bytes`; of more, documents chosen by their hash.

    rates: source -> copies of each document; none: one of each.
    """
    by_source = prepared.batches("train")
    sizes = {name: sum(batch.bytes for batch in batches) for name, batches in by_source.items()}
    rates = rates or dict.fromkeys(sizes, 1.0)
    scale = most_bytes / max(1.0, sum(size * rates[name] for name, size in sizes.items()))
    for name, batches in by_source.items():
        whole, limit = _copies(rates[name], scale)
        for batch in batches:
            rows = batch.read("text", "hash")
            texts = rows.column("text").to_pylist()
            for _ in range(whole):
                yield texts
            if limit is not None:
                chosen = hashes_of(rows)[:, 1] <= limit
                yield [text for text, wanted in zip(texts, chosen, strict=True) if wanted]


def _copies(rate: float, scale: float) -> tuple[int, np.uint64 | None]:
    """How many times all documents are read, and the largest hash of those that are read once more."""
    copies = rate * min(1.0, scale)
    whole = int(copies)
    part = copies - whole
    return whole, np.uint64(min(2**64 - 1, int(2**64 * part))) if part else None


def weigh(prepared: Prepared, languages: Mapping[str, str], parallel: Mapping[str, str], learn: Learn) -> Weighed:
    """Search the weights of languages by which the dearest costs the fewest tokens.

    languages: source -> language. parallel: language -> the same sentences. learn: trains a tokenizer on batches.
    """
    sizes = _sizes(prepared, languages)
    copies = dict.fromkeys(sorted(sizes), 1.0)
    tried: list[tuple[dict[str, float], dict[str, int]]] = []
    for number in range(ROUNDS):
        tokenizer = learn(training_texts(prepared, ROUND_BYTES, _rates(prepared, languages, copies)))
        tokens = {name: len(tokenizer.encode(parallel[name], add_special_tokens=False).ids) for name in copies}
        tried.append((copies, tokens))
        told = ", ".join(f"{name} {tokens[name]} (text x {copies[name]:.2f})" for name in copies)
        print(f"parity, round {number + 1}: tokens of the same sentences {told}", file=sys.stderr)
        if max(tokens.values()) <= CLOSE * min(tokens.values()):
            break
        copies = _next(copies, tokens, sizes)
    best, tokens = min(tried, key=lambda one: max(one[1].values()))
    return Weighed(_rates(prepared, languages, best), best, tried[0][1], tokens)


def _next(copies: dict[str, float], tokens: dict[str, int], sizes: dict[str, int]) -> dict[str, float]:
    """More of the languages above the mean, less of those below; as many bytes of them together as in proportion."""
    mean = sum(map(math.log, tokens.values())) / len(tokens)
    moved = {name: rate * math.exp(STEP * (math.log(tokens[name]) - mean)) for name, rate in copies.items()}
    scale = sum(sizes.values()) / sum(sizes[name] * rate for name, rate in moved.items())
    return {name: min(MOST_COPIES, rate * scale) for name, rate in moved.items()}


def _rates(prepared: Prepared, languages: Mapping[str, str], copies: Mapping[str, float]) -> dict[str, float]:
    return {name: copies[languages[name]] if name in languages else 1.0 for name in prepared.corpus.sources}


def _sizes(prepared: Prepared, languages: Mapping[str, str]) -> dict[str, int]:
    """Language -> UTF-8 bytes of training text."""
    sizes = dict.fromkeys(languages.values(), 0)
    for name, batches in prepared.batches("train").items():
        if name in languages:
            sizes[languages[name]] += sum(batch.bytes for batch in batches)
    return sizes
