"""The text on which data tools are measured: five npm packages of the French state's law and guides, as JSONL.

About 120 MB, 82,000 documents: codes of law, collective agreements, practical guides, questions and answers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from clapas_data.corpus import read_corpus
from clapas_data.prepare import prepare
from clapas_data.workers import Workers

WORD = re.compile(r"\w{4,}")
CHANGED = 0.15
"""The share of long words that a noisy copy has others for: far from a near-duplicate by its word 5-grams."""


def documents() -> Iterator[tuple[str, str, str]]:
    """(source, id, text) of every document, before deduplication."""
    corpus = read_corpus("bench")
    plain = corpus.model_copy(update={"steps": (), "held_out": (), "decontaminate": None})
    sources = {name: source.model_copy(update={"steps": {}}) for name, source in plain.sources.items()}
    with Workers() as workers:
        work = prepare(plain.model_copy(update={"sources": sources, "name": "bench-plain"}), workers).work
    for place in work.chunks:
        for batch in work.chunk(place.number).batches("id", "text"):
            rows = zip(batch.column("id").to_pylist(), batch.column("text").to_pylist(), strict=True)
            yield from ((place.source, identifier, text) for identifier, text in rows)


def write_jsonl(folder: Path, times: int = 1, megabytes: float = float("inf")) -> int:
    """Write SOURCE.jsonl files. times: copies of each document, all but the first noisy. megabytes: at most, of text.

    Returns the UTF-8 bytes of the text.
    """
    files = {}
    size = 0
    draw = random.Random(3)
    words: list[str] = []
    for source, identifier, text in documents():
        if size >= megabytes * 1e6:
            break
        words = (WORD.findall(text) + words)[:2000]
        for copy in range(times):
            noisy = text if copy == 0 else _noise(text, words, draw)
            row = {"id": f"{identifier}#{copy}", "text": noisy}
            if source not in files:
                files[source] = (folder / f"{source}.jsonl").open("wb")
            files[source].write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            size += len(noisy.encode())
    for file in files.values():
        file.close()
    return size


def _noise(text: str, words: list[str], draw: random.Random) -> str:
    """A copy with some long words replaced by others of the documents before."""

    def other(match: re.Match[str]) -> str:
        return draw.choice(words) if draw.random() < CHANGED else match[0]

    return WORD.sub(other, text)
