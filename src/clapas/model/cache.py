"""Keys and values of the tokens already read, so that generation computes each token once.

Shapes: L layers, B batch, K key-value heads, T capacity, S new tokens, D head_dim.
"""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from clapas.model.config import ModelConfig
from clapas.model.rotary import rotary_angles


class KeyValueCache:
    """Room for `capacity` tokens of each of `batch` texts, allocated once.

    length: tokens held so far; the model adds those that it reads. A text shorter than its neighbours is padded on the
    left, its padding given a document id of its own: documents do not see one another.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        capacity: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (config.num_hidden_layers, batch, config.num_key_value_heads, capacity, config.head_dim)
        self.keys_LBKTD = torch.zeros(shape, dtype=dtype, device=device)
        self.values_LBKTD = torch.zeros(shape, dtype=dtype, device=device)
        self.document_ids_BT = torch.zeros(batch, capacity, dtype=torch.long, device=device)
        self.length = 0
        self._config = config
        self._angles: tuple[Tensor, Tensor] | None = None

    @property
    def capacity(self) -> int:
        """Tokens of one text that there is room for."""
        return self.keys_LBKTD.shape[3]

    def angles(self, positions_BS: Tensor | None, new: int) -> tuple[Tensor, Tensor]:
        """The rotary angles of `new` tokens' positions (see `rotary`), which are below the capacity; computed once.

        positions_BS: by default those that follow what the cache holds.
        """
        if self._angles is None or len(self._angles[0]) < self.capacity:
            every = torch.arange(self.capacity, device=self.keys_LBKTD.device)[None]
            cos, sin = rotary_angles(every, self._config, self.keys_LBKTD.dtype)
            self._angles = cos[0], sin[0]
        at = slice(self.length, self.length + new)
        cos, sin = (table[at][None] if positions_BS is None else table[positions_BS] for table in self._angles)
        return cos, sin

    def keep(self, rows: list[int]) -> None:
        """Forget all texts but these."""
        self.keys_LBKTD, self.values_LBKTD = self.keys_LBKTD[:, rows], self.values_LBKTD[:, rows]
        self.document_ids_BT = self.document_ids_BT[rows]

    def extend(self, layer: int, keys_BKSD: Tensor, values_BKSD: Tensor) -> tuple[Tensor, Tensor]:
        """Add a layer's new keys and values; returns all of that layer's, as views of (B, K, length + S, D).

        `length` itself grows once all layers are done. Raises ValueError where the capacity does not suffice.
        """
        end = self.length + keys_BKSD.shape[2]
        if end > self.capacity:
            raise ValueError(f"{end} tokens do not fit a cache of {self.capacity}")
        self.keys_LBKTD[layer, :, :, self.length : end] = keys_BKSD
        self.values_LBKTD[layer, :, :, self.length : end] = values_BKSD
        return self.keys_LBKTD[layer, :, :, :end], self.values_LBKTD[layer, :, :, :end]

    def repeated(self, rows: list[int], room: int) -> KeyValueCache:
        """A cache of other texts: the i-th begins as text `rows[i]` of this one, with room for `room` more tokens."""
        other = copy(self)
        size = (*self.keys_LBKTD.shape[:1], len(rows), self.keys_LBKTD.shape[2], self.length + room)
        for name in ("keys_LBKTD", "values_LBKTD"):
            old = getattr(self, name)
            new = old.new_zeros(*size, old.shape[-1])
            new[:, :, :, : self.length] = old[:, rows, :, : self.length]
            setattr(other, name, new)
        other.document_ids_BT = self.document_ids_BT.new_zeros(len(rows), self.length + room)
        other.document_ids_BT[:, : self.length] = self.document_ids_BT[rows, : self.length]
        return other

    def extend_documents(self, document_ids_BS: Tensor) -> Tensor:
        """Add the new tokens' document ids; returns all of them, (B, length + S)."""
        end = self.length + document_ids_BS.shape[1]
        self.document_ids_BT[:, self.length : end] = document_ids_BS
        return self.document_ids_BT[:, :end]
