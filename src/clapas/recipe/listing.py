"""What ships: the recipes and corpora that a command takes by name."""

from __future__ import annotations

from clapas.recipe.shipped import shipped_folder, shipped_names
from clapas.recipe.yaml_lines import read_document


def list_recipes() -> list[dict[str, str]]:
    """Each shipped recipe and corpus: {"name", "kind" (recipe or corpus), "about": its file's first comment line}."""
    rows = []
    for name in shipped_names("recipes"):
        path = shipped_folder("recipes") / f"{name}.yaml"
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        kind = "corpus" if "sources" in read_document(path).values else "recipe"
        rows.append({"name": name.removeprefix("corpora/"), "kind": kind, "about": first.lstrip("# ")})
    return sorted(rows, key=lambda row: (row["kind"] != "recipe", row["name"]))


def recipe_table(rows: list[dict[str, str]]) -> str:
    """The list as text."""
    width = max((len(row["name"]) for row in rows), default=0)
    return "\n".join(f"{row['kind']:8}{row['name']:{width + 2}}{row['about']}" for row in rows)
