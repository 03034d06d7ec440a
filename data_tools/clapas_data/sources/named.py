"""`files:` files by name or glob: tables of documents, archives, or files read whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas_data.corpus import Source
from clapas_data.sources.local import ENDINGS, parts_of_files, read_files
from clapas_data.sources.opened import PACKINGS
from clapas_data.sources.part import Part, RawDocument


def files(name: str, source: Source) -> list[str]:
    """The files that the source names, in its order. Raises UserError where one is missing or of another kind."""
    return _named_files(name, source.files or ())


def parts(name: str, source: Source) -> list[Part]:
    """Each file cut as its kind can be."""
    paths = files(name, source)
    base = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 - glob's words
    return parts_of_files(source, paths, base)


def read(part: Part) -> Iterator[RawDocument]:
    """The documents of a part, by its files' kind."""
    return read_files(part)


def _named_files(name: str, patterns: Iterable[str]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        if Path(pattern).is_file():  # its name may hold brackets
            found.append(pattern)
            continue
        matches = sorted(glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        matches = [path for path in matches if Path(path).is_file()]
        if not matches:
            way_out = "`folder:` reads a folder of texts, `files: FOLDER/*.jsonl` its JSONL files"
            raise UserError(f"source {name}: no such file", where=pattern, way_out=way_out)
        found += matches
    for path in found:
        if not path.endswith(ENDINGS):
            raise UserError(
                f"source {name}: not a kind of file that is read", where=path, wanted=", ".join(_shown(ENDINGS)),
                way_out="`folder:` with `pattern:` reads files of any name as text",
            )  # fmt: skip
    return list(dict.fromkeys(found))  # two globs may name one file


def _shown(endings: Iterable[str]) -> list[str]:
    """The endings for a message, without their compressed forms."""
    return [ending for ending in endings if not ending.endswith(PACKINGS)] + ["also compressed: " + " ".join(PACKINGS)]
