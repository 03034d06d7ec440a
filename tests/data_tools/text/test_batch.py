"""The arrays that the rules read say of each document what Python's own words say."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from clapas_data.text.batch import TextBatch
from clapas_data.text.spans import Spans

TEXTS = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=40), max_size=6)
PIECES = st.lists(
    st.sampled_from(["été", "É", "l'", "\n", "\n\n", " ", "a_1", "«\u00a0", "𝒳", "e\u0301", "☎"]), max_size=30
)


def batch_of(*texts: str) -> TextBatch:
    return TextBatch(texts, ids=[str(place) for place in range(len(texts))])


def pieces(batch: TextBatch, spans: Spans) -> list[list[str]]:
    """The text of each piece, by document."""
    found: list[list[str]] = [[] for _ in batch.texts]
    for start, length, owner in zip(spans.starts, spans.lengths, spans.owners, strict=True):
        found[owner].append(batch.codes[start : start + length].tobytes().decode("utf-32-le"))
    return found


@settings(deadline=None)  # the first call makes the tables
@given(TEXTS | st.lists(PIECES.map("".join), max_size=4))
def test_words_lines_and_paragraphs_are_pythons(texts: list[str]) -> None:
    """Words are what `\\w+` finds where accents are composed; lines and paragraphs what a split gives."""
    batch = batch_of(*texts)
    lines, paragraphs = pieces(batch, batch.lines), pieces(batch, batch.paragraphs)
    for text, own_lines, own_paragraphs in zip(texts, lines, paragraphs, strict=True):
        assert own_lines == [line for line in text.split("\n") if line]
        assert [part.strip("\n") for part in own_paragraphs if part.strip("\n")] == [
            part for part in (piece.strip("\n") for piece in re.split("\n\n+", text)) if part
        ]
    if all(text.isprintable() and not re.search("[^\\w\\s!-/:-@«»’]", text) for text in texts):
        assert pieces(batch, batch.words) == [re.findall(r"\w+", text) for text in texts]


def test_a_hash_knows_its_piece_alone() -> None:
    """Whatever stands around it, and in whatever case; other words, other hashes."""
    words = ["L'ÉTÉ dernier", "Aujourd'hui l'été revient", "ete ete été"]
    spans = [batch_of(*words[place:]).words for place in range(3)]
    names = [name.lower() for text in words for name in re.findall(r"\w+", text)]
    hashes = dict(zip(names, spans[0].hashes.tolist(), strict=True))
    assert len(set(hashes.values())) == len(set(names))
    assert [hashes[name] for name in names[3:]] == spans[1].hashes.tolist()
    assert [hashes[name] for name in names[-3:]] == spans[2].hashes.tolist()


def test_ngrams_do_not_cross_documents() -> None:
    """Runs of words of one document, in their order."""
    spans = batch_of("un deux trois", "", "trois", "deux trois un deux").words
    grams, firsts = spans.ngrams(2)
    assert spans.owners[firsts].tolist() == [0, 0, 3, 3, 3]
    assert grams[0] == grams[4]  # un deux
    assert grams[1] == grams[2]  # deux trois
    assert len(set(grams.tolist())) == 3
    assert [len(spans.ngrams(size)[0]) for size in (1, 4, 5)] == [8, 1, 0]


def test_sums_are_those_of_each_document() -> None:
    """A document without pieces has 0."""
    spans = batch_of("un deux", "", "trois !").words
    assert spans.total(spans.lengths).tolist() == [6, 0, 5]
    assert spans.total(spans.lengths > 2).tolist() == [1, 0, 1]
    batch = batch_of("aé", "", "b")
    assert batch.total(np.ones(len(batch.codes), bool)).tolist() == [3, 1, 2]
