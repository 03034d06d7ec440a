"""The data plan: every token predicted once an epoch, whatever the shards, the step or the number of ranks."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clapas.loader.plan import DataPlan
from clapas.loader.stream import Span, Stream
from clapas.recipe.errors import UserError
from clapas.recipe.phases import Phase, Phases
from corpora import entries_of, manifest_of

Tokens = dict[str, list[int]]


def plan_of(
    tokens: Tokens,
    length: int,
    *,
    seed: int = 0,
    batch: int = 24,
    mixture: dict[str, float] | None = None,
    document_mask: bool = False,
) -> DataPlan:
    """A data plan over shards that exist in the manifest only."""
    phases = Phases.constant(batch, length, mixture)
    return DataPlan(manifest_of(entries_of(tokens)), phases, seed=seed, document_mask=document_mask)


def places(spans: list[Span]) -> list[tuple[int, int]]:
    """(shard, token) of each token of some spans."""
    return [(span.shard, token) for span in spans for token in range(span.start, span.stop)]


shard_sizes = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 1)


@given(sizes=shard_sizes, seed=st.integers(0, 2**63 - 1), data=st.data())
def test_every_token_is_a_target_exactly_once_an_epoch(sizes: list[int], seed: int, data: st.DataObject) -> None:
    """In each of the first epochs, over any shards, empty ones included; the very first token has nothing before it."""
    length = data.draw(st.integers(1, sum(sizes) - 1))
    plan = plan_of({"law": sizes}, length, seed=seed)
    all_places = places([Span(shard, 0, size) for shard, size in enumerate(sizes)])
    samples = plan.stretches[0].samples[""]
    for epoch in range(2):
        seen = Counter[tuple[int, int]]()
        for index in range(epoch * samples, (epoch + 1) * samples):
            seen.update(places(plan.spans(index))[1:])
        assert seen == Counter(all_places[1:])


@given(sizes=shard_sizes, data=st.data())
def test_a_sample_is_the_text_as_it_stands(sizes: list[int], data: st.DataObject) -> None:
    """Its tokens follow one another in the stream, across shards, sequence_length + 1 of them (or up to the end)."""
    total = sum(sizes)
    length = data.draw(st.integers(1, total - 1))
    plan = plan_of({"law": sizes}, length)
    all_places = places([Span(shard, 0, size) for shard, size in enumerate(sizes)])
    found = places(plan.spans(data.draw(st.integers(0, 10**9))))
    start = all_places.index(found[0])
    assert start % length == 0
    assert found == all_places[start : start + length + 1]


@pytest.mark.parametrize("mixture", [None, {"law": 1.0}])
def test_the_corpus_weighs_its_sources_where_the_recipe_does_not(mixture: dict[str, float] | None) -> None:
    """`weight` of each source in the corpus file is a mixture like the recipe's, whose own comes first."""
    manifest = manifest_of(entries_of({"law": [1000], "web": [100]}))
    weighed = {name: source.model_copy(update={"weight": 2.5}) for name, source in manifest.sources.items()}
    corpus = manifest.model_copy(update={"sources": weighed})
    plan = DataPlan(corpus, Phases.constant(8, 10, mixture), seed=0)
    asked = DataPlan(manifest, Phases.constant(8, 10, mixture or {"law": 1, "web": 1}), seed=0)
    assert [plan.spans(index) for index in range(50)] == [asked.spans(index) for index in range(50)]
    assert plan.hash == asked.hash


@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=4), index=st.integers(0, 10**9))
def test_with_a_mixture_each_source_has_epochs_of_its_own(weights: list[int], index: int) -> None:
    """A source's samples come in its own order, all of them before any comes again."""
    tokens: Tokens = {f"s{number}": [100 + 37 * number] for number in range(len(weights))}
    plan = plan_of(tokens, 10, mixture={f"s{number}": weight for number, weight in enumerate(weights)})
    mixture = plan.stretches[0].mixture
    assert mixture is not None
    source, draw = mixture(index)
    samples = plan.stretches[0].samples[source]
    shard = list(tokens).index(source)
    first = draw - draw % samples
    starts = []
    probe = index
    while mixture.drawn(source, probe) > first:
        probe -= 1
    while len(starts) < samples:
        if mixture(probe)[0] == source:
            (span,) = plan.spans(probe)
            assert span.shard == shard
            starts.append(span.start)
        probe += 1
    assert sorted(starts) == [10 * number for number in range(samples)]


