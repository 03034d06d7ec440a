"""`clapas data chat`: files of conversations, preferences or prompts become a folder of examples, whole or not at all.

Rows are encoded in processes, in the order of the files. A bad row ends the work with one message that names it, and
nothing is written; or it is left out and counted, where that was asked for. What is held out depends on what an example
says, not on where it stands: equal examples fall on the same side.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash
from clapas_data.chat.encoder import cached_chat
from clapas_data.chat.kinds import KINDS, Kind, Made, kind_of, make
from clapas_data.chat.messages import BadRow
from clapas_data.chat.rows import Task, row_of, tasks
from clapas_data.chat.summary import Summary
from clapas_data.chat.template import CONFIG, TEMPLATE_FILE, ChatTemplate, ChatTemplateError, open_template
from clapas_data.encode import open_tokenizer
from clapas_data.examples import Example, write_examples
from clapas_data.licences import UNKNOWN, licence_flags
from clapas_data.manifest import ExamplesRecord, SourceRecord
from clapas_data.workers import Workers

TRAIN, HELD_OUT = "train", "heldout"
TOKENIZER_FILES = (
    "tokenizer.json",
    CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
OWN_FIELDS = {"prompt", "tools", "chat_template_kwargs", "id", "document", "split", "source", "shard", "offset"} | {
    "tokens",
    "bytes",
}
"""Of a row of prompts: what is not kept as a column, being read already or the name of one of ours."""


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What a task became: (id, example) of each good row, and the reason of each bad one. size: bytes of JSON."""

    source: str
    made: list[tuple[str, Made]]
    bad: list[str]
    size: int


def chat(
    files: Sequence[Path],
    out: Path,
    *,
    tokenizer: Path,
    kind: Kind | None = None,
    template: str | None = None,
    held_out: float = 0,
    name: str | None = None,
    source: str | None = None,
    licences: Sequence[str] = (),
    skip_bad: bool = False,
    workers: int | None = None,
) -> Summary:
    """Write the folder of examples `out` from files, and say what it holds.

    kind: by default what the first row's fields say. template: a file or a shipped name instead of the tokenizer's own.
    held_out: a share below 1, or so many different examples. source: of all files; by default each is one, by its name.
    licences: `SPDX` of all sources, or `SOURCE=SPDX`. Raises UserError, naming file and line, for what is wrong.
    """
    _refuse_to_replace(out)
    began = time.monotonic()
    named = {path: source or _source_name(path) for path in files}
    records = _sources(named, licences)
    with _with_template(tokenizer, template) as (folder, used), Workers(workers) as pool:
        kind = kind or _first_kind(files, skip_bad=skip_bad)
        kept = _kept_fields(files, skip_bad=skip_bad) if kind == "prompts" else ()
        record = ExamplesRecord(
            kind=kind,
            documents_per_example=2 if kind == "pairs" else 1,
            template=None if used is None else used.sha256,
        )
        summary = Summary(out, kind, record.counts)
        called = None if used is None else used.named
        encode = partial(_encode, folder=folder, template=called, kind=kind, kept=kept, skip_bad=skip_bad)
        found = pool.map(encode, chain.from_iterable(tasks(path, own) for path, own in named.items()))
        columns = {"label": pa.bool_()} if kind == "labelled" else dict.fromkeys(kept, pa.string())
        examples = _examples(_split(_counted(found, summary), held_out))
        write_examples(
            out,
            chain(examples, summary.finish()),
            name=name or out.name,
            tokenizer=folder,
            record=record,
            sources=records,
            columns=columns,
        )
    summary.seconds = time.monotonic() - began
    return summary


