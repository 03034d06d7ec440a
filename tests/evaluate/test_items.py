"""The items that ship: what a reader of the files could get wrong when changing one."""

import re
from collections import Counter
from typing import Any

import pytest

from clapas.evaluate.harness.local_tasks import SHIPPED, read_rows
from clapas.evaluate.probes.probe import ItemSet


def rows_of(task: str) -> list[dict[str, Any]]:
    """The items of a task that ships."""
    return read_rows(SHIPPED / f"{task}.jsonl")


@pytest.mark.parametrize("task", ["clapas_fr_droit_travail", "clapas_fr_grammaire"])
def test_neither_place_nor_length_tells_the_answer(task: str) -> None:
    """Each place is right as often as the others; the longest, or the shortest, choice alone is a poor guess."""
    rows = rows_of(task)
    chances = len(rows[0]["choices"])
    assert all(len(set(row["choices"])) == chances for row in rows)
    assert set(Counter(row["answer"] for row in rows).values()) == {len(rows) // chances}
    for extreme in (min, max):
        lengths = [[len(choice) for choice in row["choices"]] for row in rows]
        alone = [(own, row) for own, row in zip(lengths, rows, strict=True) if own.count(extreme(own)) == 1]
        hits = sum(own[row["answer"]] == extreme(own) for own, row in alone)
        assert hits <= len(rows) / chances


def test_every_fact_of_law_has_its_article() -> None:
    """`source` begins with an article of the Code du travail."""
    for row in rows_of("clapas_fr_droit_travail"):
        assert re.match(r"Code du travail, art\. [LRD]\. \d{4}-\d+( ; fiche « .+ »)?$", row["source"]), row


def test_minimal_pairs_are_minimal() -> None:
    """Both sentences begin and end alike, and what lies between is at most three words in either."""
    for row in rows_of("clapas_fr_grammaire"):
        ours, theirs = (re.findall(r"\w+'?|[^\w\s]", choice) for choice in row["choices"])
        start = next(place for place, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1])
        rest, other = ours[start:], theirs[start:]
        while rest and other and rest[-1] == other[-1]:
            rest, other = rest[:-1], other[:-1]
        assert max(len(rest), len(other)) <= 3, row


def test_answers_to_complete_are_plain_words() -> None:
    """No stop string, apostrophe or quotation mark, which an exact match could fail on."""
    for row in rows_of("clapas_fr_completer"):
        assert re.fullmatch(r"\w+", row["answer"]), row


def test_pairs_of_bias_differ() -> None:
    """Each pair once, and as many words in both, give or take one."""
    rows = ItemSet("bias").rows()
    assert len({text for row in rows for text in (row["prejudice"], row["other"])}) == 2 * len(rows)
    for row in rows:
        assert abs(len(row["prejudice"].split()) - len(row["other"].split())) <= 1, row
