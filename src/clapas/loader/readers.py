"""Which steps of which runs read a document: the question of `audit`, the other way round.

The order is a function that can be inverted, so nothing is searched: each epoch of a document costs one permutation.
A run is known by its identity, which only the data that it read give: it is looked for among all revisions of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from clapas.ledger.ledger import read_json_lines, read_ledger
from clapas.loader.drawn import Window
from clapas.loader.plan import DataPlan
from clapas.loader.stream import Span
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe, read_recipe
from clapas_data.manifest import Manifest, read_revisions

HASH_COMMENT = "# identity: "
"""How a run's recipe.yaml says which run it is."""
TRAIN = "train"


def find_runs(folders: Iterable[Path] | None) -> list[Path]:
    """The runs that these folders are or hold, those of sweeps too; without any, those in `runs`. Raises UserError for
    one without a run."""
    found: list[Path] = []
    for folder in [Path("runs")] if folders is None else folders:
        own = _runs_in(folder)
        if not own and folders is not None:
            raise UserError("no run here", where=folder, wanted="a folder that `clapas train` wrote, or one of such")
        found += own
    return list(dict.fromkeys(found))


def _runs_in(folder: Path, levels: int = 2) -> list[Path]:
    """A run, or the runs in a folder; those of a sweep lie one level deeper."""
    if (folder / "recipe.yaml").is_file():
        return [folder]
    inner = sorted(path for path in folder.glob("*") if path.is_dir()) if levels else []
    return [run for path in inner for run in _runs_in(path, levels - 1)]


def recorded_identity(recipe: Path) -> str | None:
    """The identity hash in the header of a run's recipe, or None where it has none."""
    for line in recipe.read_text(encoding="utf-8").splitlines():
        if line.startswith(HASH_COMMENT):
            return line.removeprefix(HASH_COMMENT).strip()
    return None


def plan_that_ran(recipe: Recipe, identity: str | None, manifest: Manifest) -> DataPlan | None:
    """The plan, on the revision of the data that gives the run's identity; None where none does."""
    for revision in read_revisions(manifest):
        try:
            plan = DataPlan.of_recipe(recipe, revision)
        except UserError:  # it does not even have what the recipe reads
            continue
        if identity in (None, recipe.identity_hash(plan.hash)):
            return plan
    return None


def data_that_ran(run: Path, recipe: Recipe, manifest: Manifest) -> Manifest:
    """The revision of the data that a run read; the newest where none of them gives its identity."""
    if manifest.removed is None:
        return manifest
    plan = plan_that_ran(recipe, recorded_identity(run / "recipe.yaml"), manifest)
    return manifest if plan is None else plan.manifest


def left_out(run: Path) -> list[Window]:
    """What a run has left out, as its last segment began."""
    events = read_ledger(run) if (run / "ledger.jsonl").is_file() else []
    starts = [event for event in events if event["event"] == "segment_start"]
    return [(first, last) for first, last in starts[-1].get("left_out", [])] if starts else []


def readings(run: Path, manifest: Manifest, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What a run read of documents: rows of documents.parquet. None where it read other data.

    run, name, identity; revision, manifest: of the data that it read; steps: those done, `[first, last]` (a branch
    begins late: what came before is in `branch`, the run that it left); stages: each with the `steps` that read any of
    the documents; rolled_back: steps that read one, but whose work was thrown away; documents: each with its steps.
    """
    path = run / "recipe.yaml"
    recipe = read_recipe(path)
    identity = recorded_identity(path)
    if identity is None and not _same_folder(recipe.data.path, manifest.folder):
        return None
    plan = plan_that_ran(recipe, identity, manifest)
    if plan is None:
        return None
    plan = plan.leaving_out(left_out(run))
    first, last, branch = _done(run)
    told: list[dict[str, Any]] = []
    kept: set[int] = set()
    vain: set[int] = set()
    places = {shard.path: place for place, shard in enumerate(plan.manifest.shards)}
    for row in rows:
        own = _steps(plan, places[row["shard"]], row, first, last)
        told.append({**{key: row[key] for key in ("source", "id", "shard", "document")}, "steps": sorted(own[0])})
        kept |= own[0]
        vain |= own[1]
    return {
        "run": str(run),
        "name": recipe.name,
        "identity": identity,
        "revision": plan.manifest.revision,
        "manifest": plan.manifest.hash,
        "steps": [first, last],
        "branch": branch,
        "stages": _by_stage(recipe, kept),
        "rolled_back": sorted(vain),
        "documents": [row for row in told if row["steps"]],
    }


def _same_folder(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def _done(run: Path) -> tuple[int, int, dict[str, Any] | None]:
    """The first and the last step that a run did, and where it branched off, if it is a branch."""
    events = read_ledger(run) if (run / "ledger.jsonl").is_file() else []
    steps = [event["totals"]["step"] for event in events if "totals" in event]
    steps += [event["step"] for event in events if event["event"] == "checkpoint"]
    metrics = run / "metrics.jsonl"
    steps += [row["step"] for row in read_json_lines(metrics)] if metrics.is_file() else []
    branch = next((event for event in events if event["event"] == "branch"), None)
    begun = 0 if branch is None else branch["step"]
    told = None if branch is None else {key: branch[key] for key in ("run", "step", "checkpoint")}
    return begun + 1, max(steps, default=begun), told


def _steps(plan: DataPlan, shard: int, row: dict[str, Any], first: int, last: int) -> tuple[set[int], set[int]]:
    """(steps, steps whose work was thrown away) that read a document. shard: its place in the manifest."""
    span = Span(shard, row["offset"], row["offset"] + row["tokens"])
    holes = plan.manifest.holes.get(row["shard"])
    if row["split"] != TRAIN or (holes is not None and not any(holes.rest(span.start, span.stop))):
        return set(), set()
    windows = plan.drawn.left_out
    end = max([plan.drawn.after(last), *(stop for _, stop in windows)])
    kept: set[int] = set()
    vain: set[int] = set()
    for sample in plan.samples_with(span, end):
        in_vain = any(start <= sample < stop for start, stop in windows)
        step = plan.drawn.step_of(sample)
        if step >= first:
            (vain if in_vain else kept).add(step)
    return kept, vain


def _by_stage(recipe: Recipe, steps: set[int]) -> list[dict[str, Any]]:
    """The stages that any of the steps are of, with these."""
    found: dict[int, list[int]] = {}
    for step in sorted(steps):
        found.setdefault(recipe.phases.at(step).stage, []).append(step)
    names = [stage.name or str(number) for number, stage in enumerate(recipe.all_stages, start=1)]
    return [{"stage": names[stage], "steps": own} for stage, own in found.items()]
