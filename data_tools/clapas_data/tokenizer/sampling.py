"""Which text a tokenizer is trained on, and how often: sources in proportion, or languages weighed for parity.

In proportion, a corpus that is 1 % Occitan yields a vocabulary that serves it badly: the same sentence costs more
tokens. Parity-aware BPE (Foroutan et al. 2025, arXiv 2508.04796) takes each merge from the language that is worst
off. The trainer of `tokenizers` cannot do that, so the languages' weights are searched for instead: train, measure the
bytes a token of each language on documents kept apart, give more weight to those below the mean, again. The weights
kept are those by which the worst served language is served best.

Bytes a token stand for the cost of the same content, which holds among languages of one script. Sources that declare
no language (code, tables) keep their proportion and are not compared.
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
MEASURED_SHARE, MEASURED_DOCUMENTS = 0.05, 2000
FEWEST_DOCUMENTS = 20
CLOSE = 1.01
"""The search ends where no language has more bytes a token than another by this factor."""

Learn = Callable[[Iterable[list[str]]], "Tokenizer"]


@dataclass(frozen=True, slots=True)
class Weights:
    """How often each source's documents are read, and which are kept apart.

    rates: source -> copies of each document; of 2.4 copies, two are of all, and the third of four in ten. apart:
    source -> largest hash (the first half) of the documents that are measured on and not trained on.
    """

    rates: dict[str, float]
    apart: dict[str, int]


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the search found. before, after: language -> bytes a token, in proportion and weighed."""

    weights: Weights
    copies: dict[str, float]
    before: dict[str, float]
    after: dict[str, float]

    def report(self) -> dict[str, Any]:
        """As `report.json` keeps it."""
        rounded = [
            {name: round(value, 4) for name, value in one.items()} for one in (self.copies, self.before, self.after)
        ]
        return dict(zip(("copies", "bytes_per_token_in_proportion", "bytes_per_token"), rounded, strict=True))


def languages_of(corpus: Corpus) -> dict[str, str]:
    """Source -> language, of the sources that declare one. Raises UserError where there are not two languages."""
    languages = {name: source.language for name, source in corpus.sources.items() if source.language}
    if len(set(languages.values())) < 2:
        raise UserError(
            "--parity weighs languages",
            where=f"corpus {corpus.name}",
            found=", ".join(sorted(set(languages.values()))) or "no source with a `language`",
            wanted="sources of two languages or more",
            way_out="say `language: fr` (ISO 639) at each source that has one, or train without --parity",
        )
    return languages


def training_texts(prepared: Prepared, most_bytes: int, weights: Weights | None = None) -> Iterator[list[str]]:
    """The training text, a batch at a time, up to about `most_bytes`; of more, documents chosen by their hash."""
    by_source = prepared.batches("train")
    sizes = {name: sum(batch.bytes for batch in batches) for name, batches in by_source.items()}
    rates = weights.rates if weights else dict.fromkeys(sizes, 1.0)
    scale = most_bytes / max(1.0, sum(size * rates[name] for name, size in sizes.items()))
    for name, batches in by_source.items():
        whole, limit = _copies(rates[name], scale)
        apart = weights.apart.get(name, -1) if weights else -1
        for batch in batches:
            rows = batch.read("text", "hash")
            hashes = hashes_of(rows)
            texts = rows.column("text").to_pylist()
            kept = hashes[:, 0] > apart if apart >= 0 else np.ones(len(texts), bool)
            for _ in range(whole):
                yield _only(texts, kept)
            if limit is not None:
                yield _only(texts, kept & (hashes[:, 1] <= limit))


def _copies(rate: float, scale: float) -> tuple[int, np.uint64 | None]:
    """How many times all documents are read, and the largest hash of those that are read once more."""
    copies = rate * min(1.0, scale)
    whole = int(copies)
    part = copies - whole
    return whole, np.uint64(min(2**64 - 1, int(2**64 * part))) if part else None


def _only(texts: list[str], chosen: np.ndarray) -> list[str]:
    return texts if chosen.all() else [text for text, wanted in zip(texts, chosen, strict=True) if wanted]


