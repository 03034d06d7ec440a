"""Files that travel with Clapas: recipes, corpora, hardware. In a checkout at its root, in a wheel inside it."""

from __future__ import annotations

import difflib
from pathlib import Path

from clapas.recipe.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder(kind: str) -> Path:
    """The folder of what ships: `recipes` or `slurm`."""
    in_wheel = _PACKAGE / "shipped" / kind
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parents[1] / kind


def shipped_names(kind: str) -> list[str]:
    """The names of what ships, as a command takes them. Files that begin with `_` are parts of others."""
    folder = shipped_folder(kind)
    paths = (path for path in folder.rglob("*.yaml") if not path.name.startswith("_"))
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in paths)


def names_a_file(word: str) -> bool:
    """Whether a word of the command line is a YAML file rather than `key=value`."""
    return word.endswith((".yaml", ".yml")) and "=" not in word


def find_shipped(name_or_path: str | Path, kind: str) -> Path:
    """A path as given where it is one, else the shipped file of that name. Raises UserError where there is neither."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    folder = shipped_folder(kind)
    named = folder / path.parent / f"{path.name.removesuffix('.yaml')}.yaml"
    if not path.is_absolute() and named.is_file():
        return named
    names = [name for name in shipped_names(kind) if kind != "recipes" or not name.startswith("corpora/")]
    close = difflib.get_close_matches(path.stem, names, n=1)
    raise UserError(
        "no such file, and no shipped one of that name",
        where=str(name_or_path),
        wanted=f"a path to a .yaml file, or one of: {', '.join(names)}",
        way_out=f"did you mean {close[0]}?" if close else None,
    )
