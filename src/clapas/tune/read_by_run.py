"""Which samples of examples a run reads, each once: what is to be known of them before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from clapas.loader.packing import samples_of
from clapas.loader.plan import DataPlan, without_removed
from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span
from clapas.recipe.errors import UserError
from clapas.tune.objective import Training

Samples = list[list[Span]]


def spans_of_run(run: Training) -> Samples:
    """The samples of all of the run's steps; with `faults.spike`, which may read on elsewhere, of all its data."""
    plan, steps = run.plan, run.recipe.total_steps
    end = plan.drawn.after(steps)
    all_of_it = sum(sum(stretch.samples.values()) for stretch in plan.stretches)
    reads_all = end >= all_of_it or run.recipe.faults.spike is not None
    found = _distinct(_every(plan) if reads_all else (plan.spans(index) for index in range(end)))
    _check_lengths(run)
    return found


def spans_of_held_out(run: Training) -> Samples:
    """The samples that the run validates on."""
    manifest, recipe = run.plan.manifest, run.recipe
    split, length = recipe.evaluation.split, recipe.data.sequence_length
    if split not in manifest.splits or not manifest.tokens(split):
        return []
    examples = samples_of(manifest, "", manifest.of_split(split), run.plan.packing)
    return _distinct(_present(run.plan, examples.sample(place, length)) for place in range(examples.samples(length)))


def documents_of(pool: ShardPool, spans: Sequence[Span]) -> Iterator[int]:
    """The numbers of the documents of some examples."""
    for span in spans:
        shard, before = pool[span.shard], pool.documents_before(span.shard)
        yield from range(before + shard.document_at(span.start), before + shard.document_at(span.stop - 1) + 1)


def _every(plan: DataPlan) -> Iterator[list[Span]]:
    """All samples of the plan's streams."""
    for stretch in plan.stretches:
        for name, stream in stretch.streams.items():
            for place in range(stretch.samples[name]):
                yield _present(plan, stream.sample(place, stretch.sequence_length))


def _present(plan: DataPlan, spans: list[Span]) -> list[Span]:
    """The examples that were not removed."""
    return [span for span in spans if list(without_removed(plan.manifest, [span])) == [span]]


def _distinct(samples: Iterable[list[Span]]) -> Samples:
    return [list(spans) for spans in dict.fromkeys(map(tuple, samples)) if spans]


def _check_lengths(run: Training) -> None:
    """Raise UserError where one example is cut to several lengths: its log-probability would not be one number."""
    lengths = {phase.sequence_length for phase in run.plan.phases}
    if len(lengths) > 1 and run.recipe.data.too_long == "truncate":
        with run.ranks.said_once():
            raise UserError(
                "examples are cut to several lengths, and their reference log-probability is one number",
                where=run.recipe.place("data.too_long"),
                found=f"truncate, with sequence lengths {sorted(lengths)}",
                wanted="drop, or one sequence length in all stages",
            )