@given(step=st.integers(1, 10**9), ranks=st.sampled_from([1, 2, 3, 8]))
def test_ranks_share_a_step_without_changing_it(step: int, ranks: int) -> None:
    """One after another, the ranks' parts are the step's interval, whatever their number."""
    plan = plan_of({"law": [1000]}, 7)
    parts = [index for rank in range(ranks) for index in plan.rank_interval(step, rank, ranks)]
    assert parts == list(plan.interval(step)) == list(range((step - 1) * 24, step * 24))


def test_ranks_that_do_not_divide_the_batch_are_refused() -> None:
    """Five ranks cannot share 24 samples."""
    with pytest.raises(UserError, match="does not divide the global batch"):
        plan_of({"law": [1000]}, 7).rank_interval(1, 0, 5)


def test_steps_count_from_one() -> None:
    """Step 0 is a mistake, not the end of the run."""
    with pytest.raises(IndexError):
        plan_of({"law": [1000]}, 7).interval(0)


def test_the_hash_changes_with_whatever_changes_the_order_or_the_targets() -> None:
    """Each of these makes another plan; a batch size or the scale of the weights does not."""
    base = {"tokens": {"a": [100], "b": [90, 50]}, "length": 10}
    variants = [
        plan_of(**base),
        plan_of(**base, seed=1),
        plan_of(**base, mixture={"a": 1, "b": 2}),
        plan_of(**base, mixture={"a": 2, "b": 1}),
        plan_of(**base, document_mask=True),
        plan_of({"a": [100], "b": [90, 51]}, 10),
        plan_of({"a": [100], "b": [50, 90]}, 10),
        plan_of({"a": [100], "b": [90, 50]}, 11),
    ]
    assert len({plan.hash for plan in variants}) == len(variants)
    assert plan_of(**base, batch=8).hash == plan_of(**base).hash
    assert plan_of(**base, mixture={"b": 2.0, "a": 1.0}).hash == plan_of(**base, mixture={"a": 0.1, "b": 0.2}).hash


def test_the_plan_never_changes_silently() -> None:
    """Golden values: the hash, and the hash of the first 1,000 samples' spans, plain and mixed."""
    tokens: Tokens = {"law": [5000, 70], "web": [12_345]}
    found = []
    for mixture in (None, {"law": 0.3, "web": 0.7}):
        plan = plan_of(tokens, 64, seed=1234, mixture=mixture)
        order = [tuple(span) for index in range(1000) for span in plan.spans(index)]
        found.append((plan.hash[:16], hashlib.sha256(repr(order).encode()).hexdigest()[:16]))
    assert found == [("3a1724bab8b13b73", "da3321249189e7e2"), ("ac7f6b01d397c254", "da2394500731ed51")]


@pytest.mark.parametrize("length", [150, 10**9])
def test_a_sequence_longer_than_the_text_is_refused(length: int) -> None:
    """The message says how much there is, and a length that works."""
    with pytest.raises(UserError, match="longer than all documents of the split together") as error:
        plan_of({"a": [100, 50]}, length)
    assert "less than 150" in str(error.value)


def test_a_split_without_tokens_is_refused() -> None:
    """No length would help."""
    with pytest.raises(UserError, match="no tokens to read"):
        plan_of({"a": [0, 0]}, 1)


def test_a_mixture_of_unknown_sources_is_refused() -> None:
    """The message lists the sources that there are."""
    with pytest.raises(UserError, match="no such source") as error:
        plan_of({"law": [100], "web": [100]}, 7, mixture={"law": 1, "books": 1})
    assert "law, web" in str(error.value)


def test_epochs_are_counted_for_each_stream() -> None:
    """After 10 steps of 24 samples: 240 of 15 samples; of a mixture 3 to 1, 180 and 60."""
    tokens: Tokens = {"law": [101], "web": [51]}
    assert plan_of(tokens, 10).epochs(10) == {"": 240 / 16}
    assert plan_of(tokens, 10, mixture={"law": 3, "web": 1}).epochs(10) == {"law": 180 / 10, "web": 60 / 5}


