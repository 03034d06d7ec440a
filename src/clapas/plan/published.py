"""Published runs (`slurm/published_runs.yaml`): what the planner's constants are fitted to, and how far it is off.

`python -m clapas.plan.published` fits the constants, each time leaving one source out, and prints the tables of
docs/plan.md: every row is then foretold by constants that have not seen its source.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

from pydantic import Field, PositiveFloat, PositiveInt

from clapas.plan.hardware import Device, device_named
from clapas.plan.setup import Setup
from clapas.plan.shape import Shape
from clapas.plan.speed import CONSTANTS, Constants, Style, step_time
from clapas.recipe.shipped import shipped_folder
from clapas.recipe.typed import Section, read_typed

BOUNDS = {
    "products": (0.5, 1.0),
    "attention": (0.15, 0.9),
    "traffic": (1.0, 2.0),
    "eager": (1.5, 3.0),
    "links": (0.6, 0.9),
    "overlap": (0.0, 1.0),
    "tensor": (0.6, 1.0),
}
"""Between what a constant may lie and still mean what it says."""
START = Constants(**{name: (low + high) / 2 for name, (low, high) in BOUNDS.items()})
"""Where every fit begins: it has seen no run."""
POWER = 4
"""Of errors in the fit: the worst count most."""
ROUNDS = 9


class Row(Section):
    """One run of a source; keys as the file says."""

    model: str
    sequence_length: PositiveInt
    gpus: PositiveInt
    micro_batch: PositiveInt
    accumulation: PositiveInt = 1
    zero_stage: int = 3
    tensor: PositiveInt = 1
    pipeline: PositiveInt = 1
    shard: int = 0
    recompute: float = 0.0
    reduce_precision: str | None = None
    fused: bool = False
    unfused_attention: bool = False
    tokens_per_second: PositiveFloat


class Origin(Section):
    """Who published, on what machine. watts, memory_gb_per_second: where its devices differ from the sheet's."""

    title: str
    url: str
    assumed: str
    device: str
    gpus_per_node: PositiveInt
    node_gbit_per_second: PositiveFloat
    reduce_precision: str
    watts: PositiveFloat | None = None
    memory_gb_per_second: PositiveFloat | None = None
    fault: str | None = None
    rows: list[Row]


class Sizes(Section):
    """A model of others, as `Shape` has it."""

    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    head_dim: PositiveInt
    intermediate_size: PositiveInt
    vocab_size: PositiveInt
    gated: bool = True
    tied: bool = False


class PublishedFile(Section):
    """The whole file. faulty: runs with a known fault, which nothing is fitted to."""

    models: dict[str, Sizes]
    sources: dict[str, Origin]
    faulty: dict[str, Origin] = Field(default_factory=dict)


@dataclass(frozen=True)
class PublishedRun:
    """A row with all that is needed to foretell it."""

    source: str
    origin: Origin
    row: Row
    shape: Shape

    @property
    def publisher(self) -> str:
        """Who measured: sources of one publisher are left out together."""
        return self.source.partition("-")[0]

    @cached_property
    def device(self) -> Device:
        """The sheet's device, as this source had it. A capped board multiplies as the root of its power."""
        device = device_named(self.origin.device)
        changed = {}
        if self.origin.memory_gb_per_second:
            changed["memory_gb_per_second"] = self.origin.memory_gb_per_second
        if self.origin.watts:
            changed["achievable"] = device.achievable * math.sqrt(self.origin.watts / device.watts)
        return device.model_copy(update=changed)

    @cached_property
    def setup(self) -> Setup:
        """The row as a setup."""
        row = self.row
        return Setup(
            ranks=row.gpus,
            ranks_per_node=min(row.gpus, self.origin.gpus_per_node),
            sequence_length=row.sequence_length,
            micro_batch=row.micro_batch,
            accumulation=row.accumulation,
            zero_stage=row.zero_stage,
            tensor=row.tensor,
            pipeline=row.pipeline,
            reduce_precision=row.reduce_precision or self.origin.reduce_precision,
        )

    @cached_property
    def style(self) -> Style:
        """How its code computes."""
        row = self.row
        return Style(row.fused, row.recompute, row.shard, row.unfused_attention)

    def foretold(self, constants: Constants = CONSTANTS) -> float:
        """Tokens a second of one GPU."""
        network = self.origin.node_gbit_per_second
        seconds = step_time(self.shape, self.setup, self.device, network, self.style, constants).total
        return self.setup.tokens_per_step / self.setup.ranks / seconds

    def error(self, constants: Constants = CONSTANTS) -> float:
        """Foretold over measured, less 1."""
        return self.foretold(constants) / self.row.tokens_per_second - 1


