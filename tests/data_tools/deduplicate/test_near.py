"""Near duplicates: what is found is what a comparison of all pairs finds; what goes is near to what stays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data_tools.deduplicate.made import Result, deduplicate, similarity, variants

from clapas.recipe.errors import UserError
from clapas_data.codes import DUPLICATE, HELD_OUT, NEAR_DUPLICATE, TRAIN
from clapas_data.deduplicate import near as near_module
from clapas_data.deduplicate.join import components, keepers
from clapas_data.stages import Stage
from clapas_data.steps.deduplicate import Lines, Near
from clapas_data.workers import Workers

seeds = st.integers(0, 2**32)


def by_definition(texts: list[str], near: Near, held_out: set[int]) -> dict[int, tuple[int, float]]:
    """All pairs compared: what goes, and for what. Exact duplicates are left out beforehand."""
    order = sorted(range(len(texts)), key=lambda place: (place not in held_out, place))
    first = {texts[place]: place for place in reversed(order)}
    order = sorted(first.values(), key=lambda place: (place not in held_out, -len(texts[place].encode()), place))
    kept: list[int] = []
    gone: dict[int, tuple[int, float]] = {}
    for place in order:
        near_ones = [(own, similarity(texts[place], texts[own], near.words)) for own in kept]
        better = [(own, value) for own, value in near_ones if value >= near.threshold]
        if better:
            gone[place] = better[0]
        else:
            kept.append(place)
    return gone


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_as_all_pairs_compared(threshold: float) -> None:
    """On 3 corpora of 60 documents with a few words changed, what the definition drops goes, for the same ones."""
    near = Near(threshold=threshold, permutations=256)
    dropped = 0
    for seed in range(3):
        texts = variants(Random(seed), originals=12, copies=5, words=120, most_edits=4)
        held_out = {3, 17, 40}
        result = deduplicate(texts, near, cuts=(7, 30), held_out=sorted(held_out))
        near_ones = {place: link[:2] for place, link in result.links.items() if result.codes[place] == NEAR_DUPLICATE}
        assert near_ones == by_definition(texts, near, held_out)
        dropped += len(near_ones)
    assert dropped > 20 or threshold == 1


def content(result: Result) -> tuple[object, ...]:
    """All that a result says."""
    return result.codes, result.links, result.texts, result.steps


@settings(max_examples=5, deadline=None)
@given(seeds, st.lists(st.integers(0, 40), max_size=4))
def test_chunks_and_order_of_work_change_nothing(seed: int, cuts: list[int]) -> None:
    """One chunk or five; tasks forwards, or backwards and some of them twice."""
    texts = variants(Random(seed), originals=8, copies=5, words=40, most_edits=3)

    def backwards(stages):
        for stage in stages:
            for task in [*reversed(range(stage.tasks())), 0]:
                stage.run(task)
            assert not stage.missing()

    plain = deduplicate(texts, Near(), held_out=[1])
    assert content(deduplicate(texts, Near(), cuts=cuts, held_out=[1], run=backwards)) == content(plain)


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_a_second_time_removes_nothing(seed: int) -> None:
    """And what goes the first time is near to what stays, by the exact similarity."""
    near = Near(threshold=0.7)
    texts = variants(Random(seed), originals=6, copies=6, words=40, most_edits=4)
    once = deduplicate(texts, near, cuts=(20,))
    for gone, (kept, jaccard, component) in once.links.items():
        assert once.codes[kept] == TRAIN
        assert component <= min(gone, kept)
        if once.codes[gone] == NEAR_DUPLICATE:
            assert jaccard == similarity(texts[gone], texts[kept], near.words) >= near.threshold
    left = list(once.texts.values())
    assert list(deduplicate(left, near, cuts=(20,)).texts.values()) == left


@settings(max_examples=5, deadline=None)
@given(seeds)
def test_no_order_is_favoured(seed: int) -> None:
    """Where the lengths decide (no two are equal), the same texts stay whatever the order in which they come."""
    random = Random(seed)
    texts = [text + " " + "z" * (600 + place - len(text)) for place, text in enumerate(variants(random, 6, 4, 40, 2))]
    shuffled = random.sample(texts, len(texts))
    one, other = deduplicate(texts, Near()), deduplicate(shuffled, Near(), cuts=(5,))
    assert sorted(one.texts.values()) == sorted(other.texts.values())


def test_held_out_documents_win() -> None:
    """A held-out document stays before a longer and earlier one; a held-out copy of a held-out one goes."""
    base = " ".join(f"mot{place}" for place in range(60))
    texts = [f"{base} et encore", base, f"{base} bis", base]
    result = deduplicate(texts, Near(), held_out=[1, 2])
    assert result.codes == [NEAR_DUPLICATE, NEAR_DUPLICATE, HELD_OUT, DUPLICATE]
    assert {gone: link[0] for gone, link in result.links.items()} == {0: 2, 1: 2, 3: 2}


def test_held_out_must_match(capsys: pytest.CaptureFixture[str]) -> None:
    """A choice that finds nothing is told."""
    with pytest.raises(UserError, match=r"held_out\[0\] of corpus made matches no document"):
        deduplicate(["un texte"], held_out=[7])


def test_short_documents_are_not_thrown_together() -> None:
    """Of fewer words than an n-gram, only those of the same words are near; those without words never are."""
    texts = ["Article 1", "Article 2", "article 1.", "***", "---", "Article", "abrogé", "Abrogé (1)", "(abrogé)"]
    result = deduplicate(texts, Near())
    gone = {place: result.links[place][0] for place, code in enumerate(result.codes) if code == NEAR_DUPLICATE}
    assert gone == {0: 2, 6: 8}


def test_sources_may_be_kept_apart() -> None:
    """`across: source` compares no documents of different sources; exact duplicates go all the same."""
    base = " ".join(f"mot{place}" for place in range(60))
    texts = [base, f"{base} a", f"{base} bc", f"{base} d", base]
    apart = deduplicate(texts, Near(across="source"), cuts=(2,), sources=("un", "deux"))
    assert apart.codes == [NEAR_DUPLICATE, TRAIN, TRAIN, NEAR_DUPLICATE, DUPLICATE]
    together = deduplicate(texts, Near(), cuts=(2,), sources=("un", "deux"))
    assert together.codes == [NEAR_DUPLICATE, NEAR_DUPLICATE, TRAIN, NEAR_DUPLICATE, DUPLICATE]
    assert together.links[4] == (2, together.links[0][1], 0)


def test_hundreds_of_copies_leave_one() -> None:
    """More documents with the same key than are all paired with each other: they are compared with the best."""
    base = [f"mot{place}" for place in range(300)]
    texts = [" ".join([*base[:place], "x" * (place % 7 + 1), *base[place + 1 :]]) for place in range(300)]
    result = deduplicate(texts, Near(), cuts=(100, 200))
    assert sorted(result.codes) == [TRAIN, *[NEAR_DUPLICATE] * 299]


def test_the_first_may_stay() -> None:
    """`keep: first` goes by the corpus's order."""
    base = " ".join(f"mot{place}" for place in range(60))
    assert deduplicate([base, f"{base} plus"], Near(keep="first")).codes == [TRAIN, NEAR_DUPLICATE]
    assert deduplicate([base, f"{base} plus"], Near(keep="longest")).codes == [NEAR_DUPLICATE, TRAIN]