def test_a_stream_ends_where_its_shards_end() -> None:
    """Spans past the end are cut; empty shards are passed over."""
    stream = Stream.of("", [4, 5, 6], [3, 0, 2])
    assert stream.spans(1, 99) == [Span(4, 1, 3), Span(6, 0, 2)]
    assert stream.spans(5, 9) == []


def staged(stages: list[tuple[int, int, dict[str, float] | None]], tokens: Tokens, batch: int = 1) -> DataPlan:
    """A plan of stages: (steps, sequence length, mixture) each."""
    phases, step, token = [], 0, 0
    for number, (steps, length, mixture) in enumerate(stages):
        phases.append(Phase(number, step + 1, step * batch, token, batch, None, length, mixture))
        step, token = step + steps, token + steps * batch * length
    return DataPlan(manifest_of(entries_of(tokens)), Phases(tuple(phases), step), seed=0)


@given(first=st.integers(1, 60), web=st.integers(1, 9))
def test_a_source_goes_on_where_the_stage_before_left_it(first: int, web: int) -> None:
    """Of each source nothing is read twice before all of it was read, however the mixture changes on the way."""
    tokens: Tokens = {"law": [401], "web": [301]}
    plan = staged([(first, 10, {"law": 1, "web": web}), (400, 10, {"law": web, "web": 2})], tokens)
    for shard, samples in enumerate((40, 30)):
        spans = [span for index in range(first + 200) for span in plan.spans(index)]
        starts = [span.start for span in spans if span.shard == shard][:samples]
        assert len(starts) == len(set(starts))


def test_another_sequence_length_has_an_order_of_its_own() -> None:
    """It begins at its beginning, and where the first length comes back, that goes on."""
    tokens: Tokens = {"law": [1201]}
    plan = staged([(20, 10, None), (30, 20, None), (100, 10, None)], tokens)
    starts = [span.start for index in range(150) for span in plan.spans(index)]
    assert len(set(starts[:20] + starts[50:150])) == 120  # one epoch of 120, with 30 samples of 20 between
    assert len(set(starts[20:50])) == 30
    alone = staged([(1, 20, None)], tokens)
    assert [plan.spans(20 + place) for place in range(30)] != [alone.spans(place) for place in range(30)]


def test_a_stage_that_changes_only_the_batch_changes_no_order() -> None:
    """The order is the samples', whatever steps they are read in; the hash is that of one stage."""
    tokens: Tokens = {"law": [1000]}
    one = plan_of(tokens, 10, batch=1)
    two = staged([(5, 10, None), (9, 10, None)], tokens)
    assert two.hash == one.hash
    assert [two.spans(index) for index in range(20)] == [one.spans(index) for index in range(20)]


def test_the_hash_knows_the_stages() -> None:
    """What later stages read, and from which sample on, makes another plan; how long the last one is does not."""
    tokens: Tokens = {"law": [1000], "web": [500]}
    variants = [
        [(9, 10, None)],
        [(9, 10, None), (9, 20, None)],
        [(8, 10, None), (9, 20, None)],
        [(9, 10, None), (9, 10, {"law": 1.0})],
        [(9, 10, None), (9, 20, None), (9, 10, None)],
    ]
    assert len({staged(stages, tokens).hash for stages in variants}) == len(variants)
    assert staged([(9, 10, None), (9, 20, None)], tokens).hash == staged([(9, 10, None), (7, 20, None)], tokens).hash


def test_epochs_count_all_stages() -> None:
    """After 30 samples of law alone and 30 of both: 45 of 100, 15 of 50."""
    plan = staged([(30, 10, {"law": 1}), (30, 10, {"law": 1, "web": 1})], {"law": [1001], "web": [501]})
    assert plan.epochs(60) == {"law": 45 / 100, "web": 15 / 50}


def test_a_stages_mistakes_are_told_of_the_stage() -> None:
    """A source that is not there, a length that is longer than the text."""
    tokens: Tokens = {"law": [100]}
    with pytest.raises(UserError, match=r"stages\[1\].mixture: no such source"):
        staged([(9, 10, None), (9, 10, {"books": 1})], tokens)
    with pytest.raises(UserError, match=r"stages\[1\].sequence_length is longer than"):
        staged([(9, 10, None), (9, 100, None)], tokens)