def read_published(faulty: bool = False) -> list[PublishedRun]:
    """All rows of the file; or those with a known fault."""
    file = read_typed(shipped_folder("slurm") / "published_runs.yaml", PublishedFile)
    shapes = {name: Shape(**sizes.model_dump()) for name, sizes in file.models.items()}
    origins = file.faulty if faulty else file.sources
    return [
        PublishedRun(name, origin, row, shapes[row.model]) for name, origin in origins.items() for row in origin.rows
    ]


def fit(runs: Sequence[PublishedRun]) -> Constants:
    """The constants that foretell these runs best, every source counting as much: a search along each in turn."""
    steps = {name: (high - low) / 6 for name, (low, high) in BOUNDS.items()}
    best, least = START, _misfit(runs, START)
    for _ in range(ROUNDS):
        for _ in range(3):
            for name, (low, high) in BOUNDS.items():
                for step in (steps[name], -steps[name]):
                    tried = replace(best, **{name: min(high, max(low, getattr(best, name) + step))})
                    if (misfit := _misfit(runs, tried)) < least:
                        best, least = tried, misfit
        steps = {name: step / 2 for name, step in steps.items()}
    return best


def _misfit(runs: Sequence[PublishedRun], constants: Constants) -> float:
    by_source: dict[str, list[float]] = {}
    for run in runs:
        off = abs(math.log(run.foretold(constants) / run.row.tokens_per_second))
        by_source.setdefault(run.source, []).append(min(off, 1.0) ** POWER)
    return statistics.fmean(statistics.fmean(errors) for errors in by_source.values())


def left_out(runs: Sequence[PublishedRun]) -> dict[str, Constants]:
    """Publisher -> the constants fitted to all others' runs."""
    publishers = dict.fromkeys(run.publisher for run in runs)
    return {name: fit([run for run in runs if run.publisher != name]) for name in publishers}


def tables() -> str:
    """The generated part of docs/plan.md."""
    runs = read_published()
    of_others = left_out(runs)
    errors = [abs(run.error(of_others[run.publisher])) for run in runs]
    lines = [
        f"{len(runs)} runs of {len(of_others)} publishers, each foretold by constants fitted to the other publishers' "
        f"runs: median error {statistics.median(errors):.1%}, worst {max(errors):.1%}, "
        f"{sum(error > 0.3 for error in errors)} over 30 %.",
        "",
        "| source | runs | median error | worst | mean, with its sign |",
        "|---|---|---|---|---|",
    ]
    for source in dict.fromkeys(run.source for run in runs):
        own = [run.error(of_others[run.publisher]) for run in runs if run.source == source]
        title = next(f"[{run.origin.title}]({run.origin.url})" for run in runs if run.source == source)
        median = statistics.median(abs(error) for error in own)
        worst = max(own, key=abs)
        lines.append(f"| {title} | {len(own)} | {median:.0%} | {worst:+.0%} | {statistics.fmean(own):+.0%} |")
    lines += ["", "| left out | " + " | ".join(BOUNDS) + " |", "|---|" + "---|" * len(BOUNDS)]
    for name, constants in {"nobody (shipped)": CONSTANTS, **of_others}.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in asdict(constants).values()) + " |")
    heading = "| source | model | GPUs | tensor x pipeline | sequence | micro-batch | steps made again | measured |"
    lines += ["", heading + " foretold | error |", "|---|---|---|---|---|---|---|---|---|---|"]
    for run in runs:
        constants, row = of_others[run.publisher], run.row
        lines.append(
            f"| {run.source} | {row.model} | {row.gpus} | {row.tensor} x {row.pipeline} | {row.sequence_length:,} | "
            f"{row.micro_batch} x {row.accumulation} | {row.recompute:g} | {row.tokens_per_second:,.0f} | "
            f"{run.foretold(constants):,.0f} | {run.error(constants):+.0%} |"
        )
    lines += ["", "Runs with a known fault, which nothing was fitted to:", ""]
    for run in read_published(faulty=True):
        lines.append(
            f"- {run.origin.title}: measured {run.row.tokens_per_second:,.0f} tokens/s a GPU, planned "
            f"{run.foretold():,.0f}: {run.row.tokens_per_second / run.foretold():.0%} of the plan. {run.origin.fault}. "
            f"Assumed: {run.origin.assumed}. [Source]({run.origin.url})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if "--fit" in sys.argv:
        print(fit(read_published()))
    else:
        print(tables())
