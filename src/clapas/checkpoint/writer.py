"""Writing a checkpoint so that no reader ever sees half of one.

Every rank writes its file into a hidden folder; rank 0 writes the manifest and the seal; one rename makes it a
checkpoint. The rename is the commit: before it nothing is there, after it everything is, and all of it is on the disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from clapas.checkpoint.committed import COMMITTED
from clapas.checkpoint.format import (
    DTYPE_NAMES,
    MANIFEST,
    CheckpointManifest,
    FileRecord,
    Fragment,
    FragmentRecord,
    ParameterRecord,
    Snapshot,
    rank_file,
    tensor_key,
)
from clapas.checkpoint.ranks import Place
from clapas.checkpoint.regions import check_cover
from clapas.checkpoint.tensor_file import silent, write_tensors
from clapas.recipe.files import sync_file, sync_folder
from clapas.recipe.hashes import file_hash


def begin(partial: Path) -> None:
    """An empty hidden folder to write in. What killed writers left beside it goes."""
    for left in partial.parent.glob(".step-*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)


def write_rank(partial: Path, snapshot: Snapshot, ranks: Place, on_chunk: Callable[[], None] = silent) -> None:
    """This rank's tensors, and beside them what rank 0 needs for the manifest."""
    name = rank_file(ranks.rank, ranks.size)
    tensors = {f"rng|{key}": value for key, value in snapshot.rng.items()}
    for fragment in snapshot.fragments:
        for state, tensor in fragment.states.items():
            tensors[tensor_key(fragment.name, state, fragment.offset)] = tensor.detach().cpu()
    record = write_tensors(partial / name, tensors, on_chunk)
    described = [_describe(fragment, name) for fragment in snapshot.fragments]
    note = partial / f"{name}.json"
    note.write_bytes(orjson.dumps({"file": record.model_dump(), "fragments": described}))
    sync_file(note)


def _describe(fragment: Fragment, file: str) -> dict[str, Any]:
    return {
        "name": fragment.name,
        "shape": fragment.shape,
        "states": {state: DTYPE_NAMES[tensor.dtype] for state, tensor in fragment.states.items()},
        "scalars": fragment.scalars,
        "fragment": {
            "offset": fragment.offset,
            "length": fragment.length,
            "file": file,
            "part": None if fragment.part is None else list(fragment.part),
        },
    }


def commit(partial: Path, final: Path, aliases: dict[str, str], facts: dict[str, Any], size: int) -> None:
    """Make one checkpoint of what `size` ranks wrote: the manifest, the seal, the rename."""
    notes = [partial / f"{rank_file(rank, size)}.json" for rank in range(size)]
    contents = [orjson.loads(note.read_bytes()) for note in notes]
    parameters = _merge(piece for content in contents for piece in content["fragments"])
    manifest = CheckpointManifest(
        parameters=parameters,
        aliases=aliases,
        files=[FileRecord(**content["file"]) for content in contents],
        **facts,
    )
    for note in notes:
        note.unlink()
    path = partial / MANIFEST
    path.write_bytes(orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
    sync_file(path)
    seal = partial / COMMITTED
    seal.write_text(file_hash(path) + "\n")
    sync_file(seal)
    sync_folder(partial)
    if final.exists():  # a damaged one of the same step, which a resume has passed over: never a sound one
        final.rename(final.with_name(f".{final.name}.damaged-{os.getpid()}"))
    partial.rename(final)
    sync_folder(final.parent)


def _merge(pieces: Iterable[dict[str, Any]]) -> dict[str, ParameterRecord]:
    """All ranks' fragments by parameter. Raises ValueError where they do not cover a parameter exactly."""
    parameters: dict[str, ParameterRecord] = {}
    for piece in pieces:
        record = parameters.get(piece["name"])
        if record is None:
            known = {key: piece[key] for key in ("shape", "states", "scalars")}
            record = parameters[piece["name"]] = ParameterRecord(**known, fragments=[])
        record.fragments.append(FragmentRecord(**piece["fragment"]))
    for name, record in parameters.items():
        record.fragments.sort(key=lambda fragment: (fragment.part or (), fragment.offset))
        try:
            check_cover(record.shape, (fragment.region for fragment in record.fragments))
        except ValueError as problem:
            raise ValueError(f"{name}: {problem}") from None
    return parameters
