"""`clapas import`: an open model's Hugging Face folder as a checkpoint of ours, with its tokenizer beside it.

What is stored keeps its type and every bit, so that an export gives back the folder's weights. Memory holds one file of
the checkpoint, 1 GiB in fp32, however large the model. The folder appears whole or not at all.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from clapas.checkpoint.by_slices import FILE_ELEMENTS, Slice, write_by_slices
from clapas.evaluate.stop_ids import turn_ends
from clapas.model.config import ModelConfig
from clapas.model.hf_reader import HuggingFaceWeights
from clapas.model.hf_weights import EMBEDDING, HEAD
from clapas.model.seal import seal_of
from clapas.model.source_config import TOKENIZER, Source, find_source, has_tokenizer
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash
from clapas.release.out_folder import out_folder, refuse_to_replace
from clapas.train.run_folder import versions

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
    "extension.json",
)
"""What is copied of a folder beside its weights, where it is there: all that text becomes tokens by, and ends with."""


def import_model(folder: Path, out: Path, *, file_elements: int = FILE_ELEMENTS) -> Path:
    """Write a Hugging Face folder's model as OUT/checkpoints/step-00000000, its tokenizer as OUT/tokenizer.

    Returns the checkpoint's folder, which `eval`, `generate`, `export` and `model.from` read like a run's; so they do
    OUT. Raises UserError where the folder holds no model, or one that we cannot represent exactly, or `out` anything.
    """
    refuse_to_replace(out)
    source = find_source(folder)
    if source is None or source.kind != "huggingface":
        found = "nothing" if not folder.exists() else "a checkpoint of ours" if source else "no config.json"
        wanted = "a Hugging Face folder: config.json, weights in safetensors and a tokenizer"
        raise UserError("not a model to import", where=folder, found=found, wanted=wanted)
    config = source.config()
    weights = HuggingFaceWeights(folder, config)
    speaks = has_tokenizer(folder)
    if speaks:
        _check_ends(folder, config)
    with out_folder(out) as partial:
        shapes = {name: weights.shape(name) for name in weights.names()}
        aliases = {HEAD: EMBEDDING} if config.tie_word_embeddings else {}

        def read(part: Slice) -> torch.Tensor:
            name, offset, length = part
            piece = torch.empty(length, dtype=weights.dtype(name))
            weights.read_into(name, offset, piece)
            return piece

        written = write_by_slices(partial, shapes, read, aliases, _facts(source, config, out), file_elements)
        if speaks:
            _copy_tokenizer(folder, partial / TOKENIZER)
    if not speaks:
        print(f"{folder}: no tokenizer.json: name a tokenizer where text is needed (--tokenizer)", file=sys.stderr)
    return out / written.relative_to(partial)


def _check_ends(folder: Path, config: ModelConfig) -> None:
    """Raise UserError where a text would end with an id that the model does not have, or nobody can say with which."""
    if beyond := [number for number in turn_ends(folder) if not 0 <= number < config.vocab_size]:
        raise UserError(
            "a text ends with an id that the model does not have",
            where=folder,
            found=f"{', '.join(map(str, beyond))} of a vocabulary of {config.vocab_size:,}",
            wanted="`eos_token_id` of generation_config.json, and the tokenizer's EOS, below vocab_size",
        )


def _facts(source: Source, config: ModelConfig, out: Path) -> dict[str, Any]:
    seal = seal_of(source, out)
    return {
        "step": 0,
        "identity": content_hash({"import": seal, "model": config.facts()}),
        "execution": "",
        "training": {"import": {"path": str(source.folder), "seal": seal}},
        "recipe": {"name": source.folder.resolve().name, "model": config.model_dump(mode="json")},
        "versions": versions(),
    }


def _copy_tokenizer(folder: Path, to: Path) -> None:
    to.mkdir()
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, to / name)
