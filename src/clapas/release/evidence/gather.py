"""From a run's folder to its evidence: recipe, ledger, metrics, data, lineage and measurements, read once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from clapas import __version__
from clapas.checkpoint.reader import CheckpointReader
from clapas.evaluate.load import model_config_of
from clapas.evaluate.record import EVENT
from clapas.evaluate.seal import model_seal
from clapas.ledger.ledger import Totals, read_json_lines, read_ledger, sum_ledger
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash
from clapas.recipe.recipe import Recipe
from clapas.release.evidence.data import Relation, data_facts
from clapas.release.evidence.evidence import BaseFacts, Compute, DataFacts, Evidence, HeldOut, Loss, Measured, RunFacts
from clapas.release.evidence.lineage import Ancestor, Begun, begun_with, branches
from clapas.release.evidence.public import public
from clapas.train.run_folder import read_run_recipe

LOSSES = 400
"""Most rows of the training loss that are kept: a plot shows no more."""


def gather(
    run: Path, reader: CheckpointReader, now: datetime | None = None, *, crawled: Collection[str] = ()
) -> Evidence:
    """The evidence of a run as it stands at a checkpoint of its own. now: its time, by default this moment.

    crawled: the sources, as people answered, whose internet domains are counted.
    Raises UserError where the run's data are not those that it read, or a recorded measurement was altered.
    """
    recipe, events = read_run_recipe(run), read_ledger(run)
    totals, config = sum_ledger(events), model_config_of(reader)
    lineage = _Lineage(crawled)
    lineage.follow(run, recipe, reader.step, "this")
    return Evidence(
        clapas=__version__,
        time=_iso((now or datetime.now(UTC)).timestamp()),
        run=recipe.name,
        identity=reader.manifest.identity,
        execution=reader.manifest.execution,
        checkpoint=reader.folder.name,
        checkpoint_seal=model_seal(reader.folder),
        step=reader.step,
        steps=recipe.total_steps,
        tokens=_tokens(run, recipe, reader.step),
        tokens_computed=totals.tokens_computed,
        objective=recipe.objective.name,
        adapters=None if recipe.lora is None else recipe.lora.identity(),
        recipe=public(recipe.model_dump(mode="python")),
        model=public(config.facts()),
        parameters=config.parameters(),
        active_parameters=config.active_parameters(),
        sequence_lengths=tuple(sorted({phase.sequence_length for phase in recipe.phases})),
        compute=_compute(run, recipe, events, totals),
        losses=tuple(_losses(run, reader.step)),
        held_out=tuple(_held_out(events, reader.step)),
        data=tuple(lineage.data),
        bases=tuple(lineage.bases),
        stems=tuple(lineage.stems),
        missing_stems=tuple(lineage.missing),
        measured=tuple(_measured(run, events, model_seal(reader.folder))),
        branch=public(totals.branch),
    )


class _Lineage:
    """The runs and models behind a run, each followed to its beginning, none twice."""

    def __init__(self, crawled: Collection[str]) -> None:
        self._crawled = crawled
        self.data: list[DataFacts] = []
        self.bases: list[BaseFacts] = []
        self.stems: list[RunFacts] = []
        self.missing: list[str] = []
        self._followed: set[Path] = set()

    def follow(self, run: Path, recipe: Recipe, step: int, relation: Relation) -> None:
        """Take in what a run has read up to a step, and all that it stands on."""
        self._followed.add(run.resolve())
        own: Relation = relation
        for ancestor in branches(run, recipe, step):
            if isinstance(ancestor, str):
                self.missing.append(ancestor)
                continue
            self._read(ancestor, own)
            if ancestor.run != run:
                self.stems.append(_run_facts(ancestor.run, ancestor.recipe, ancestor.step))
            self._models(ancestor.recipe)
            own = "base" if relation == "base" else "branch"

    def _read(self, ancestor: Ancestor, relation: Relation) -> None:
        steps = (ancestor.after, ancestor.step)
        try:
            facts = data_facts(ancestor.run, ancestor.recipe, relation, steps, self._crawled)
        except UserError:
            if relation == "this":
                raise
            self.missing.append(ancestor.recipe.name)
        else:
            self.data.append(facts)

    def _models(self, recipe: Recipe) -> None:
        for begun in begun_with(recipe):
            run = begun.run
            self.bases.append(_base_facts(begun, recipe.name))
            if run is not None and begun.role != "teacher" and run.resolve() not in self._followed:
                self.follow(run, read_run_recipe(run), begun.step, "base")


def _run_facts(run: Path, recipe: Recipe, step: int) -> RunFacts:
    events = _until(read_ledger(run), step)
    totals = sum_ledger(events)
    starts = [event for event in events if event["event"] == "segment_start"]
    return RunFacts(
        name=recipe.name,
        identity=starts[-1]["identity"] if starts else "",
        step=step,
        objective=public(recipe.objective.model_dump(mode="python")),
        has_adapters=recipe.lora is not None,
        tokens=_tokens(run, recipe, step),
        tokens_computed=totals.tokens_computed,
        flops=totals.flops,
        seconds=totals.seconds,
        accelerator_seconds=totals.accelerator_seconds,
        energy_joules=_number(totals.energy_joules),
        energy_boundary=totals.energy_boundary,
    )


def _tokens(run: Path, recipe: Recipe, step: int) -> int:
    """What a run and those that it branched from have read, each as its own recipe says; of one that is gone, what the
    branch's recipe says of its steps."""
    tokens, phases, after = 0, recipe.phases, 0
    for ancestor in branches(run, recipe, step):
        if isinstance(ancestor, str):
            return tokens + phases.tokens_after(after)
        phases, after = ancestor.recipe.phases, ancestor.after
        tokens += phases.tokens_after(ancestor.step) - phases.tokens_after(after)
    return tokens