def weigh(prepared: Prepared, languages: Mapping[str, str], learn: Learn) -> Weighed:
    """Search the weights of languages by which the worst served gets the most bytes a token.

    languages: source -> language. learn: trains a tokenizer on batches of texts.
    """
    apart = _apart(prepared, languages)
    measured = {language: _texts_apart(prepared, languages, language, apart) for language in set(languages.values())}
    sizes = _sizes(prepared, languages)
    copies = dict.fromkeys(sorted(sizes), 1.0)
    tried: list[tuple[dict[str, float], dict[str, float]]] = []
    for number in range(ROUNDS):
        weights = _weights(prepared, languages, copies, apart)
        served = _served(learn(training_texts(prepared, ROUND_BYTES, weights)), measured)
        tried.append((copies, served))
        told = ", ".join(f"{name} {served[name]:.3f} (text x {copies[name]:.2f})" for name in copies)
        print(f"parity, round {number + 1}: bytes a token {told}", file=sys.stderr)
        if max(served.values()) < CLOSE * min(served.values()):
            break
        copies = _next(copies, served, sizes)
    best, served = max(tried, key=lambda one: min(one[1].values()))
    return Weighed(_weights(prepared, languages, best, apart), best, tried[0][1], served)


def _next(copies: dict[str, float], served: dict[str, float], sizes: dict[str, int]) -> dict[str, float]:
    """More of the languages below the mean, less of those above; as many bytes of them together as in proportion."""
    mean = sum(math.log(value) for value in served.values()) / len(served)
    moved = {name: rate * math.exp(STEP * (mean - math.log(served[name]))) for name, rate in copies.items()}
    scale = sum(sizes.values()) / sum(sizes[name] * rate for name, rate in moved.items())
    return {name: min(MOST_COPIES, rate * scale) for name, rate in moved.items()}


def _weights(
    prepared: Prepared, languages: Mapping[str, str], copies: Mapping[str, float], apart: dict[str, int]
) -> Weights:
    rates = {name: copies[languages[name]] if name in languages else 1.0 for name in prepared.corpus.sources}
    return Weights(rates, apart)


def _sizes(prepared: Prepared, languages: Mapping[str, str]) -> dict[str, int]:
    """Language -> UTF-8 bytes of training text."""
    sizes = dict.fromkeys(languages.values(), 0)
    for name, batches in prepared.batches("train").items():
        if name in languages:
            sizes[languages[name]] += sum(batch.bytes for batch in batches)
    return sizes


def _apart(prepared: Prepared, languages: Mapping[str, str]) -> dict[str, int]:
    """Source -> largest hash of the documents to measure on: a share of each language's."""
    hashes: dict[str, list[np.ndarray]] = {language: [] for language in languages.values()}
    for name, batches in prepared.batches("train").items():
        if name in languages:
            hashes[languages[name]] += [hashes_of(batch.read("hash"))[:, 0].copy() for batch in batches]
    limits = {}
    for language, parts in hashes.items():
        found = np.concatenate(parts) if parts else np.empty(0, np.uint64)
        if len(found) < FEWEST_DOCUMENTS:
            raise UserError(
                f"--parity: language {language} has too few documents to keep some apart and measure on",
                where=f"corpus {prepared.corpus.name}",
                found=f"{len(found)} documents of training text",
                wanted=f"at least {FEWEST_DOCUMENTS}",
            )
        count = min(MEASURED_DOCUMENTS, max(1, int(MEASURED_SHARE * len(found))))
        limits[language] = int(np.partition(found, count - 1)[count - 1])
    return {name: limits[language] for name, language in languages.items()}


def _texts_apart(
    prepared: Prepared, languages: Mapping[str, str], language: str, apart: Mapping[str, int]
) -> list[str]:
    texts: list[str] = []
    for name, batches in prepared.batches("train").items():
        if languages.get(name) == language:
            for batch in batches:
                rows = batch.read("text", "hash")
                texts += _only(rows.column("text").to_pylist(), hashes_of(rows)[:, 0] <= apart[name])
    return texts


def _served(tokenizer: Tokenizer, measured: Mapping[str, list[str]]) -> dict[str, float]:
    """Language -> bytes a token on the documents kept apart."""
    ratios = {}
    for language, texts in measured.items():
        tokens = sum(len(one.ids) for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        ratios[language] = sum(len(text.encode()) for text in texts) / max(1, tokens)
    return ratios
