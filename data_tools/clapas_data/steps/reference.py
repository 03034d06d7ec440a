"""docs/data-steps.md: every step of the pipeline with its options, generated from the step classes.

python -m clapas_data.steps.reference > docs/data-steps.md
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from clapas_data.steps import AnyStep
from clapas_data.steps.step import Across, Step

HEAD = """# The steps of a corpus, option by option

Generated from the code by `make reference`. A corpus file lists its steps in the order in which they run; a source
changes their options, or leaves a step out:

```yaml
steps: [repair, language: {threshold: 0.65}, gopher.quality]
sources:
  legi:
    steps: {gopher.quality: {min_words: 5}, language: false}
```

A step that *edits* changes texts; the others drop documents or score them. An option of `null` switches its rule off.
What a step dropped can be looked at: `clapas data inspect DIR --rejected gopher.repetition`.
"""
EDITS, LOOKS, ACROSS = "edits", "looks", "compares documents, after all others"


def reference() -> str:
    """The page."""
    steps = sorted(get_args(get_args(AnyStep)[0]), key=_name)
    rows = [f"| [`{_name(step)}`](#{_anchor(_name(step))}) | {_kind(step)} | {_first_line(step)} |\n" for step in steps]
    table = "\n| step | | what it does |\n|---|---|---|\n" + "".join(rows)
    return HEAD + table + "".join(map(_section, steps))


def _name(step: type[BaseModel]) -> str:
    return str(step.model_fields["step"].default)


def _anchor(name: str) -> str:
    """As GitHub makes it of a title."""
    return name.replace(".", "")


def _kind(step: type[BaseModel]) -> str:
    if issubclass(step, Across):
        return ACROSS
    return EDITS if issubclass(step, Step) and step.edits else LOOKS


def _first_line(step: type[BaseModel]) -> str:
    return (inspect.getdoc(step) or "").partition("\n\n")[0].replace("\n", " ")


def _section(step: type[BaseModel]) -> str:
    """A step: its text, its module's text, which says where its rules come from, its options."""
    module = inspect.getdoc(sys.modules[step.__module__]) or ""
    quoted = "\n".join(f"> {line}".rstrip() for line in module.splitlines())
    parts = [f"\n## `{_name(step)}`\n\n{_text(step)}\n\n{quoted}\n"]
    if options := {name: info for name, info in step.model_fields.items() if name != "step"}:
        parts.append("\n| option | default | elsewhere called |\n|---|---|---|\n")
        for name, info in options.items():
            others = [f"`{other}`" for other, own in getattr(step, "also_called", {}).items() if own == name]
            parts.append(f"| `{name}` | {_default(info)} | {', '.join(others)} |\n")
    return "".join(parts)


def _text(step: type[BaseModel]) -> str:
    """A step's docstring, its options as a list."""
    lines: list[str] = []
    in_list = False
    for line in (inspect.getdoc(step) or "").splitlines():
        names, sign, _ = line.partition(":")
        if sign and all(name.strip() in step.model_fields for name in names.split(",")):
            listed = ", ".join(f"`{name.strip()}`" for name in names.split(","))
            lines += [""] if lines[-1] and not in_list else []
            lines.append(f"- {listed}{line[len(names) :]}")
            in_list = True
        else:
            in_list = in_list and bool(line)
            lines.append(f"  {line}" if in_list else line)
    return "\n".join(lines)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "*required*"
    return f"`{_written(info.get_default(call_default_factory=True))}`"


def _written(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_written, value)) + "]"
    return str(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
