"""The weights that a model begins with: of a Hugging Face folder or of a checkpoint, read whole or by slices.

Where they lie and what model they are is `source_config`'s, which knows no torch.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from clapas.checkpoint.format import DTYPES, Weights
from clapas.checkpoint.ranks import Alone, Ranks
from clapas.checkpoint.reader import CheckpointReader, open_together
from clapas.checkpoint.regions import Part
from clapas.model.build import empty_model, parameter_shapes
from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.hf_reader import HuggingFaceWeights
from clapas.model.lora import merged_weights
from clapas.model.lora_config import DOWN, LoraConfig
from clapas.model.seal import seal_of
from clapas.model.source_config import find_source, no_source
from clapas.recipe.errors import UserError


class WeightSource(Protocol):
    """A model's weights by our parameters' names; a tied head is the embedding. folder: where they lie."""

    folder: Path

    def names(self) -> list[str]:
        """Every parameter."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """A parameter's."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """What a parameter is stored in."""
        ...

    def tensor(self, name: str) -> Tensor:
        """A whole parameter, in the dtype that it is stored in."""
        ...

    def read_into(self, name: str, offset: int, out: Tensor, part: Part | None = None) -> None:
        """Fill `out` (flat, of any dtype, anywhere) with elements from `offset` on, see `CheckpointReader`."""
        ...


