"""`clapas export`: a checkpoint as a Hugging Face folder, which stock tools load.

Weights are read from the checkpoint's fp32 masters by pieces, straight into what is written, so that memory holds one
tensor as it is stored, however large the model. The folder appears whole or not at all, and never replaces another.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import torch

from clapas.checkpoint.format import Weights
from clapas.checkpoint.reader import CheckpointReader, find_checkpoint, verified_meanwhile
from clapas.evaluate.load import CONFIG, check_vocabulary, model_config_of, tokenizer_folder_of
from clapas.evaluate.stop_ids import GENERATION_CONFIG, turn_ends
from clapas.model.build import parameter_shapes
from clapas.model.config import ModelConfig
from clapas.model.hf_config import Dtype, generation_config, to_hf_config
from clapas.model.hf_weights import write_weights
from clapas.model.source import weights_of
from clapas.recipe.errors import UserError
from clapas.release.gguf.about import about_export
from clapas.release.gguf.write import write_ggufs
from clapas.release.out_folder import out_folder, refuse_to_replace
from clapas.release.tokenizer_files import write_json, write_tokenizer
from clapas_data.encode import TokenizerFolder, open_tokenizer
from clapas_data.manifest import MANIFEST, read_manifest

Precision = Literal["bf16", "fp32"]
DTYPES: dict[Precision, tuple[Dtype, torch.dtype]] = {
    "bf16": ("bfloat16", torch.bfloat16),
    "fp32": ("float32", torch.float32),
}
SHARD_BYTES = 5 * 10**9
"""Largest file of weights: small enough to fetch again after a broken line."""
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def export(
    run_or_checkpoint: Path,
    out: Path,
    *,
    dtype: Precision = "bf16",
    shard_bytes: int = SHARD_BYTES,
    keep_padding: bool = False,
    tokenizer: Path | None = None,
    weights: Weights | None = None,
    gguf: tuple[str, ...] = (),
) -> Path:
    """Write a run's newest sound checkpoint, or a given one, as the Hugging Face folder `out`; returns it.

    dtype: fp32 are the masters themselves, bf16 the masters rounded to nearest even. shard_bytes: most bytes of a file
    of weights. keep_padding: also the rows of the vocabulary after the tokenizer's last id, which `config.json` then
    declares. tokenizer: its folder, by default the one beside the data of the run. weights: as they train (`raw`) or
    their `average`; by default the average where one was kept. gguf: quantisations of GGUF files, for `gguf/`.
    Raises UserError where there is no checkpoint, `out` is not empty, or the tokenizer is missing or another one.
    """
    refuse_to_replace(out)
    reader = CheckpointReader(find_checkpoint(run_or_checkpoint), verify=False)
    trained = model_config_of(reader)
    opened = open_tokenizer(tokenizer or tokenizer_folder_of(reader))
    _check_tokenizer(opened, reader, trained)
    ids = opened.record.vocab_size
    # the rows of embedding and head lie in order, so a smaller vocabulary is their beginning
    config = trained if keep_padding else trained.model_copy(update={"vocab_size": ids})
    name, torch_dtype = DTYPES[dtype]
    fill = weights_of(reader, trained, weights).read_into
    special: dict[str, Any] = {key: getattr(opened.record, key) for key in ("eos", "bos", "pad")}
    with out_folder(out) as folder, verified_meanwhile(reader):
        write_weights(folder, parameter_shapes(config), fill, torch_dtype, shard_bytes)
        write_json(folder / CONFIG, to_hf_config(config, **special, dtype=name, unpadded=ids))
        write_json(folder / GENERATION_CONFIG, generation_config(**special, ends=turn_ends(opened.path)))
        write_tokenizer(opened.path, folder, config.max_position_embeddings)
        write_ggufs(folder, gguf, about_export(out.name))
    return out


def shard_bytes_of(text: str) -> int:
    """The bytes that `--shard-size` says: `5GB`, `500MB`, `2GiB` or a number. Raises UserError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]I?B|)", text.strip().upper())
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if size <= 0:
        raise UserError("not a size", where="--shard-size", found=text, wanted="such as 5GB, 500MB or 2GiB")
    return size


def _check_tokenizer(opened: TokenizerFolder, reader: CheckpointReader, config: ModelConfig) -> None:
    """The tokenizer fits the model, and is the one that made the run's shards, where these are at hand."""
    check_vocabulary(config, opened.record, opened.path)
    read = reader.recipe.get("data")  # an imported model has read none
    if read is None or not ((data := Path(read["path"])) / MANIFEST).is_file():
        return
    made_by = read_manifest(data).tokenizer  # the shards may have gone since
    if made_by is not None and made_by != opened.record:
        raise UserError(
            "not the tokenizer that the model trained with",
            where=opened.path,
            found=opened.record.describe(),
            wanted=f"{made_by.describe()}, which {data / MANIFEST} names",
        )
