"""Typed files: a YAML file, its parents (`extends:`) and dotted overrides, checked into a pydantic model.

Every mistake is told with its file and line, the key, the value found, what is allowed and the nearest known key, all
in one message. Recipes, corpus files and sites are read by this one module.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

import pydantic
from pydantic import BaseModel, ConfigDict, PrivateAttr

from clapas.recipe.errors import UserError
from clapas.recipe.shipped import find_shipped, names_a_file
from clapas.recipe.yaml_lines import Document, KeyPath, dotted, key_path, parse_scalar, read_document


class Section(BaseModel):
    """A part of a typed file: unknown keys are refused, values never change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True)

    also_called: ClassVar[dict[str, str]] = {}
    """Other names that people use for a key of this section, so that a message can point from one to the other."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a typed file's values were read: for messages only, so any two are equal."""

    document: Document = field(default_factory=lambda: Document({}), compare=False)
    where: str = field(default="", compare=False)


class TypedFile(Section):
    """A whole typed file, which remembers the line of each of its keys. Two with the same values are equal."""

    _source: Source = PrivateAttr(default_factory=Source)

    def place(self, key: str) -> str:
        """`file:line` of a dotted key, or of its nearest parent where it was left out; "command line" for an override.

        Empty where the values were not read from a file.
        """
        return self._source.document.place(key_path(key)) or self._source.where


Model = TypeVar("Model", bound=BaseModel)