@given(st.integers(1, 25), seeds)
def test_rounds_find_what_a_walk_finds(count: int, seed: int) -> None:
    """Components and keepers of any graph, as plain walks find them."""
    random = Random(seed)
    pairs = [pair for pair in combinations(range(count), 2) if random.random() < 0.2]
    one, two = np.array(pairs, np.int64).reshape(-1, 2).T
    order = random.sample(range(count), count)
    wanted, kept = [-1] * count, []
    for own in order:
        better = [other for other in kept if (min(own, other), max(own, other)) in pairs]
        if better:
            wanted[own] = better[0]
        else:
            kept.append(own)
    assert keepers(one, two, np.array(order)).tolist() == wanted
    lowest = list(range(count))
    for _ in range(count):
        for a, b in pairs:
            lowest[a] = lowest[b] = min(lowest[a], lowest[b])
    assert components(one, two, count).tolist() == lowest


@pytest.mark.parametrize(("threshold", "shape"), [(0.7, (30, 4)), (0.8, (20, 6)), (0.9, (12, 10)), (1.0, (1, 120))])
def test_bands_follow_from_the_threshold(threshold: float, shape: tuple[int, int]) -> None:
    """The fewest candidates that still hold 99 % of the pairs at the threshold."""
    near = Near(threshold=threshold)
    assert (near.bands, near.rows) == shape
    assert near.found(threshold) >= 0.99


@pytest.mark.parametrize("limit", [1, 50, 10**6])
def test_pieces_hold_each_pair_once(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs of groups of up to 33 documents; of larger ones those near in rank and those with the eight best."""
    monkeypatch.setattr(near_module, "PIECE_PAIRS", limit)
    sizes = [2, 33, 100, 3, 34]
    key = np.repeat(np.arange(5, dtype=np.uint64), sizes)
    document = np.random.default_rng(0).permutation(len(key)).astype(np.int64)
    ranks = np.zeros(len(key), np.uint32)
    pieces = list(near_module._paired(*near_module._in_groups(key, document, ranks)))
    found = [pair for low, high in pieces for pair in zip(low.tolist(), high.tolist(), strict=True)]
    wanted = set()
    for group in range(5):
        own = sorted(document[key == group].tolist())
        wanted |= {(own[i], own[j]) for i, j in combinations(range(len(own)), 2) if j - i <= 32 or i < 8}
    assert sorted(found) == sorted(wanted)
    assert len(pieces) == 1 or all(len(low) <= limit + 40 for low, _ in pieces)


@pytest.mark.slow
def test_processes_change_nothing() -> None:
    """Two processes find what one finds, lines and all."""
    footer = "Une ligne que tous ont, et qui est assez longue"
    texts = [f"{text}\n\n{footer}" for text in variants(Random(5), 20, 5, 60, 3)]

    def together(stages: Sequence[Stage]) -> None:
        with Workers(2) as workers:
            for stage in stages:
                assert list(workers.map(stage.run, stage.missing())) == [None] * stage.tasks()

    options = {"near": Near(), "lines": Lines(most=2), "cuts": (10, 20, 50, 77), "held_out": [4]}
    assert content(deduplicate(texts, **options, run=together)) == content(deduplicate(texts, **options))
