"""The model that a run begins with (`model.from`): where it is and what its dimensions are. No torch.

A Hugging Face folder, a run's folder (its newest checkpoint) or a checkpoint. `clapas plan`, a recipe's checks and the
ranks' start read nothing of it but a few kilobytes; its weights are `hf_source`'s and `checkpoint.reader`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
import pydantic

from clapas.checkpoint.committed import COMMITTED, committed_checkpoints
from clapas.model.config import ModelConfig
from clapas.model.hf_config import from_hf_config
from clapas.model.hf_rope import explained
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import file_hash

CONFIG = "config.json"
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer"
MAY_DIFFER = ("max_position_embeddings", "rope_theta", "rope_scaling")
"""What a run may change of the model that it begins with: its longest text and how positions turn (context extension).
`vocab_size` may grow beside them."""


@dataclass(frozen=True, slots=True)
class Source:
    """A folder with a model: of which kind, and where exactly (of a run: its newest checkpoint)."""

    kind: Literal["huggingface", "checkpoint"]
    folder: Path

    def config(self) -> ModelConfig:
        """Its dimensions. Raises UserError, naming file and field, where it is no model, or one that we lack."""
        if self.kind == "huggingface":
            return from_hf_config(_object(self.folder / CONFIG), where=str(self.folder / CONFIG))
        try:
            return ModelConfig.model_validate(self._recipe().get("model") or {})
        except pydantic.ValidationError as error:
            where, found = self.folder / MANIFEST, explained(error)
            raise UserError("the checkpoint's model is unknown here", where=where, found=found) from None

    def tokenizer(self) -> Path | None:
        """The folder of its tokenizer; None where it is not at hand."""
        if self.kind == "huggingface":
            return self.folder if has_tokenizer(self.folder) else None
        manifest = _object(self.folder / MANIFEST)
        return tokenizer_of(self.folder, manifest.get("recipe") or {}, tokenizer_recorded(manifest.get("training")))

    def tokenizer_hash(self) -> str | None:
        """SHA-256 of the `tokenizer.json` that it learned by, as its run wrote it down or as it is at hand."""
        if self.kind == "checkpoint" and (
            recorded := tokenizer_recorded(_object(self.folder / MANIFEST).get("training"))
        ):
            return recorded
        folder = self.tokenizer()
        return None if folder is None else file_hash(folder / "tokenizer.json")

    def _recipe(self) -> dict[str, Any]:
        return _object(self.folder / MANIFEST).get("recipe") or {}


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer's two files are in a folder."""
    return all((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))


def tokenizer_recorded(training: Mapping[str, Any] | None) -> str | None:
    """The hash of the tokenizer that made the tokens of a checkpoint's run. training: of its manifest."""
    return (training or {}).get("tokenizer")


def tokenizer_of(checkpoint: Path, recipe: Mapping[str, Any], recorded: str | None) -> Path | None:
    """The folder of a checkpoint's tokenizer: beside the run's checkpoints, beside its data, or of the model that it
    began with; None where it is nowhere.

    recipe: the checkpoint's. recorded: the hash that it must have, where the run wrote one down. Of a run that did not,
    the model that it began with has no tokenizer to give where the run learned other ids than that model's.
    """
    folders = [checkpoint.resolve().parents[1] / TOKENIZER]
    if data := (recipe.get("data") or {}).get("path"):
        folders.append(Path(data) / TOKENIZER)
    for folder in folders:
        if has_tokenizer(folder) and _is_recorded(folder, recorded):
            return folder
    return _tokenizer_begun_with(recipe.get("model") or {}, recorded)


def _tokenizer_begun_with(model: Mapping[str, Any], recorded: str | None) -> Path | None:
    """That of the model in `model.from`, where it is the run's too. model: of the checkpoint's recipe."""
    source = find_source(Path(model["from"])) if model.get("from") else None
    if source is None:
        return None
    learned_others = model.get("other_tokenizer") or model.get("vocab_size") != source.config().vocab_size
    folder = None if recorded is None and learned_others else source.tokenizer()
    return folder if folder is not None and _is_recorded(folder, recorded) else None


def _is_recorded(folder: Path, recorded: str | None) -> bool:
    return recorded in (None, file_hash(folder / "tokenizer.json"))


def is_resolved(given: Mapping[str, Any]) -> bool:
    """Whether a `model` section is one that a run has written down: its source need not be there."""
    return bool(given.get("from_seal")) and says_all(given)


def says_all(given: Mapping[str, Any]) -> bool:
    """Whether a `model` section says by itself what the model is."""
    return all(given.get(key) is not None for key, info in ModelConfig.model_fields.items() if info.is_required())


def find_source(folder: Path) -> Source | None:
    """The model in a folder; None where there is none."""
    if (folder / COMMITTED).is_file():
        return Source("checkpoint", folder)
    if (folder / CONFIG).is_file():
        return Source("huggingface", folder)
    if there := committed_checkpoints(folder / "checkpoints"):
        return Source("checkpoint", there[-1])
    return None


def is_adapter_folder(folder: Path) -> bool:
    """Whether a folder holds an adapter in PEFT's format alone, which is no model."""
    return (folder / "adapter_config.json").is_file() and not (folder / CONFIG).is_file()


def no_source(folder: Path) -> str:
    """That there is no model in a folder, in the form of a check's message: what was found, what is wanted."""
    if is_adapter_folder(folder):
        return (
            f"model.from: found {folder}, an adapter in PEFT's format; must be the model that it is on: "
            f"model.from=BASE and lora.from={folder}"
        )
    held = "is not there"
    if folder.is_dir():
        held = f"holds {', '.join(sorted(item.name for item in folder.iterdir())[:6]) or 'nothing'}"
    return (
        f"model.from: found {folder}, which {held}; must be a Hugging Face folder (with {CONFIG}), a run that has a "
        "checkpoint, or a checkpoint"
    )


def model_values(given: Mapping[str, Any], base: ModelConfig) -> dict[str, Any]:
    """A recipe's whole `model` section: what is given, over the dimensions of the model that it begins with.

    Raises ValueError that names every key which contradicts that model.
    """
    known = base.facts()
    said = {key: value for key, value in given.items() if value is not None or key == "rope_scaling"}
    wrong = [
        f"model.{key}: found {value!r}; the model of model.from has {known[key]!r}"
        for key, value in said.items()
        if key in known and key not in MAY_DIFFER and not _agrees(key, value, known[key])
    ]
    if wrong:
        raise ValueError(
            "; ".join(wrong) + f": leave it out. What may differ: {', '.join(MAY_DIFFER)}, and a larger vocab_size"
        )
    return {**known, **said}


def _agrees(key: str, value: Any, known: Any) -> bool:
    if isinstance(known, bool) or not isinstance(known, int | float):
        return value == known
    try:
        number = float(value)
    except (TypeError, ValueError):
        return False
    return number == known or (key == "vocab_size" and number > known)


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises UserError where it holds none."""
    try:
        fields = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}", where=path) from None
    if not isinstance(fields, dict):
        raise UserError("not a model's config", where=path, found=type(fields).__name__, wanted="an object")
    return fields
