"""The facts of all that a model stands on: what its runs have read, and the models that they began with."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from clapas.ledger.ledger import read_ledger, sum_ledger
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.release.evidence.data import Relation, data_facts
from clapas.release.evidence.evidence import BaseFacts, DataFacts, RunFacts
from clapas.release.evidence.lineage import Ancestor, Begun, begun_with, branches
from clapas.release.evidence.public import public
from clapas.train.run_folder import read_run_recipe


class Lineage:
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
        tokens=tokens_until(run, recipe, step),
        tokens_computed=totals.tokens_computed,
        flops=totals.flops,
        seconds=totals.seconds,
        accelerator_seconds=totals.accelerator_seconds,
        energy_joules=totals.measured_joules,
        energy_boundary=totals.energy_boundary,
    )


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


def tokens_until(run: Path, recipe: Recipe, step: int) -> int:
    """What a run and those that it branched from have read, each as its own recipe says; of one that is gone, what the
    branch's recipe says of its steps."""
    tokens, phases, after = 0, recipe.phases, 0
    for ancestor in branches(run, recipe, step):
        if isinstance(ancestor, str):
            return tokens + phases.tokens_after(after)
        phases, after = ancestor.recipe.phases, ancestor.after
        tokens += phases.tokens_after(ancestor.step) - phases.tokens_after(after)
    return tokens
