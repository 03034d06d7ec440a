"""Intermediate checkpoints beside a release: each a whole Hugging Face folder, which a hub shows as a branch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from clapas.checkpoint.committed import committed_checkpoints, step_of
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.release.documents.hub_names import hub_licence
from clapas.release.documents.markdown import front_matter
from clapas.release.documents.words import number
from clapas.release.evidence.ancestry import tokens_until
from clapas.release.evidence.evidence import Evidence
from clapas.release.export import Precision, export
from clapas.release.layout import CARD, LICENCE, NOTICE, REVISIONS

FROM_RELEASE = (LICENCE, NOTICE)
"""What a revision has word for word as the release beside it has it."""
UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def revision_name(run: Path, recipe: Recipe, step: int) -> str:
    """`stage1-step5000-tokens10B`: the stage that the step belongs to, from 1; tokens that the run, and those that it
    branched from, had read by then."""
    stage = recipe.phases.at(max(1, step)).stage + 1
    return f"stage{stage}-step{step}-tokens{short(tokens_until(run, recipe, step))}"


def short(count: int) -> str:
    """A count in at most three digits and a unit: 10B, 2M, 983k."""
    for size, unit in UNITS:
        if count >= size:
            rounded = float(f"{count / size:.3g}")
            if rounded == 1000 and (larger := next((name for above, name in UNITS if above == 1000 * size), None)):
                return f"1{larger}"
            return f"{rounded:.3g}{unit}" if rounded < 1000 else f"{count / size:.0f}{unit}"
    return str(count)


def find_revisions(run: Path, steps: Sequence[int]) -> dict[int, Path]:
    """Step -> checkpoint of each. Raises UserError that names those which the run has not kept."""
    there = {step_of(path): path for path in committed_checkpoints(run / "checkpoints")}
    if missing := [step for step in steps if step not in there]:
        raise UserError(
            "the run has no checkpoint of these steps",
            where="--revisions",
            found=", ".join(map(str, missing)),
            wanted=f"of {', '.join(map(str, sorted(there))) or 'none'}",
            way_out="checkpoint.keep_every keeps some for good while a run goes on",
        )
    return {step: there[step] for step in sorted(set(steps))}


def export_revisions(
    folder: Path, run: Path, recipe: Recipe, checkpoints: Mapping[int, Path], dtype: Precision, shard_bytes: int
) -> dict[str, int]:
    """Write each checkpoint as FOLDER/revisions/NAME. checkpoints: by step. Returns name -> step."""
    names = {revision_name(run, recipe, step): step for step in checkpoints}
    for name, step in names.items():
        path = folder / REVISIONS / name
        path.parent.mkdir(exist_ok=True)
        export(checkpoints[step], path, dtype=dtype, shard_bytes=shard_bytes)
    return names


def dress_revisions(folder: Path, names: Mapping[str, int], evidence: Evidence, model: str, licence: str) -> None:
    """A card, the licence and the notice of each. model, licence: the release's, as answered."""
    for name, step in names.items():
        path = folder / REVISIONS / name
        for file in FROM_RELEASE:
            shutil.copyfile(folder / file, path / file)
        (path / CARD).write_text(revision_card(name, step, evidence, model, licence), encoding="utf-8")


def revision_card(name: str, step: int, evidence: Evidence, model: str, licence: str) -> str:
    """The card of a revision, which sends its reader to that of the release. Otherwise as `dress_revisions`."""
    metadata = {**hub_licence(licence), "library_name": "transformers", "tags": ["clapas"]}
    body = (
        f"# {model}, {name}\n\n"
        f"Point de reprise intermédiaire de l'entraînement, au pas {number(step, 'fr')} sur "
        f"{number(evidence.steps, 'fr')}. Pour l'étude seulement : le modèle, sa fiche, ses données et ses évaluations "
        "sont sur la branche `main`.\n\n"
        f"Intermediate checkpoint of the training, at step {number(step, 'en')} of {number(evidence.steps, 'en')}. For "
        "study only: the model, its card, its data and its evaluations are on the branch `main`.\n"
    )
    return front_matter(metadata, body)
