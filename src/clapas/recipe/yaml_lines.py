"""YAML as people mean it: YAML 1.2 numbers, no repeated keys, and the line of each value.

PyYAML reads YAML 1.1, where `4e-3` is a string and `no` is false; a recipe means 0.004 and "no".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from clapas.recipe.errors import UserError

KeyPath = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """A SafeLoader with the scalars of YAML 1.2's core schema."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float", ":int", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


@dataclass
class Document:
    """A YAML mapping with the place of each of its keys.

    values: plain Python data. places: key path -> `file:line` (1-based) of the key, or of the list's item.
    """

    values: dict[str, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str | None:
        """`file:line` of a key path, or of its nearest known parent."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return None


def parse_scalar(text: str) -> Any:
    """The value of an override's right side, read as YAML: `3e-4` is a float, `[1, 2]` a list, `no` a string."""
    return yaml.load(text, Loader=_Loader)


def read_document(path: Path) -> Document:
    """Read a YAML mapping. Raises UserError, with file and line, where it is missing, not UTF-8 or not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            "no such file", where=path, way_out="check the path; `clapas recipes` lists what ships"
        ) from None
    except IsADirectoryError:
        raise UserError("is a folder, not a YAML file", where=path) from None
    except UnicodeDecodeError as error:
        byte = f"byte {error.object[error.start]:#04x} at offset {error.start}"
        raise UserError("not UTF-8 text", where=path, found=byte, way_out="save the file as UTF-8") from None
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document({})
        if not isinstance(node, yaml.MappingNode):
            raise UserError("not a mapping of keys to values", where=f"{path}:1", wanted="lines such as `name: demo`")
        document = Document({})
        document.values = _build(loader, node, (), path, document.places)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not valid YAML"
        raise UserError(f"not valid YAML: {problem}", where=f"{path}{line}") from None
    finally:
        loader.dispose()
    return document


def _build(loader: _Loader, node: yaml.Node, path: KeyPath, file: Path, places: dict[KeyPath, str]) -> Any:
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = f"{file}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                raise UserError("a key must be a word", where=where)
            key = str(key_node.value)
            if key in mapping:
                first = places[(*path, key)]
                raise UserError(f"{dotted((*path, key))}: given twice; first at {first}", where=where)
            places[(*path, key)] = where
            mapping[key] = _build(loader, value_node, (*path, key), file, places)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            places[(*path, index)] = f"{file}:{item.start_mark.line + 1}"
            items.append(_build(loader, item, (*path, index), file, places))
        return items
    return loader.construct_object(node)


def dotted(path: KeyPath) -> str:
    """`("sources", 0, "kind")` as people write it: `sources[0].kind`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def key_path(text: str) -> KeyPath:
    """The opposite of `dotted`: `sources[0].kind` as `("sources", 0, "kind")`."""
    parts = re.findall(r"[^.\[\]]+|\[\d+\]", text)
    return tuple(int(part[1:-1]) if part.startswith("[") else part for part in parts)
