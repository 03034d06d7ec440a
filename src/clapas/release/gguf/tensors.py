"""The tensors of a GGUF: their names, types and order of rows, and where each one's numbers come from.

Two things differ from a Hugging Face folder. A Llama's rotary positions turn neighbouring dimensions there and not, as
in Hugging Face's, the first half of a head with the second, so the rows of its queries and keys stand in another order;
Qwen's turn halves on both sides. And Llama 3.1's stretched positions are a tensor of factors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from clapas.model.build import parameter_shapes
from clapas.model.config import ModelConfig
from clapas.model.rope_scaling_config import Llama3Scaling
from clapas.model.rotary import rotary_frequencies
from clapas.model.source import WeightSource
from clapas.release.gguf.architecture import NAMES
from clapas.release.gguf.quantisations import Kind, Quantisation, kind_of
from clapas_data.optional import needs

CHUNK = 2**22
"""Elements that are read and quantised together: 16 MiB in fp32."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor of a GGUF. shape: as in torch, rows last but one. parameter: of ours that it holds.

    heads: those whose rows are reordered, 0 where none are.
    """

    name: str
    parameter: str
    shape: tuple[int, ...]
    kind: Kind
    heads: int = 0

    @property
    def columns(self) -> int:
        """Of a row."""
        return self.shape[-1]

    @property
    def rows(self) -> int:
        """Of all matrices together."""
        return int(np.prod(self.shape[:-1], dtype=np.int64))

    def places(self) -> np.ndarray:
        """Row in a Hugging Face folder -> row in the GGUF, int64."""
        rows = np.arange(self.rows)
        if not self.heads:
            return rows
        halves = rows.reshape(self.heads, 2, -1)  # (heads, half, pair) -> head * size + 2 * pair + half
        size = 2 * halves.shape[-1]
        head, half, pair = np.indices(halves.shape)
        return (head * size + 2 * pair + half).ravel()


def planned_tensors(config: ModelConfig, quantisation: Quantisation) -> list[Planned]:
    """Every tensor that holds a parameter, in the model's order; a tied head is none. Named by `gguf`'s own map."""
    with needs("gguf", "GGUF", "release"):
        import gguf
    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == NAMES[config.architecture])
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    planned: list[Planned] = []
    for parameter, shape in parameter_shapes(config).items():
        stem, _, suffix = parameter.rpartition(".")
        if suffix not in ("weight", "bias"):  # all experts of a layer, which have no suffix here
            stem, suffix = parameter, "weight"
        name = names.get_name(stem)
        assert name is not None, parameter
        kind = kind_of(quantisation, f"{name}.{suffix}", shape)
        planned.append(Planned(f"{name}.{suffix}", parameter, shape, kind, _reordered_heads(config, stem)))
    return planned


def _reordered_heads(config: ModelConfig, stem: str) -> int:
    """The heads of a Llama's queries or keys; 0 for what keeps its rows."""
    if config.architecture != "llama":
        return 0
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    return heads.get(stem.rpartition(".")[2], 0)


def rope_factors(config: ModelConfig) -> np.ndarray | None:
    """What Llama 3.1's scaling divides each frequency by, (head_dim / 2,), fp32; None for other positions."""
    if not isinstance(config.rope_scaling, Llama3Scaling):
        return None
    usual, _ = rotary_frequencies(config.model_copy(update={"rope_scaling": None}), torch.device("cpu"))
    stretched, _ = rotary_frequencies(config, torch.device("cpu"))
    return (usual / stretched).numpy()


ROPE_FACTORS = "rope_freqs.weight"
"""The name of that tensor, one for all layers."""


def pieces(source: WeightSource, planned: Planned) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows in the GGUF, their numbers in fp32, (rows, columns)) of a tensor, piece by piece of a folder's order."""
    places, step = planned.places(), max(1, CHUNK // planned.columns)
    for start in range(0, planned.rows, step):
        to = places[start : start + step]
        piece = torch.empty(len(to) * planned.columns)
        source.read_into(planned.parameter, start * planned.columns, piece)
        yield to, piece.numpy().reshape(len(to), planned.columns)
