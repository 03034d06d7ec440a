"""Taking documents out of a corpus that is built: a mask and a new manifest, no shard rewritten.

The manifest of before is kept as `manifest-NNNN.json`, so that what a run read can be told for ever. The new one has
another hash: no run goes on with it as if nothing had happened.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas.recipe.hashes import file_hash
from clapas_data.files import locked, new_file
from clapas_data.lookup import Row, find
from clapas_data.manifest import MANIFEST, FileRecord, Manifest, open_manifest, revision_name
from clapas_data.removed import MASK_COLUMNS, Counts, Removal, Removed, mask_hash, mask_table

NAMES = ("id", "url", "hash", "document")
"""What the column of a CSV file, or the key of a JSON object, is called that names a document."""
SHOWN = 10
"""How many unknown names a message lists."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done. removed: rows of the documents that left; before: of those asked for that had left already.

    manifest: the newest. was: the hash of the one before, equal where nothing changed. unknown: names of nothing.
    """

    manifest: Manifest
    was: str
    removed: list[Row]
    before: list[Row]
    unknown: list[str]


def read_names(path: Path) -> list[tuple[int, str]]:
    """(line, name) of each document that a file names.

    One name a line; `.jsonl`: objects with one of `id`, `url`, `hash`, `document`, or plain strings; `.csv`: such a
    column. Empty lines and those that begin with `#` are passed over in plain files. Raises UserError with the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError("no such file of names", where=path, wanted="a file with one document a line") from None
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: {error.reason} at byte {error.start}", where=path) from None
    readers = {".jsonl": _json_names, ".csv": _csv_names}
    found = list(readers.get(path.suffix.lower(), _plain_names)(path, text))
    if not found:
        raise UserError(
            "names no document", where=path, wanted="an id, `source:id`, URL, hash or shard#document a line"
        )
    return found


