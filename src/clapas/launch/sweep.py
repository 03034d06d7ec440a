"""A sweep: one run for each value of a key, as one job array."""

from __future__ import annotations

from dataclasses import dataclass

from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe, read_recipe


@dataclass(frozen=True, slots=True)
class Sweep:
    """A recipe's key and the values to try."""

    key: str
    values: tuple[str, ...]


def parse_sweep(text: str) -> Sweep:
    """`optimizer.lr=1e-3,3e-3`. Raises UserError."""
    key, _, rest = text.partition("=")
    values = tuple(value.strip() for value in rest.split(",") if value.strip())
    if not key or len(values) < 2 or len(set(values)) < len(values):
        raise UserError(
            "not a sweep", where="--sweep", found=text, wanted="key=a,b,… with at least two values, all different"
        )
    return Sweep(key.strip(), values)


def sweep_recipes(name: str, overrides: list[str], sweep: Sweep) -> list[Recipe]:
    """A recipe for each value, in `RUN/KEY=VALUE`, where RUN is the folder of the recipe without it."""
    base = read_recipe(name, overrides)
    if sweep.key in ("run_dir", "name"):
        raise UserError("a sweep gives each run its own folder itself", where="--sweep", found=sweep.key)
    recipes = []
    for value in sweep.values:
        folder = base.folder / f"{sweep.key}={value}".replace("/", "_")
        recipes.append(read_recipe(name, [*overrides, f"{sweep.key}={value}", f"run_dir={folder}"]))
    return recipes
