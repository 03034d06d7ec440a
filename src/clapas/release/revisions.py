"""Intermediate checkpoints beside a release: each a whole Hugging Face folder, which a hub shows as a branch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clapas.checkpoint.committed import committed_checkpoints, step_of
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe

FOLDER = "revisions"
UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def revision_name(recipe: Recipe, step: int) -> str:
    """`stage1-step5000-tokens10B`: the stage that the step belongs to, from 1; tokens of the run until then."""
    stage = recipe.phases.at(max(1, step)).stage + 1
    return f"stage{stage}-step{step}-tokens{short(recipe.phases.tokens_after(step))}"


def short(count: int) -> str:
    """A count in at most three digits and a unit: 10B, 2M, 983k."""
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.3g}{unit}" if count < 1000 * size else f"{count / size:.0f}{unit}"
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