def _until(events: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """A ledger's events until the checkpoint of a step was written the last time; all where none says so."""
    written = [i for i, event in enumerate(events) if event["event"] == "checkpoint" and event["step"] == step]
    return events[: written[-1] + 1] if written else events


def _base_facts(begun: Begun, of: str) -> BaseFacts:
    return BaseFacts(
        folder=begun.name,
        of=of,
        role=begun.role,
        kind=begun.source.kind if begun.source else None,
        seal=begun.seal,
        declared_licence=begun.declared_licence(),
        run=None if begun.run is None else _run_facts(begun.run, read_run_recipe(begun.run), begun.step),
    )


def _compute(run: Path, recipe: Recipe, events: list[dict[str, Any]], totals: Totals) -> Compute:
    starts = [event for event in events if event["event"] == "segment_start"]
    environments = [orjson.loads(path.read_bytes()) for path in sorted((run / "segments").glob("*/environment.json"))]
    return Compute(
        flops=totals.flops,
        flops_by_parameters=6.0 * recipe.model.active_parameters() * totals.tokens_computed,
        seconds=totals.seconds,
        accelerator_seconds=totals.accelerator_seconds,
        segments=totals.segments,
        restarts=totals.restarts,
        rollbacks=totals.rollbacks,
        skipped_updates=totals.skipped_updates,
        checkpoints=totals.checkpoints,
        hosts=len({environment["host"] for environment in environments}),
        ranks=tuple(dict.fromkeys(event["ranks"] for event in starts)),
        devices=tuple(dict.fromkeys(event["device"] for event in starts)),
        began=_iso(min(event["time"] for event in events)),
        ended=_iso(max(event["time"] for event in events if event["event"] != EVENT)),
        energy_joules=_number(totals.energy_joules),
        energy_boundary=totals.energy_boundary,
        versions=environments[-1]["versions"] if environments else {},
    )


def _losses(run: Path, step: int) -> Iterator[Loss]:
    """Rows of the training loss, evenly over the run, the first and the last among them."""
    rows = [row for row in read_json_lines(run / "metrics.jsonl") if "split" not in row and row["step"] <= step]
    rows = [row for row in rows if row.get("loss") is not None]
    stride = max(1, -(-len(rows) // LOSSES))
    kept = rows[::stride] + rows[-1:] * ((len(rows) - 1) % stride != 0)
    yield from (Loss(step=row["step"], loss=row["loss"]) for row in kept)


def _held_out(events: Iterable[dict[str, Any]], step: int) -> Iterator[HeldOut]:
    """Validations in the order of their steps; of a step that came again, the last."""
    rows = {(e["step"], e["split"]): e for e in events if e["event"] == "evaluation" and e["step"] <= step}
    for (at, split), event in sorted(rows.items()):
        yield HeldOut(
            step=at,
            split=split,
            loss=event["loss"],
            tokens=event.get("tokens_scored"),
            bits_per_byte=event.get("bits_per_byte"),
            text_bytes=event.get("text_bytes"),
        )


def _measured(run: Path, events: Iterable[dict[str, Any]], seal: str) -> Iterator[Measured]:
    """What was recorded of this checkpoint. Raises UserError where a file is not the one that the ledger names."""
    for event in events:
        if event["event"] != EVENT or event["seal"] != seal:
            continue
        path = run / event["file"]
        if not path.is_file() or file_hash(path) != event["sha256"]:
            raise UserError(
                "a recorded measurement is missing or was altered",
                where=path,
                wanted=f"SHA-256 {event['sha256']}, as the ledger says",
                way_out="bring it back, or measure again: `clapas eval RUN --record`",
            )
        content = public(orjson.loads(path.read_bytes()))
        yield Measured(
            kind=event["kind"],
            file=path.name,
            sha256=event["sha256"],
            items=path.with_suffix(".items.jsonl").name,
            items_sha256=event["items_sha256"],
            figures=public(event["figures"]),
            content=content,
        )


def _number(value: float | str) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _iso(seconds: float) -> str:
    """UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
