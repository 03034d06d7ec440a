"""Where a run's weights come from: the runs that it branched from, the models that it began with, and their data.

A model may stand on others, and these on others again: each run of ours at hand is followed to its own beginning. One
that is gone is named, and what it read is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from clapas.checkpoint.committed import step_of
from clapas.checkpoint.reader import CheckpointReader
from clapas.ledger.ledger import read_ledger, sum_ledger
from clapas.model.source_config import Source, find_source
from clapas.recipe.recipe import Recipe
from clapas.release.layout import CARD
from clapas.train.run_folder import read_run_recipe
from clapas.tune.config import Distillation

Role = Literal["weights", "adapter", "teacher"]


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A run of ours that another continues. after, step: the steps of it that count."""

    run: Path
    recipe: Recipe
    after: int
    step: int


def branches(run: Path, recipe: Recipe, step: int) -> Iterator[Ancestor | str]:
    """A run and, before it, those that it branched from, newest first; of one that is gone, only its name."""
    while True:
        branch = sum_ledger(read_ledger(run)).branch
        yield Ancestor(run, recipe, branch["step"] if branch else 0, step)
        if branch is None:
            return
        run, step = Path(branch["checkpoint"]).parent.parent, branch["step"]
        if not is_run(run):
            yield branch["run"]
            return
        recipe = read_run_recipe(run)


def is_run(folder: Path) -> bool:
    """Whether a folder has a run's recipe and its ledger."""
    return (folder / "recipe.yaml").is_file() and (folder / "ledger.jsonl").is_file()


@dataclass(frozen=True, slots=True)
class Begun:
    """A model that a run used. path: as its recipe names it. seal: of its weights.

    source: where it still is. run: the run of ours that made it, where that is at hand.
    """

    role: Role
    path: Path
    seal: str | None
    source: Source | None

    @property
    def name(self) -> str:
        """The name of its folder; of a checkpoint, that of its run's."""
        of_run = self.path.parent.name == "checkpoints"
        return (self.path.parent.parent if of_run else self.path).resolve().name

    @property
    def run(self) -> Path | None:
        """The run of ours that made it, where it is at hand."""
        if self.source is None or self.source.kind != "checkpoint":
            return None
        folder = self.source.folder.parent.parent
        return folder if is_run(folder) else None

    @property
    def step(self) -> int:
        """The step of its checkpoint."""
        assert self.source is not None
        return step_of(self.source.folder)

    def declared_licence(self) -> str | None:
        """What the model's own card says of its licence; of an imported one, the card beside what was imported."""
        folder = self.source.folder if self.source else self.path
        if self.source is not None and self.source.kind == "checkpoint":
            imported = CheckpointReader(folder, verify=False).manifest.training.get("import")
            if imported is None:
                return None
            folder = Path(imported["path"])
        card = folder / CARD
        if not card.is_file():
            return None
        parts = card.read_text(encoding="utf-8", errors="replace").split("---\n")
        try:
            metadata = yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0].strip() else None
        except yaml.YAMLError:
            return None
        licence = metadata.get("license") if isinstance(metadata, dict) else None
        return licence if isinstance(licence, str) else None


def begun_with(recipe: Recipe) -> Iterator[Begun]:
    """The models that a run began with or learned from: its base, an adapter that it went on with, a teacher."""
    if recipe.branch is None and recipe.model.from_ is not None:
        yield _begun("weights", recipe.model.from_, recipe.model.from_seal)
    if recipe.lora is not None and recipe.lora.from_ is not None:
        yield _begun("adapter", recipe.lora.from_, recipe.lora.seal)
    if isinstance(recipe.objective, Distillation):
        yield _begun("teacher", recipe.objective.teacher, recipe.objective.seal)


def _begun(role: Role, path: Path, seal: str | None) -> Begun:
    return Begun(role, path, seal, find_source(path))
