"""docs/recipe.md: every key of a recipe, generated from the typed sections and their docstrings.

python -m clapas.recipe.reference > docs/recipe.md
"""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel

from clapas.recipe.recipe import Recipe
from clapas.recipe.typed import models_in

HEAD = """# A recipe, key by key

Generated from the code by `make reference`. A recipe is one YAML file; `extends: NAME` begins with another's values,
`clapas train RECIPE key.sub=value` overrides any key. What is not given has the default shown; *required* has none.
"""
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def reference() -> str:
    """The page."""
    return HEAD + "".join(_sections(Recipe, "", {}))


def _sections(model: type[BaseModel], key: str, seen: dict[type[BaseModel], str], kind: str = "") -> list[str]:
    """A section's text and table, then those of the sections in it. kind: which of several a section is."""
    seen[model] = key
    schema = model.model_json_schema()
    title = f"## `{key}`{kind}" if key else "## The recipe itself"
    parts = [f"\n{title}\n\n{_text(model)}\n\n| key | value | default |\n|---|---|---|\n"]
    nested: list[tuple[type[BaseModel], str, str]] = []
    required = set(schema.get("required", ()))
    for field, info in model.model_fields.items():
        name = info.alias or field
        inner = list(models_in(info.annotation))
        new = [part for part in inner if part not in seen]
        path = f"{key}.{name}" if key else name
        nested += [(part, path, f", {_kind(part)}" if len(inner) > 1 else "") for part in new]
        if new:
            continue
        value = schema["properties"][name]
        default = "*required*" if name in required else _default(info.default, value)
        words = f"as `{seen[inner[0]]}`" if inner else _type(value, schema.get("$defs", {}))
        parts.append(f"| `{name}` | {words} | {default} |\n")
    for part, path, kind in nested:
        parts += _sections(part, path, seen, kind)
    return parts


def _kind(model: type[BaseModel]) -> str:
    """What tells a section from the others that may stand in its place: the one value of its first key."""
    name, schema = next(iter(model.model_json_schema()["properties"].items()))
    return f"`{name}: {schema['const']}`"


def _text(model: type[BaseModel]) -> str:
    """A section's docstring; its `key: meaning` paragraphs as a list."""
    known = {info.alias or name for name, info in model.model_fields.items()}
    lines: list[str] = []
    in_list = False
    for line in (inspect.getdoc(model) or "").splitlines():
        name, sign, _ = line.partition(":")
        keys = [part.strip() for part in name.replace(" or ", ",").split(",")]
        if sign and all(part in known for part in keys):
            if lines and lines[-1] and not in_list:
                lines.append("")
            in_list = True
            lines.append(f"- `{name}`{line[len(name) :]}")
        else:
            in_list = in_list and bool(line)
            lines.append(f"  {line.strip()}" if in_list else line)
    return "\n".join(lines)


def _default(value: Any, schema: dict[str, Any]) -> str:
    if value is None:
        return "none"
    if value == schema.get("exclusiveMinimum"):  # a place holder outside the key's own bounds
        return "derived"
    if isinstance(value, BaseModel):
        return "see below"
    return f"`{list(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else value}`"


def _type(value: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema's type in words."""
    if "$ref" in value:
        value = definitions[value["$ref"].rpartition("/")[2]]
    if "anyOf" in value:
        kinds = [_type(part, definitions) for part in value["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in value:
        return ", ".join(f"`{item}`" for item in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    kind = {"integer": "integer", "number": "number", "boolean": "`true`, `false`", "array": "list"}.get(
        value.get("type", ""), "text" if value.get("type") == "string" else "mapping"
    )
    if kind == "mapping" and "additionalProperties" in value and isinstance(value["additionalProperties"], dict):
        kind = f"mapping to {_type(value['additionalProperties'], definitions)}"
    if value.get("format") == "path":
        kind = "path"
    bounds = [f"{sign} {value[name]:g}" for name, sign in BOUNDS.items() if name in value]
    return f"{kind} {', '.join(bounds)}".strip()


if __name__ == "__main__":
    print(reference(), end="")