def _refuse_to_replace(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("will not be replaced", where=out, wanted="a new or empty folder", way_out="another --out")


def _source_name(path: Path) -> str:
    """A source's name from a file's: what shards are called."""
    stem = re.sub(r"\.(jsonl?|ndjson|parquet)(\.\w+)?$", "", path.name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "examples"


def _sources(named: dict[Path, str], licences: Sequence[str]) -> dict[str, SourceRecord]:
    """What is recorded of each source: its licence, and the files that it came from. Raises UserError where wrong."""
    for path in named:
        if not path.is_file():
            raise UserError("no such file", where=path, wanted="JSONL, JSON or Parquet")
    names = list(dict.fromkeys(named.values()))
    if bad := next((name for name in names if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)), None):
        raise UserError("not a source's name", where="--source", found=bad, wanted="letters, digits, dots and dashes")
    said: dict[str, str] = {}
    for licence in licences:
        owner, _, spdx = licence.rpartition("=")
        if owner and owner not in names:
            raise UserError("a licence of no source", where="--licence", found=owner, wanted=", ".join(names))
        said[owner] = spdx
    records = {}
    for name in names:
        licence = said.get(name, said.get("", UNKNOWN))
        if flags := licence_flags(licence):
            print(f"warning: source {name}: licence {licence!r}: no open release ({', '.join(flags)})", file=sys.stderr)
        own = {path.name: file_hash(path) for path, owner in named.items() if owner == name}
        records[name] = SourceRecord(licence=licence, files=own)  # pyright: ignore[reportCallIssue] - further facts
    return records


@contextmanager
def _with_template(tokenizer: Path, template: str | None) -> Iterator[tuple[Path, ChatTemplate | None]]:
    """A copy of a tokenizer that holds the chat template that is used, twice over, as tools look for it; and that."""
    opened = open_tokenizer(tokenizer)
    used = open_template(tokenizer, template)
    with tempfile.TemporaryDirectory(prefix="clapas-tokenizer-") as name:
        folder = Path(name)
        for file in TOKENIZER_FILES:
            if (opened.path / file).is_file():
                shutil.copyfile(opened.path / file, folder / file)
        if used is not None:
            (folder / TEMPLATE_FILE).write_text(used.text, encoding="utf-8")
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8")) | {"chat_template": used.text}
            (folder / CONFIG).write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        yield folder, used


def _first_kind(files: Sequence[Path], *, skip_bad: bool) -> Kind:
    """The kind that the first row says. skip_bad: the first one that says any."""
    for line, place in chain.from_iterable(map(_rows, files)):
        with suppress(UserError) if skip_bad else nullcontext():
            row = row_of(line, place)
            if (kind := kind_of(row)) is not None:
                return kind
            raise UserError(
                "cannot tell what kind of examples these are",
                where=place,
                found=f"fields {', '.join(row) or 'none'}",
                wanted="`messages`, or what docs/chat-data.md lists",
                way_out=f"--kind with one of {', '.join(KINDS)}",
            )
    raise UserError("no row that says what kind of examples these are" if skip_bad else "no row", where=files[0])


def _rows(path: Path) -> Iterator[tuple[Any, str]]:
    """What stands in each row of a file, and its place."""
    for task in tasks(path, ""):
        yield from zip(task.lines, task.places, strict=True)


def _kept_fields(files: Sequence[Path], *, skip_bad: bool) -> tuple[str, ...]:
    """The fields of any row that become columns, sorted. skip_bad: pass over what is no row."""
    found: set[str] = set()
    for line, place in chain.from_iterable(map(_rows, files)):
        with suppress(UserError) if skip_bad else nullcontext():
            found |= row_of(line, place).keys()
    return tuple(sorted(found - OWN_FIELDS))


def _encode(
    task: Task, *, folder: Path, template: str | None, kind: Kind, kept: tuple[str, ...], skip_bad: bool
) -> _Encoded:
    """The rows of a task as examples. template: what the chat template is called, which `folder` has a copy of.

    Raises UserError for a bad row, unless they are to be skipped.
    """
    chat, found = cached_chat(folder, template), _Encoded(task.source, [], [], sum(map(_size, task.lines)))
    for line, place in zip(task.lines, task.places, strict=True):
        try:
            row = _row(line, place)
            found.made.append((_id_of(row, place), make(chat, row, kind, kept)))
        except BadRow as bad:
            if not skip_bad:
                way_out = "mend it, or leave bad rows out, counted: --skip-bad"
                raise UserError(bad.what, where=place, found=bad.found, wanted=bad.wanted, way_out=way_out) from None
            found.bad.append(bad.reason)
        except ChatTemplateError as fault:
            if not skip_bad:
                place = f"{place}, {fault.where}" if fault.where else place
                way_out = fault.way_out or "mend the row or the template, or leave such rows out: --skip-bad"
                known = {"found": fault.found, "wanted": fault.wanted}
                raise UserError(fault.what, where=place, way_out=way_out, **known) from None
            found.bad.append("template error")
    return found


def _row(line: Any, place: str) -> dict[str, Any]:
    try:
        return row_of(line, place)
    except UserError as error:
        raise BadRow("not JSON", error.what, error.found, error.wanted) from None


def _size(line: Any) -> int:
    return len(line) if isinstance(line, bytes) else len(str(line))


def _id_of(row: dict[str, Any], place: str) -> str:
    """A row's own id, or the file's name and its place there."""
    own = row.get("id", row.get("conversation_id"))
    return Path(place).name if own is None or isinstance(own, dict | list) else str(own)


def _counted(found: Iterable[_Encoded], summary: Summary) -> Iterator[tuple[str, str, Made]]:
    for task in found:
        summary.add(task.size, Counter(task.bad), [made for _, made in task.made])
        for own_id, made in task.made:
            yield task.source, own_id, made


def _split(found: Iterable[tuple[str, str, Made]], held_out: float) -> Iterator[tuple[str, str, str, Made]]:
    """(split, source, id, example): a share by the examples' hashes, or the examples of so many smallest hashes."""
    if held_out < 1:
        for source, own_id, made in found:
            is_held = int.from_bytes(made.key[:8], "big") < held_out * 2**64
            yield HELD_OUT if is_held else TRAIN, source, own_id, made
        return
    smallest: dict[bytes, list[tuple[str, str, Made]]] = {}
    largest_first: list[tuple[int, bytes]] = []
    for example in found:
        key = example[2].key
        if key not in smallest:
            smallest[key] = []
            heappush(largest_first, (-int.from_bytes(key, "big"), key))
        smallest[key].append(example)
        if len(smallest) > held_out:
            for other in smallest.pop(heappop(largest_first)[1]):
                yield TRAIN, *other
    for examples in smallest.values():
        for other in examples:
            yield HELD_OUT, *other


def _examples(split: Iterable[tuple[str, str, str, Made]]) -> Iterator[Example]:
    for name, source, own_id, made in split:
        yield Example(name, source, own_id, made.sequences, made.text_bytes, made.columns)