def read_typed(path: Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """Read `path` as `model`: parents first (`extends:`), then the file, then overrides in their order.

    overrides: `key.sub=value`, or a file of them: a path, or a shipped recipe's name with `.yaml`.
    Raises UserError that names every mistake at once.
    """
    document = read_with_parents(path, model)
    for override in overrides:
        if names_a_file(override):
            document = _lay_over(document, read_document(find_shipped(override, "recipes")), model)
        else:
            _apply_override(document, override)
    return check(document, model, where=path)


def read_with_parents(path: Path, model: type[BaseModel], seen: tuple[Path, ...] = ()) -> Document:
    """A file's values over those of the file it `extends:` (a path relative to it, or the name of a shipped recipe)."""
    if path.resolve() in seen:
        chain = " -> ".join(p.name for p in (*seen, path.resolve()))
        raise UserError(f"extends itself: {chain}", where=path, way_out="remove one `extends:`")
    document = read_document(path)
    if "extends" not in document.values:
        return document
    parent_name = document.values.pop("extends")
    place = document.places.pop(("extends",))
    if not isinstance(parent_name, str):
        raise UserError("extends: must name one file", where=place, found=repr(parent_name))
    parent_path = path.parent / parent_name
    if not parent_path.suffix:
        parent_path = parent_path.with_suffix(".yaml")
    if not parent_path.is_file():
        try:
            parent_path = find_shipped(parent_name, "recipes")
        except UserError as error:
            what = f"extends: no such file: {parent_path}"
            raise UserError(what, where=place, wanted=error.wanted, way_out=error.way_out) from None
    return _lay_over(read_with_parents(parent_path, model, (*seen, path.resolve())), document, model)


def _lay_over(below: Document, above: Document, model: type[BaseModel]) -> Document:
    """A document's values over another's, and the places of both."""
    values = _merge(below.values, above.values, model)
    places = {_through_lists(path, values): place for path, place in above.places.items()}
    return Document(values, {**below.places, **places})


def _merge(below: dict[str, Any], above: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Sections key by key, and so mappings of named sections (a corpus's sources); plain values as a whole.

    A child's mixture takes the place of its parent's: merged, it would name sources that the child's data do not have.
    A mapping of numbers over a list of sections (stages) changes these items and leaves the others.
    """
    merged = dict(below)
    for key, value in above.items():
        old, info = merged.get(key), model.model_fields.get(key)
        section = next(iter(models_in(info.annotation)), None) if info else None
        merged[key] = value
        if info and section and isinstance(value, dict):
            if isinstance(old, list) and all(_is_item(name, old) for name in value):
                items = _merge_named({str(number): item for number, item in enumerate(old)}, value, section)
                merged[key] = list(items.values())
            elif isinstance(old, dict):
                is_named = get_origin(info.annotation) is dict
                merged[key] = _merge_named(old, value, section) if is_named else _merge(old, value, section)
    return merged


def _is_item(name: str, items: list[Any]) -> bool:
    """Whether a key is the number, from 0, of an item."""
    return name.isdecimal() and int(name) < len(items)


def _through_lists(path: KeyPath, values: Any) -> KeyPath:
    """A path whose parts inside lists are numbers: `("stages", "0")` as `("stages", 0)`."""
    parts: list[str | int] = []
    for part in path:
        if isinstance(values, list):
            if isinstance(part, str) and _is_item(part, values):
                part = int(part)
            values = values[part] if isinstance(part, int) else None
        else:
            values = values.get(part) if isinstance(values, dict) else None
        parts.append(part)
    return tuple(parts)


def _merge_named(below: dict[str, Any], above: dict[str, Any], section: type[BaseModel]) -> dict[str, Any]:
    merged = dict(below)
    for name, part in above.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(part, dict):
            part = _merge(old, part, section)
        merged[name] = part
    return merged


def _apply_override(document: Document, override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise UserError(
            f"not an override: {override!r}", where="command line", wanted="key.sub=value, as in optimizer.lr=3e-4"
        )
    path = _through_lists(tuple(key.strip().split(".")), document.values)
    target: Any = document.values
    for depth, part in enumerate(path[:-1]):
        child = target[part] if isinstance(part, int) else target.get(part)
        if child is None:
            child = target[part] = {}
        if not (isinstance(child, dict) or (isinstance(child, list) and isinstance(path[depth + 1], int))):
            raise UserError(f"{key}: {dotted(path[: depth + 1])} has no parts", where="command line", found=repr(child))
        target = child
    try:
        target[path[-1]] = parse_scalar(text)
    except Exception:  # whatever the YAML reader says, the text is not a value
        raise UserError(f"{key}: not a value: {text!r}", where="command line") from None
    document.places[path] = "command line"


def check(document: Document, model: type[Model], where: Path | str) -> Model:
    """Validate a document's values. Raises UserError with one line for each mistake."""
    try:
        value = model.model_validate(document.values)
    except pydantic.ValidationError as error:
        items = [item for item in error.errors(include_url=False) if not _echoes(item)]
        lines = [_explain(item, document, model, where) for item in items]
        raise UserError("\n".join(dict.fromkeys(lines))) from None
    if isinstance(value, TypedFile):
        value._source = Source(document, str(where))
    return value


BLANK = {
    "string_type": "a text",
    "string_too_short": "a text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
}
"""What is wanted where nothing stands, by pydantic's kind of error."""


def _echoes(item: Any) -> bool:
    """Whether a list is called too short only because what stands in it was refused, which another line tells."""
    return item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]


def _explain(item: Any, document: Document, model: type[BaseModel], where: Path | str) -> str:
    path = _real_path(item["loc"], document.values)
    place = document.place(path) or str(where)
    name = dotted(path)
    kind, message = item["type"], item["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{place}: {name}: unknown key; {_suggest(path, model)}"
    if kind == "missing":
        return f"{place}: {name}: missing; it has no default"
    if item["input"] is None or (isinstance(item["input"], str) and not item["input"].strip()):
        wanted = f"one of {item['ctx']['expected']}" if kind == "literal_error" else BLANK.get(kind)
        if wanted:
            return f"{place}: {name}: blank; wanted: {wanted}"
    if kind.startswith("value_error"):  # a check of ours; one across sections begins with the key that it is about
        key = message.partition(": ")[0]
        place = document.place((*path, *key_path(key))) or place
        return f"{place}: {name + ': ' if name else ''}{message}"
    if kind == "union_tag_invalid":
        key, tag = item["ctx"]["discriminator"].strip("'"), item["ctx"]["tag"]
        place = document.place((*path, key)) or place
        return f"{place}: {name}.{key}: found {tag!r}; must be one of {item['ctx']['expected_tags']}"
    if kind in ("tuple_type", "list_type"):
        return f"{place}: {name}: found {item['input']!r}; input should be a list: [{item['input']}]"
    if kind == "string_type" and isinstance(item["input"], int | float):
        return f"{place}: {name}: found {item['input']!r}; must be text: write it in quotes"
    if kind == "bool_parsing":
        return f"{place}: {name}: found {item['input']!r}; must be true or false"
    return f"{place}: {name}: found {item['input']!r}; {message[0].lower()}{message[1:]}"


def _real_path(loc: Iterable[str | int], values: Any) -> KeyPath:
    """An error's path without the names that pydantic adds for the branches of a union."""
    path: list[str | int] = []
    steps = list(loc)
    for position, part in enumerate(steps):
        last = position == len(steps) - 1
        if (isinstance(values, dict) and part in values) or (isinstance(values, list) and isinstance(part, int)):
            path.append(part)
            values = typing.cast(Any, values)[part]
        elif last and isinstance(values, dict):
            path.append(part)
    return tuple(path)


def _suggest(path: KeyPath, model: type[BaseModel]) -> str:
    """What the user most likely meant: a key of the same section, or one of the same name elsewhere."""
    known = list(known_keys(model))
    wrong = _of_schema(path, model)
    section, _, leaf = wrong.rpartition(".")
    here = f"{dotted(path[:-1])}." if section else ""
    siblings = [key for key in known if key.rpartition(".")[0] == section]
    for pool, text in ((siblings, wrong), (known, wrong)):
        if close := difflib.get_close_matches(text, pool, n=1, cutoff=0.75):
            its_section, _, its_leaf = close[0].rpartition(".")
            return f"did you mean {here + its_leaf if its_section == section else close[0]}?"
    for name, other_names in _other_names(model):
        if name == section and (close := difflib.get_close_matches(leaf, other_names, n=1, cutoff=0.75)):
            return f"did you mean {here}{other_names[close[0]]}?"
    leaves = {key.rpartition(".")[2]: key for key in reversed(known)}
    candidates = [key.rpartition(".")[2] for key in siblings] or list(leaves)
    if close := difflib.get_close_matches(leaf, candidates, n=1, cutoff=0.5):
        return f"did you mean {here}{close[0]}?"
    if leaf in leaves:
        return f"did you mean {leaves[leaf]}?"
    return f"known here: {', '.join(candidates)}"


def _of_schema(path: KeyPath, model: type[BaseModel]) -> str:
    """A path as `known_keys` writes it: without the names and numbers of sections in mappings and lists."""
    names: list[str] = []
    sections, is_name = [model], False
    for part in path:
        if is_name and part != path[-1]:
            is_name = False
            continue
        fields = {info.alias or name: info for section in sections for name, info in section.model_fields.items()}
        names += [part] if isinstance(part, str) else []
        if part in fields:
            sections = list(models_in(fields[str(part)].annotation))
            is_name = bool(sections) and get_origin(fields[str(part)].annotation) in (dict, list, tuple)
    return ".".join(names)


def known_keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """Every dotted key that a typed file may hold, sections included."""
    for name, info in model.model_fields.items():
        key = info.alias or name
        yield f"{prefix}{key}"
        for part in models_in(info.annotation):
            yield from known_keys(part, f"{prefix}{key}.")


def _other_names(model: type[BaseModel], section: str = "") -> Iterable[tuple[str, dict[str, str]]]:
    """Each section's dotted name with the other names of its keys."""
    if issubclass(model, Section):
        yield section, model.also_called
    for name, info in model.model_fields.items():
        for part in models_in(info.annotation):
            yield from _other_names(part, f"{section}.{name}" if section else name)


def models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    """The sections that an annotation names, inside unions, lists and mappings too."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif origin in (typing.Union, types.UnionType, list, tuple, dict, typing.Annotated) and origin is not Literal:
        for part in get_args(annotation):
            yield from models_in(part)
