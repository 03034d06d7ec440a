"""How well tokenizers serve texts: bytes a token, tokens a word, and the same content in three languages.

Fewer tokens for a text are cheaper training and longer contexts; but a larger vocabulary costs parameters, and more
bytes a token on one's own corpus say nothing of others. So each figure stands beside the text it was measured on.

- bytes a token: UTF-8 bytes over tokens, no BOS or EOS.
- tokens a word (fertility): of each run of letters, the tokens that have any part of it; their mean.
- whole words: the share of words that lie within one token.
- vocabulary used: the share of ids that the text has.
- exact: whether decoding gives the text back, to the byte.
- parity: the tokens of the same sentences, by language; each tokenizer's dearest language over its cheapest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clapas.recipe.errors import UserError
from clapas_data.tokenizer.opened import Encoded, Opened, open_any
from clapas_data.tokenizer.samples import Sample, corpus_samples, file_sample, parallel_texts, shipped_samples

WORD = re.compile(r"[^\W\d_]+")

PROBES = {
    "digits": "1234567 2024 12 345,67",
    "indentation": "if x:\n        return 1\n",
    "spaces": "a    b",
    "no-break space": "«\u00a0Qui\u00a0?\u00a0»",
    "narrow no-break space": "Qui\u202f? 1\u202f000",
    "elision": "aujourd'hui l'État, qu’il n’a",
    "LaTeX": "\\frac{1}{2} = \\alpha_{i}",
}
"""What splits differ in, and what they do to spaces and commands."""


def compare(names: Sequence[str], corpus: str | None = None, texts: Iterable[Path] = ()) -> dict[str, Any]:
    """Compare tokenizers on the texts that ship and, where given, on a corpus's held-out text or on files.

    names: folders, files or `tekken` (opened.py). Raises UserError for what is no tokenizer or no text.
    """
    if len(set(names)) < len(names):
        raise UserError("a tokenizer is named twice", found=", ".join(names))
    tokenizers = [open_any(name) for name in names]
    samples = [*shipped_samples(), *map(file_sample, texts), *(corpus_samples(corpus) if corpus else ())]
    rows = [{"tokenizer": one.name, **_row(one, sample)} for sample in samples for one in tokenizers]
    return {
        "tokenizers": [{"name": one.name, "vocab_size": one.vocab_size, "split": one.split} for one in tokenizers],
        "samples": [_facts(sample) for sample in samples],
        "rows": rows,
        "sums": {key: _sums(samples, rows, key) for key in ("language", "domain")},
        "parity": {one.name: _parity(one) for one in tokenizers},
        "probes": {what: {one.name: _pieces(one, text) for one in tokenizers} for what, text in PROBES.items()},
    }


def _facts(sample: Sample) -> dict[str, Any]:
    facts = {key: getattr(sample, key) for key in ("name", "language", "domain", "licence", "bytes")}
    return {**facts, "words": sum(len(WORD.findall(text)) for text in sample.texts)}


def _row(tokenizer: Opened, sample: Sample) -> dict[str, Any]:
    encoded = tokenizer.encode(sample.texts)
    tokens = sum(len(one.ids) for one in encoded)
    of_words = np.concatenate([_tokens_of_words(one, text) for one, text in zip(encoded, sample.texts, strict=True)])
    used = len(np.unique(np.concatenate([one.ids for one in encoded])))
    pairs = zip(encoded, sample.texts, strict=True)
    return {
        "sample": sample.name,
        "bytes": sample.bytes,
        "tokens": tokens,
        "bytes_per_token": round(sample.bytes / max(1, tokens), 4),
        "tokens_per_word": round(float(of_words.mean()), 4) if len(of_words) else None,
        "whole_words": round(float((of_words == 1).mean()), 4) if len(of_words) else None,
        "vocabulary_used": round(used / tokenizer.vocab_size, 4),
        "exact": all(tokenizer.decode(one.ids.tolist()) == text for one, text in pairs),
    }


def _tokens_of_words(encoded: Encoded, text: str) -> np.ndarray:
    """int64[words]: how many tokens have any part of each word."""
    spans = np.array([match.span() for match in WORD.finditer(text)], np.int64).reshape(-1, 2)
    begun = np.searchsorted(encoded.starts, spans[:, 1], "left")
    ended = np.searchsorted(encoded.ends, spans[:, 0], "right")
    return begun - ended


def _sums(samples: Sequence[Sample], rows: Sequence[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Bytes a token of all samples of a language, or of a domain."""
    of = {sample.name: getattr(sample, key) for sample in samples}
    sums: dict[tuple[str, str], np.ndarray] = {}
    for row in rows:
        if of[row["sample"]]:
            place = (of[row["sample"]], row["tokenizer"])
            sums[place] = sums.get(place, np.zeros(2)) + np.array([row["bytes"], row["tokens"]])
    return [
        {key: value, "tokenizer": name, "bytes_per_token": round(size / max(1, tokens), 4)}
        for (value, name), (size, tokens) in sums.items()
    ]


def _parity(tokenizer: Opened) -> dict[str, Any]:
    texts = parallel_texts()
    tokens = {language: len(tokenizer.encode([text])[0].ids) for language, text in texts.items()}
    least = min(tokens.values())
    relative = {language: round(count / least, 4) for language, count in tokens.items()}
    return {"tokens": tokens, "relative": relative, "dearest_over_cheapest": max(relative.values())}


def _pieces(tokenizer: Opened, text: str) -> list[str]:
    """What each token of a text stands for."""
    pieces = tokenizer.pieces
    return [
        (pieces[number] or f"<{number}>".encode()).decode(errors="backslashreplace")
        for number in tokenizer.encode([text])[0].ids.tolist()
    ]
