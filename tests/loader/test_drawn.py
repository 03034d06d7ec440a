"""What was left out is not read again, and nothing else changes: whatever the stages, the batches and the rollbacks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clapas.loader.drawn import Drawn, Window
from clapas.loader.plan import DataPlan
from clapas.recipe.phases import Phase, Phases
from corpora import entries_of, manifest_of

STEPS = 24
MANIFEST = manifest_of(entries_of({"law": [300, 40], "web": [500]}))

mixtures = st.sampled_from([{"law": 1.0}, {"law": 3.0, "web": 1.0}, {"web": 1.0, "law": 1.0}])


@st.composite
def runs(draw: st.DrawFn) -> Phases:
    """Up to four phases of other batches, lengths and mixtures."""
    firsts = sorted({1, *draw(st.lists(st.integers(2, STEPS), max_size=3))})
    found: list[Phase] = []
    sample = token = 0
    for number, first in enumerate(firsts):
        if found:
            steps = first - found[-1].first_step
            sample, token = sample + steps * found[-1].global_batch_size, token + steps * found[-1].tokens_per_step
        batch, length = draw(st.integers(1, 4)), draw(st.sampled_from([5, 9]))
        found.append(Phase(number, first, sample, token, batch, None, length, draw(mixtures)))
    return Phases(tuple(found), STEPS)


windows = st.lists(
    st.tuples(st.integers(1, STEPS), st.integers(0, STEPS)).map(lambda w: (w[0], min(STEPS, w[0] + w[1]))), max_size=4
)


def executed(left_out: list[Window]) -> list[range]:
    """The steps of each leg of a run, in the order in which they were done."""
    firsts, lasts = [1, *(first for first, _ in left_out)], [*(last for _, last in left_out), STEPS]
    return [range(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]


def reachable(left_out: list[Window]) -> bool:
    """Whether each window ends at a step that the leg before it reaches."""
    return all(leg for leg in executed(left_out))


@given(phases=runs(), left_out=windows.filter(reachable))
def test_a_run_that_goes_back_draws_on(phases: Phases, left_out: list[Window]) -> None:
    """Every leg begins with the sample after the last that was drawn, and each step keeps its batch and its length."""
    drawn = 0
    for number, steps in enumerate(executed(left_out)):
        plan = DataPlan(MANIFEST, phases, seed=1, left_out=left_out[:number])
        for step in steps:
            interval = plan.interval(step)
            assert interval == range(drawn, drawn + phases.at(step).global_batch_size)
            assert plan.stretch(interval[0]).sequence_length == phases.at(step).sequence_length
            assert set(plan.stretch(interval[0]).streams) == set(phases.at(step).mixture or ())
            drawn = interval.stop


@given(phases=runs(), left_out=windows.filter(reachable).filter(bool))
def test_leaving_out_changes_nothing_that_was_drawn(phases: Phases, left_out: list[Window]) -> None:
    """Up to the last window's end the samples are those that were read; no source's draw comes twice."""
    before = DataPlan(MANIFEST, phases, seed=1, left_out=left_out[:-1])
    after = before.leaving_out(left_out)
    end = after.drawn.left_out[-1][1]
    assert [before.spans(index) for index in range(end)] == [after.spans(index) for index in range(end)]
    draws = set()
    for index in range(after.drawn.after(STEPS)):
        stretch = after.stretch(index)
        draws.add((stretch.draw(index), stretch.sequence_length))
    assert len(draws) == after.drawn.after(STEPS)


@given(phases=runs())
def test_where_nothing_was_left_out_samples_count_as_steps_read_them(phases: Phases) -> None:
    """The order of a run that never went back is the plan's own, and so is its hash."""
    drawn = Drawn(phases)
    assert [drawn.interval(step) for step in range(1, STEPS + 1)] == [phases.interval(s) for s in range(1, STEPS + 1)]
    plan = DataPlan(MANIFEST, phases, seed=1)
    assert plan.leaving_out([(3, 7)]).hash == plan.hash
    assert plan.leaving_out([]) is plan


def test_going_back_twice_from_one_checkpoint_leaves_out_both() -> None:
    """Batches of 4: steps 3 to 5, then 3 to 4 again; later a rollback over all of it, to step 1."""
    phases = Phases.constant(4, 8, None, STEPS)
    twice = Drawn(phases, [(3, 5), (3, 4)])
    assert twice.left_out == [(8, 20), (20, 28)]
    assert twice.interval(2) == range(4, 8)
    assert twice.interval(3) == range(28, 32)
    over = Drawn(phases, [(3, 5), (3, 4), (2, 9)])
    assert over.left_out[-1] == (4, 56)
    assert over.interval(2) == range(56, 60)
    assert over.interval(1) == range(4)
