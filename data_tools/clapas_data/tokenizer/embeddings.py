"""Which tokens of a model look untrained, from its weights alone: its rows of the output matrix, or the embeddings.

A token that is never a target is pushed the same way by each step, away from what the model says; so the rows of such
tokens come to lie in one direction, which tokens known to be unseen (reserved ones) show. Ordinary tokens whose row
lies as near to that direction as the reserved ones' are candidates (Land & Bartolo 2024, arXiv 2405.05417, section
2.3). Candidates, not findings: a prompt that has one repeated must show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas.recipe.errors import UserError
from clapas_data.tokenizer.opened import Opened

OUTPUT, EMBEDDINGS = "lm_head.weight", "model.embed_tokens.weight"
"""As Llama, Qwen2, Qwen3 and Mistral name them; with tied embeddings there is no first."""
RESERVED = re.compile(r"reserved|unused|extra_id|placeholder", re.IGNORECASE)
FEWEST = 4
"""Tokens known to be unseen, below which there is no direction to speak of."""
DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def untrained(folder: Path, tokenizer: Opened, unseen: Iterable[int]) -> dict[str, Any]:
    """The ordinary tokens whose weights look like those of unseen ones, the likeliest first.

    folder: Hugging Face's. unseen: ids that the training text never had; reserved tokens are added to them. Raises
    UserError where the folder has no weights, or fewer rows than the tokenizer has ids.
    """
    name, rows = _weights(folder)
    if len(rows) < tokenizer.vocab_size:
        raise UserError(
            "the model has fewer rows than the tokenizer has ids: another tokenizer's model",
            where=folder,
            found=f"{name} of {len(rows)} rows",
            wanted=f"at least {tokenizer.vocab_size}",
        )
    ordinary = np.array([piece is not None for piece in tokenizer.pieces])
    reference = sorted({*unseen, *_reserved(folder)})
    if len(reference) < FEWEST:
        raise UserError(
            "no tokens are known to be unseen in training",
            where=folder,
            found=f"{len(reference)} reserved or unused tokens",
            wanted=f"at least {FEWEST}",
            way_out="name the corpus that it was trained on with --corpus",
        )
    norms = np.linalg.norm(rows, axis=1)
    distances = _distances(rows, np.array(reference))
    limit = float(np.max(distances[reference]))
    known = np.isin(np.arange(tokenizer.vocab_size), reference)
    near = np.flatnonzero(ordinary & ~known & (distances[: tokenizer.vocab_size] <= limit))
    near = near[np.argsort(distances[near], kind="stable")]
    return {
        "weights": name,
        "reference": len(reference),
        "limit": round(limit, 4),
        "median_distance": round(float(np.median(distances[: tokenizer.vocab_size][ordinary])), 4),
        "norm_of_reference": round(float(np.median(norms[reference])), 4),
        "median_norm": round(float(np.median(norms[: tokenizer.vocab_size][ordinary])), 4),
        "candidates": {
            "count": len(near),
            "ids": near.tolist(),
            "tokens": [(tokenizer.pieces[number] or b"").decode(errors="backslashreplace") for number in near],
            "distances": [round(float(distances[number]), 4) for number in near],
        },
    }


def _distances(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Cosine distance of each row to the mean of the reference's, without itself where it is one of them."""
    units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    total = units[reference].sum(0)
    distances = 1 - units @ (total / max(float(np.linalg.norm(total)), 1e-12))
    for number in reference:
        others = total - units[number]
        distances[number] = 1 - units[number] @ others / max(float(np.linalg.norm(others)), 1e-12)
    return distances


def _reserved(folder: Path) -> list[int]:
    """Ids of the added tokens whose name says that nothing uses them."""
    path = folder / "tokenizer.json"
    added = orjson.loads(path.read_bytes()).get("added_tokens", ()) if path.is_file() else ()
    return [token["id"] for token in added if RESERVED.search(token["content"])]


def _weights(folder: Path) -> tuple[str, np.ndarray]:
    """The output matrix, or the tied embeddings: its name and float32[rows, width]."""
    index = folder / "model.safetensors.index.json"
    files = orjson.loads(index.read_bytes())["weight_map"] if index.is_file() else {}
    for name in (OUTPUT, EMBEDDINGS):
        path = folder / files.get(name, "model.safetensors")
        if path.is_file() and (rows := _tensor(path, name)) is not None:
            return name, rows
    wanted = f"model.safetensors with {OUTPUT} or {EMBEDDINGS}"
    raise UserError("no weights of a model here", where=folder, wanted=wanted)


def _tensor(path: Path, name: str) -> np.ndarray | None:
    """One tensor of a safetensors file as float32, None where it has none of that name. NumPy knows no bf16."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            header = orjson.loads(file.read(min(size, path.stat().st_size)))
        except orjson.JSONDecodeError:
            raise UserError("not a safetensors file", where=path) from None
    if name not in header:
        return None
    facts = header[name]
    if facts["dtype"] not in DTYPES:
        raise UserError(
            f"{name}: a type that is not read here", where=path, found=facts["dtype"], wanted=", ".join(DTYPES)
        )
    begin, end = facts["data_offsets"]
    if 8 + size + end > path.stat().st_size:
        raise UserError(
            "cut short", where=path, found=f"{path.stat().st_size} bytes", wanted=f"at least {8 + size + end}"
        )
    raw = np.memmap(path, np.dtype(DTYPES[facts["dtype"]]), "r", 8 + size + begin, tuple(facts["shape"]))
    if facts["dtype"] == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)