def _plain_names(_: Path, text: str) -> Iterable[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if (name := line.strip()) and not name.startswith("#"):
            yield number, name


def _json_names(path: Path, text: str) -> Iterable[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise UserError(f"not JSON: {error}", where=f"{path}:{number}") from None
        name = value if isinstance(value, str) else _named(value)
        if name is None:
            wanted = f"a string, or an object with one of {', '.join(NAMES)}"
            raise UserError("names no document", where=f"{path}:{number}", found=line[:80], wanted=wanted)
        yield number, name


def _named(value: Any) -> str | None:
    """The name in a JSON object; with a source beside an id, `source:id`."""
    given = {name: value[name] for name in NAMES if value.get(name)} if isinstance(value, dict) else {}
    if not given:
        return None
    name, text = next((name, str(text)) for name, text in given.items())
    return f"{value['source']}:{text}" if name == "id" and value.get("source") else text


def _csv_names(path: Path, text: str) -> Iterable[tuple[int, str]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if not set(NAMES) & set(rows.fieldnames or ()):
        found = ", ".join(rows.fieldnames or ()) or "nothing"
        raise UserError("no column names a document", where=path, found=found, wanted=f"one of {', '.join(NAMES)}")
    for row in rows:
        name = _named(row)
        if name is not None:
            yield rows.line_num, name
        elif any(row.values()):  # else it is empty, as spreadsheets leave them at the end
            found, wanted = ",".join(str(value) for value in row.values() if value), f"one of {', '.join(NAMES)}"
            raise UserError("names no document", where=f"{path}:{rows.line_num}", found=found, wanted=wanted)


def remove(
    folder: Path,
    names: Sequence[tuple[int, str]],
    *,
    where: Path,
    reason: str | None = None,
    ignore_missing: bool = False,
) -> Outcome:
    """Mask documents of a corpus and write its next manifest; where all of them had left before, change nothing.

    names: (line of `where`, name). Raises UserError, before anything is written, for names of no document (unless
    `ignore_missing`), for an id that several sources have, and for a corpus without a manifest of its own.
    """
    if folder.is_dir() and not (folder / MANIFEST).is_file():
        way_out = "build the corpus with `clapas data build`, or rewrite these shards without the documents"
        raise UserError("only a corpus with a manifest can leave documents out", where=folder, way_out=way_out)
    if not folder.exists():
        open_manifest(folder)  # tells it; a lock in no folder would not
    with locked(folder, refuse="a build or a removal"):
        manifest = open_manifest(folder)
        lines = {name: line for line, name in reversed(names)}
        found = find(manifest, [name for _, name in names])
        unknown = [name for name in lines if name not in found]
        if unknown and not ignore_missing:
            raise _unknown(unknown, lines, where)
        _refuse_ambiguous(found, lines, where)
        rows = {(row["shard"], row["offset"]): row for own in found.values() for row in own}
        gone = {place for place in rows if _is_removed(manifest, rows[place])}
        removed = [row for place, row in sorted(rows.items()) if place not in gone]
        before = [rows[place] for place in sorted(gone)]
        if not removed:
            return Outcome(manifest, manifest.hash, [], before, unknown)
        return Outcome(_write(manifest, removed, reason), manifest.hash, removed, before, unknown)


def _is_removed(manifest: Manifest, row: Row) -> bool:
    holes = manifest.holes.get(row["shard"])
    return holes is not None and not any(holes.rest(row["offset"], row["offset"] + row["tokens"]))


def _unknown(unknown: list[str], lines: dict[str, int], where: Path) -> UserError:
    shown = "".join(f"\n  line {lines[name]}: {name}" for name in sorted(unknown, key=lines.__getitem__)[:SHOWN])
    more = f"\n  and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
    return UserError(
        f"{len(unknown)} of the names are of no document of this corpus{shown}{more}",
        where=where,
        wanted="ids, source:id, URLs, text hashes or shard#document as in documents.parquet",
        way_out="correct them, or pass over them: --ignore-missing; nothing was removed",
    )


def _refuse_ambiguous(found: dict[str, list[Row]], lines: dict[str, int], where: Path) -> None:
    """Raise UserError for an id that documents of several sources have: two documents, not copies of one."""
    for name, rows in found.items():
        sources = dict.fromkeys(row["source"] for row in rows if row["id"] == name)
        if len(sources) > 1 and not all(name in (row.get("url"), row.get("hash")) for row in rows):
            raise UserError(
                "an id that several sources have",
                where=f"{where}:{lines[name]}",
                found=f"{name}, in {', '.join(sources)}",
                wanted=" or ".join(f"{source}:{name}" for source in sources),
            )


def _write(manifest: Manifest, rows: list[Row], reason: str | None) -> Manifest:
    """The mask with these documents too, then the manifests: the last rename makes the removal."""
    folder, revision = manifest.folder, manifest.revision + 1
    file = f"removed-{revision:04}.parquet"
    table = _mask(manifest, rows, revision)
    with new_file(folder / file) as partial:
        pq.write_table(table, partial)
    old = manifest.removed
    removed = Removed(
        revision=revision,
        file=file,
        hash=mask_hash(*(table[name].to_pylist() for name in ("shard", "offset", "tokens"))),
        removals=(*(() if old is None else old.removals), _removal(rows, revision, reason)),
        shards=_by_shard(table),
    )
    files = {path: record for path, record in manifest.files.items() if old is None or path != old.file}
    files[file] = FileRecord(bytes=(folder / file).stat().st_size, sha256=file_hash(folder / file))
    values = {name: getattr(manifest, name) for name in Manifest.model_fields}
    newest = Manifest.model_validate({**values, "files": files, "removed": removed})
    atomic_write(folder / revision_name(manifest.revision), (folder / MANIFEST).read_bytes())
    newest.write(folder)
    return newest


def _mask(manifest: Manifest, rows: list[Row], revision: int) -> pa.Table:
    """All that is removed, in the order of the manifest's shards and of the tokens."""
    told: list[Row] = [{name: row[name] for name in MASK_COLUMNS[:-1]} | {"revision": revision} for row in rows]
    if manifest.removed is not None:
        sha256 = manifest.files[manifest.removed.file].sha256
        told += mask_table(manifest.folder, manifest.removed, sha256).to_pylist()
    order = {shard.path: place for place, shard in enumerate(manifest.shards)}
    return pa.Table.from_pylist(sorted(told, key=lambda row: (order[row["shard"]], row["offset"])))


def _removal(rows: list[Row], revision: int, reason: str | None) -> Removal:
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Removal(revision=revision, date=date, reason=reason, **_counts(rows).model_dump())


def _counts(rows: list[Row]) -> Counts:
    return Counts(
        documents=len(rows), tokens=sum(row["tokens"] for row in rows), bytes=sum(row["bytes"] for row in rows)
    )


def _by_shard(table: pa.Table) -> dict[str, Counts]:
    by_shard: dict[str, list[Row]] = {}
    for row in table.select(["shard", "tokens", "bytes"]).to_pylist():
        by_shard.setdefault(row["shard"], []).append(row)
    return {shard: _counts(rows) for shard, rows in by_shard.items()}