class CheckpointWeights:
    """The weights of a checkpoint: by default their average where the run kept one, as everywhere.

    shapes: what it must hold; by default its model's parameters. Raises UserError where it holds others.
    """

    def __init__(
        self,
        reader: CheckpointReader,
        config: ModelConfig,
        which: Weights | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.folder, self._reader = reader.folder, reader
        self._states = reader.weight_states(which)
        stored = {name: reader.shape(name) for name in reader.names()}
        if differing := sorted(set(stored.items()) ^ set((shapes or parameter_shapes(config)).items())):
            found = ", ".join(dict.fromkeys(name for name, _ in differing[:5]))
            raise UserError(
                "the checkpoint's tensors are not those of its recipe's model", where=self.folder, found=found
            )

    def names(self) -> list[str]:
        """Every parameter."""
        return self._reader.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """A parameter's."""
        return self._reader.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        """What a parameter is stored in."""
        return DTYPES[self._reader.manifest.parameters[name].states[self._states[name]]]

    def tensor(self, name: str) -> Tensor:
        """A whole parameter, in the dtype that it is stored in."""
        return self._reader.tensor(name, self._states[name])

    def read_into(self, name: str, offset: int, out: Tensor, part: Part | None = None) -> None:
        """Fill `out` with elements from `offset` on, see `CheckpointReader`."""
        self._reader.read_into(name, self._states[name], offset, out, part)


class WithRows:
    """A source whose vocabulary has grown: its tables end in other rows than the source's, or in more.

    rows: parameter -> (ids, hidden). firsts: parameter -> the id of the first of these; those before are the source's.
    """

    def __init__(self, source: WeightSource, rows: Mapping[str, Tensor], firsts: Mapping[str, int]) -> None:
        self.folder, self._source, self._rows, self._firsts = source.folder, source, rows, firsts

    def names(self) -> list[str]:
        """Every parameter."""
        return self._source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """A parameter's, its new rows included."""
        if name not in self._rows:
            return self._source.shape(name)
        new, hidden = self._rows[name].shape
        return self._firsts[name] + new, hidden

    def dtype(self, name: str) -> torch.dtype:
        """What a parameter is stored in."""
        return self._source.dtype(name)

    def tensor(self, name: str) -> Tensor:
        """A whole parameter, its new rows included."""
        full = torch.empty(self.shape(name), dtype=self.dtype(name))
        self.read_into(name, 0, full.view(-1))
        return full

    def read_into(self, name: str, offset: int, out: Tensor, part: Part | None = None) -> None:
        """Fill `out` with elements from `offset` on; tables of ids are never cut into slices."""
        if name not in self._rows:
            self._source.read_into(name, offset, out, part)
            return
        assert part is None, name
        rows, old = self._rows[name].reshape(-1), self._firsts[name] * self._rows[name].shape[1]
        of_source = max(0, min(out.numel(), old - offset))
        if of_source:
            self._source.read_into(name, offset, out[:of_source])
        first = max(0, offset + of_source - old)
        out[of_source:].copy_(rows[first : first + out.numel() - of_source])


def open_source(path: Path, ranks: Ranks | None = None) -> WeightSource:
    """The weights of a model, checked. A checkpoint's files are verified, by all ranks together.

    ranks: those that open it together, each of which calls this. Raises UserError where there is no model, or its
    tensors are not those of its config; DamagedCheckpointError.
    """
    source = find_source(path)
    if source is None:
        raise UserError(no_source(path))
    config = source.config()
    if source.kind == "huggingface":
        return HuggingFaceWeights(source.folder, config)
    return weights_of(open_together(source.folder, ranks or Alone()), config)


def weights_of(reader: CheckpointReader, config: ModelConfig, which: Weights | None = None) -> WeightSource:
    """The weights of an open checkpoint: of one that holds adapters, their base's, merged.

    which: as `CheckpointReader.weights` takes it. Raises UserError where the base of adapters is not there any more.
    """
    if reader.recipe.get("lora") is None:
        return CheckpointWeights(reader, config, which)
    return AdaptedWeights(reader, config, which)


class AdaptedWeights:
    """The weights of a run with adapters: those of the model that it began with, merged with the checkpoint's adapters.

    Merged in fp32, of the base as it is stored, one parameter at a time; see `model.lora.merged`.
    """

    def __init__(self, reader: CheckpointReader, config: ModelConfig, which: Weights | None = None) -> None:
        self.folder = reader.folder
        lora = LoraConfig.model_validate(reader.recipe["lora"])
        adapters = CheckpointWeights(reader, config, which, lora.shapes(config))
        self._base = base_of(reader)
        self._adapted = {name.removesuffix(DOWN) + "weight" for name in adapters.names() if name.endswith(DOWN)}
        merged = merged_weights(self._base.tensor, adapters.tensor, adapters.names(), lora.scaling)
        self._merged = functools.lru_cache(maxsize=1)(merged)  # its slices are asked for one after the other

    def names(self) -> list[str]:
        """Every parameter of the base."""
        return self._base.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """A parameter's."""
        return self._base.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        """What a parameter is given in."""
        return torch.float32 if name in self._adapted else self._base.dtype(name)

    def tensor(self, name: str) -> Tensor:
        """A whole parameter."""
        return self._merged(name) if name in self._adapted else self._base.tensor(name)

    def read_into(self, name: str, offset: int, out: Tensor, part: Part | None = None) -> None:
        """Fill `out` with elements from `offset` on, see `CheckpointReader`."""
        if name not in self._adapted:
            self._base.read_into(name, offset, out, part)
            return
        whole = self._merged(name)
        held = whole if part is None else whole.narrow(part.dim, part.start, part.stop - part.start)
        out.copy_(held.reshape(-1)[offset : offset + out.numel()])


def base_of(reader: CheckpointReader) -> WeightSource:
    """The weights under a checkpoint's adapters: the model that its run began with, by place and seal.

    Raises UserError where it is not there, or is another one now.
    """
    model, run = reader.recipe["model"], reader.folder.parents[1]
    path = Path(model["from"])
    source = find_source(path)
    found = "nothing" if source is None else f"seal {seal_of(source, run)}"
    if source is None or found != f"seal {model['from_seal']}":
        raise UserError(
            "a checkpoint of adapters needs the model that its run began with",
            where=path,
            found=found,
            wanted=f"seal {model['from_seal']}, as {reader.folder} says",
            way_out="bring that model back to where it was; run from the folder where the run was started",
        )
    return open_source(path)


@torch.no_grad()
def filled_model(
    config: ModelConfig, source: WeightSource, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> CausalLM:
    """A model with a source's weights, read one at a time. Raises UserError where they are another model's."""
    model = empty_model(config, dtype, device)
    for name, parameter in model.named_parameters():
        if name not in source.names() or source.shape(name) != tuple(parameter.shape):
            raise UserError(f"the weights are another model's: {name}", where=source.folder)
        source.read_into(name, 0, parameter.view(-1))
    return model
