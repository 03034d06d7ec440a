"""`clapas data trace`: where one document of a corpus comes from, what was done to it, where it lies, what it says.

Nothing is guessed: what a build did not record is None here and "not recorded" in the text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from clapas.recipe.errors import UserError
from clapas_data.documents import SCHEMA
from clapas_data.lookup import Row, as_text, find
from clapas_data.manifest import Manifest, open_manifest
from clapas_data.removed import mask_table
from clapas_data.shards import TokenShard

NOT_RECORDED = "not recorded"
ORIGIN = ("file", "place", "url", "hash")
"""Columns of documents.parquet beside those that every table has; all others are scores."""
EXCERPT = 500
"""Characters of the text that are shown without --full."""
SHOWN = 5
"""Documents of one name that are shown."""
BUILD = "build.json"


def trace(folder: Path, name: str, *, full: bool = False) -> list[dict[str, Any]]:
    """The documents that a name (id, `source:id`, URL, text hash, `shard#document`) means, at most 5 of them.

    Raises UserError where there is none, or no table of documents.
    """
    manifest = open_manifest(folder)
    rows = find(manifest, [name]).get(name)
    if not rows:
        raise UserError(
            "no such document",
            where=folder,
            found=name,
            wanted="an id, source:id, URL, text hash or shard#document, such as "
            f"{manifest.shards[0].path}#0; sources here: {', '.join(manifest.sources)}",
            way_out="what a step dropped is not in the shards: `clapas data inspect FOLDER --rejected` tells how much",
        )
    corpus = _corpus(folder)
    return [_traced(manifest, row, corpus, full) for row in rows[:SHOWN]]


def _corpus(folder: Path) -> dict[str, Any]:
    """The corpus file that was built, as far as the build kept it."""
    path = folder / BUILD
    return orjson.loads(path.read_bytes()).get("corpus", {}) if path.is_file() else {}


def _traced(manifest: Manifest, row: Row, corpus: dict[str, Any], full: bool) -> dict[str, Any]:
    source = manifest.sources[row["source"]]
    columns = {field.name for field in SCHEMA} | set(ORIGIN)
    values = {key: as_text(value) if isinstance(value, bytes) else value for key, value in row.items()}
    if row.get("hash") is not None:
        values["hash"] = as_text(row["hash"])
    text, length = _text(manifest, row, None if full else EXCERPT)
    return {
        **{key: values[key] for key in ("source", "id", "split")},
        "origin": source.model_dump(mode="json"),
        **{key: None if values.get(key) == "" else values.get(key) for key in ORIGIN},
        "steps": _steps(manifest, row["source"], corpus),
        "scores": {key: value for key, value in values.items() if key not in columns},
        **{key: values[key] for key in ("shard", "document", "offset", "tokens", "bytes")},
        "removed": _removed(manifest, row),
        "text": text,
        "characters": length,
    }


def _steps(manifest: Manifest, source: str, corpus: dict[str, Any]) -> list[dict[str, Any]]:
    """The build's steps in order, with the counts of the document's source, or of all where only these are recorded.

    options: as the corpus file gives them, None where the build did not record any. override: what the source says
    otherwise: options, or False for a step that its documents skip.
    """
    own = corpus.get("sources", {}).get(source, {}).get("steps", {})
    steps: list[dict[str, Any]] = []
    for record in manifest.steps:
        counts = record.sources.get(source, record)
        keys = ("documents_in", "documents_out", "bytes_in", "bytes_out", "changed", "reasons", "counts")
        options = record.options if "options" in record.model_fields_set else None
        step = {"name": record.name, "options": options, "override": own.get(record.name)}
        steps.append({**step, **counts.model_dump(mode="json", include=set(keys))})
    return steps


def _removed(manifest: Manifest, row: Row) -> dict[str, Any] | None:
    """When and why the document was removed, if it was."""
    holes = manifest.holes.get(row["shard"])
    if manifest.removed is None or holes is None or any(holes.rest(row["offset"], row["offset"] + row["tokens"])):
        return None
    table = mask_table(manifest.folder, manifest.removed, manifest.files[manifest.removed.file].sha256)
    rows = table.select(["shard", "offset", "revision"]).to_pylist()
    revision = next(r["revision"] for r in rows if (r["shard"], r["offset"]) == (row["shard"], row["offset"]))
    removal = next(removal for removal in manifest.removed.removals if removal.revision == revision)
    return {"revision": revision, "date": removal.date, "reason": removal.reason}


def _text(manifest: Manifest, row: Row, limit: int | None) -> tuple[str | None, int | None]:
    """(the text's beginning, its length in characters), decoded; None where there is no tokenizer."""
    path = manifest.folder / "tokenizer" / "tokenizer.json"
    if manifest.tokenizer is None or not path.is_file():
        return None, None
    from tokenizers import Tokenizer

    shard = next(shard for shard in manifest.shards if shard.path == row["shard"])
    tokens = TokenShard(manifest.folder, shard).read(row["offset"], row["offset"] + row["tokens"]).tolist()
    first = 1 if manifest.tokenizer.uses_bos else 0
    text = Tokenizer.from_file(str(path)).decode(tokens[first:-1], skip_special_tokens=False)
    return text[:limit], len(text)


def trace_table(documents: list[dict[str, Any]]) -> str:
    """The same for a person to read."""
    return "\n\n".join("\n".join(_lines(document)) for document in documents)


def _lines(document: dict[str, Any]) -> list[str]:
    origin = dict(document["origin"])
    rows = {"document": f"{document['source']}:{document['id']} ({document['split']})"}
    if document["removed"] is not None:
        removed = document["removed"]
        rows["removed"] = f"on {removed['date']}, manifest revision {removed['revision']}: {removed['reason'] or '–'}"
    place = "" if document["place"] is None else f", at {document['place']:,}"
    rows |= {
        "licence": origin.pop("licence"),
        "revision": origin.pop("revision") or NOT_RECORDED,
        "date": origin.pop("date") or NOT_RECORDED,
        "source's URL": origin.pop("url") or NOT_RECORDED,
        "URL": document["url"] or NOT_RECORDED,
        "file": NOT_RECORDED if document["file"] is None else f"{document['file']}{place}",
        "text hash": document["hash"] or NOT_RECORDED,
        "shard": f"{document['shard']}#{document['document']}, tokens {document['offset']:,} to "
        f"{document['offset'] + document['tokens'] - 1:,} ({document['bytes']:,} bytes of text)",
    }
    rows |= {key: str(value) for key, value in origin.items() if value is not None}
    scores = ", ".join(f"{name} {_number(value)}" for name, value in document["scores"].items())
    rows["scores"] = scores or NOT_RECORDED
    lines = [f"{name:14}{value}" for name, value in rows.items()]
    lines += ["steps", *(f"  {_step(step)}" for step in document["steps"])]
    if not document["steps"]:
        lines[-1] += f"         {NOT_RECORDED}"
    return [*lines, "", *_quoted(document)]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _step(step: dict[str, Any]) -> str:
    if step["override"] is False:
        return f"{step['name']}: not for this source"
    kept = f"{step['documents_out']:,} of {step['documents_in']:,} documents left it"
    options = NOT_RECORDED if step["options"] is None else _options(step["options"])
    override = f"; this source: {_options(step['override'])}" if step["override"] else ""
    said = f"; options {options}" if options else ""
    return f"{step['name']}: {kept}{said}{override}"


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items())


def _quoted(document: dict[str, Any]) -> list[str]:
    if document["text"] is None:
        return ["no tokenizer beside the shards: the text cannot be decoded"]
    more = document["characters"] - len(document["text"])
    return [document["text"], *([f"… {more:,} characters more (--full)"] if more else [])]
