"""A model ready to use, with its tokenizer: from a Hugging Face folder, a run, or one of its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import torch
from tokenizers import Tokenizer

from clapas.checkpoint.committed import COMMITTED, FOLDER
from clapas.checkpoint.format import Weights
from clapas.checkpoint.reader import CheckpointReader, open_checkpoint
from clapas.model.build import empty_model
from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.hf_reader import load_weights
from clapas.model.source import filled_model, weights_of
from clapas.model.source_config import TOKENIZER, Source, is_adapter_folder, tokenizer_of, tokenizer_recorded
from clapas.recipe.errors import UserError
from clapas_data.encode import open_tokenizer
from clapas_data.manifest import TokenizerRecord

CONFIG = "config.json"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""What a model can compute in, by `--dtype`."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode.

    source: the folder that it came from. special: its tokenizer's ids and hash.
    sequence_length: the tokens of a training sample, or, of a model that is not ours, the most that it takes.
    tokenizer_folder: where its tokenizer lies, with the chat template, if it has one.
    data: the folder of shards that it trained on, where known.
    """

    model: CausalLM
    tokenizer: Tokenizer
    special: TokenizerRecord
    source: Path
    sequence_length: int
    tokenizer_folder: Path
    data: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.lm_head.weight.device


def load(
    path: Path,
    *,
    tokenizer: Path | None = None,
    weights: Weights | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> LoadedModel:
    """Load a model.

    path: a Hugging Face folder, a run (its newest sound checkpoint), or a checkpoint.
    tokenizer: its folder, where it is not the model's own folder or the one beside the run's data.
    weights: of a checkpoint: `raw`, as they train, or their `average`; by default the average where one was kept.
    device: by default the GPU where there is one.
    Raises UserError where the folder is no model, a file is missing, or tokenizer and model do not fit.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise UserError("no such model", where=path, found=found, wanted=_WANTED)
    if is_hf_folder(path):
        if weights is not None:
            raise UserError("a Hugging Face folder has one set of weights", where=path, way_out="leave --weights out")
        loaded = _from_hf_folder(path, tokenizer or path, dtype, device)
    elif _is_ours(path):
        loaded = _from_checkpoint(path, tokenizer, weights, dtype, device)
    else:
        found = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "an empty folder"
        merged = "an adapter alone: export its run without --adapter, or give the run itself"
        way_out = merged if is_adapter_folder(path) else None
        raise UserError("not a model", where=path, found=found, wanted=_WANTED, way_out=way_out)
    check_vocabulary(loaded.model.config, loaded.special, path)
    return loaded


_WANTED = f"a Hugging Face folder (with {CONFIG}), a run, or one of its checkpoints"


def is_hf_folder(path: Path) -> bool:
    """Whether a folder looks like a Hugging Face model."""
    return (path / CONFIG).is_file() and not (path / COMMITTED).is_file()


def _is_ours(path: Path) -> bool:
    return FOLDER.fullmatch(path.name) is not None or any(
        (path / name).exists() for name in (COMMITTED, "recipe.yaml", "checkpoints")
    )


def _from_hf_folder(path: Path, tokenizer: Path, dtype: torch.dtype, device: torch.device | str) -> LoadedModel:
    config = Source("huggingface", path).config()
    opened = open_tokenizer(tokenizer)
    model = empty_model(config, dtype, device)
    load_weights(model, path)
    return LoadedModel(
        model.eval(),
        read_tokenizer(opened.path),
        opened.record,
        path,
        sequence_length=config.max_position_embeddings,
        tokenizer_folder=opened.path,
    )


def _from_checkpoint(
    path: Path, tokenizer: Path | None, weights: Weights | None, dtype: torch.dtype, device: torch.device | str
) -> LoadedModel:
    reader = open_checkpoint(path)
    config = model_config_of(reader)
    read = reader.recipe.get("data")  # an imported model has read none
    data = None if read is None else Path(read["path"])
    opened = open_tokenizer(tokenizer or tokenizer_folder_of(reader))
    model = filled_model(config, weights_of(reader, config, weights), dtype, device)
    return LoadedModel(
        model.eval(),
        read_tokenizer(opened.path),
        opened.record,
        reader.folder,
        sequence_length=config.max_position_embeddings if read is None else read["sequence_length"],
        tokenizer_folder=opened.path,
        data=data if data is not None and data.is_dir() else None,
    )


def model_config_of(reader: CheckpointReader) -> ModelConfig:
    """The model of a checkpoint. Raises UserError where this version does not know it."""
    values: dict[str, Any] = reader.recipe.get("model", {})
    try:
        return ModelConfig.model_validate(values)
    except pydantic.ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise UserError("the checkpoint's model is unknown to this version", where=reader.folder, found=found) from None


def tokenizer_folder_of(reader: CheckpointReader) -> Path:
    """A checkpoint's tokenizer, as a rule beside the data that it read. Raises UserError where it is not there."""
    recorded = tokenizer_recorded(reader.manifest.training)
    folder = tokenizer_of(reader.folder, reader.recipe, recorded)
    if folder is None:
        raise UserError(
            "the run's tokenizer is not where its recipe says",
            where=Path((reader.recipe.get("data") or {}).get("path", reader.folder)) / TOKENIZER,
            wanted=None if recorded is None else f"tokenizer.json of SHA-256 {recorded[:16]}…, which made its tokens",
            way_out="run from the folder where the run was started, or copy the tokenizer's folder to "
            f"{reader.folder.parents[1] / TOKENIZER}; eval, generate and chat also take --tokenizer FOLDER",
        )
    return folder


def read_tokenizer(folder: Path) -> Tokenizer:
    """The `tokenizer.json` of a folder. Raises UserError where it is not one."""
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"not a tokenizer: {error}", where=folder / "tokenizer.json") from None


def check_vocabulary(config: ModelConfig, tokenizer: TokenizerRecord, where: Path) -> None:
    """Raise UserError where the tokenizer has ids that the model does not."""
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            "the tokenizer has more ids than the model",
            where=where,
            found=f"{tokenizer.vocab_size} ids in the tokenizer, vocab_size {config.vocab_size} in the model",
            wanted="the tokenizer that the model trained with",
        )
