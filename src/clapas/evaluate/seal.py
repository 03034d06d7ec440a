"""Which weights were measured: a name that no other weights have."""

from __future__ import annotations

from pathlib import Path

from clapas.checkpoint.committed import COMMITTED
from clapas.recipe.hashes import content_hash, file_hash

DECIDING = ("config.json", "tokenizer.json", "*.safetensors")
"""The files of a Hugging Face folder that decide what a model says."""


def model_seal(folder: Path) -> str:
    """A checkpoint's seal (the SHA-256 of its manifest), or the SHA-256 over the files of a Hugging Face folder."""
    if (folder / COMMITTED).is_file():
        return (folder / COMMITTED).read_text().strip()
    files = sorted(path for pattern in DECIDING for path in folder.glob(pattern))
    return content_hash({path.name: file_hash(path) for path in files})
