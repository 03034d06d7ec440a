"""Which DeepSpeed is installed, if any: known without importing it, or torch."""

from __future__ import annotations

import importlib.metadata

from clapas.recipe.errors import ClapasError, UserError

TESTED_DEEPSPEED = ("0.19.8",)
"""The releases whose private attributes `slots` and `state` were proven against."""


def check_deepspeed() -> None:
    """Raise UserError where DeepSpeed is missing (it comes with the extra `train` alone), ClapasError where another
    release is installed than those that the checkpoint adapter was proven against."""
    try:
        found = importlib.metadata.version("deepspeed")
    except importlib.metadata.PackageNotFoundError:
        way_out = "pip install 'clapas[train]'"
        raise UserError("training needs `deepspeed`, which is not installed", way_out=way_out) from None
    if found not in TESTED_DEEPSPEED:
        way_out = f"pip install deepspeed=={TESTED_DEEPSPEED[-1]}"
        raise ClapasError("untested DeepSpeed", found=found, wanted=", ".join(TESTED_DEEPSPEED), way_out=way_out)
