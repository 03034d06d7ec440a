"""What tells a model's weights from all others: a checkpoint's seal, or the hash of a Hugging Face folder's files."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from clapas.checkpoint.committed import COMMITTED
from clapas.model.hf_reader import weight_files
from clapas.model.source_config import Source
from clapas.recipe.hashes import content_hash, file_hash

RECORD = "first_weights.json"
"""In a run's folder: the seal, and sizes and times of the files that had it, so that nobody need read them again."""


def seal_of(source: Source, run: Path) -> str:
    """The seal of these weights. Those of a folder are read for it, once for as long as `run` remembers them."""
    if source.kind == "checkpoint":
        return (source.folder / COMMITTED).read_text().strip()
    record = files_of(source.folder)
    path = run / RECORD
    if path.is_file():
        before: dict[str, Any] = orjson.loads(path.read_bytes())
        if before["files"] == record["files"]:
            return before["seal"]
    paths = [source.folder / name for name in record["files"]]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:  # hashing lets go of Python's lock
        hashes = list(threads.map(file_hash, paths))
    return content_hash(dict(zip(record["files"], hashes, strict=True)))


def files_of(folder: Path) -> dict[str, Any]:
    """Sizes and times of a folder's files of weights."""
    stats = {name: (folder / name).stat() for name in weight_files(folder)}
    return {"files": {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}}
