"""Bits per byte: how well a model foretells a text, whatever its tokenizer.

Every token of the held-out split is scored exactly once, EOS included (`loader.windows`): windows overlap by half, so
each token but the first few has at least half a window before it. The sum of the cross-entropies, from nats to bits, is
divided by the UTF-8 bytes of the text. A compressor's size of the same text over its bytes is the same measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from clapas.loader.held_out import HeldOut


@dataclass(frozen=True, slots=True)
class Scored:
    """Sums over the windows that were scored, of one rank; add them up over ranks.

    loss_sum: nats. tokens: targets scored.
    """

    loss_sum: float
    tokens: int

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats a token. Raises ZeroDivisionError where nothing was scored."""
        return self.loss_sum / self.tokens

    def bits_per_byte(self, windows: HeldOut) -> float | None:
        """Bits a byte of the text; None where the shards do not know their text's bytes.

        Where only a part was scored (`limit`), the split's mean of bytes a token stands in for that part's.
        """
        if windows.text_bytes is None:
            return None
        return self.loss / math.log(2) * windows.token_count / windows.text_bytes


@torch.no_grad()
def score(
    model: Callable[..., tuple[Tensor, Tensor]],
    windows: HeldOut,
    *,
    device: torch.device | str = "cpu",
    limit: int | None = None,
    positions: tuple[int, int] | None = None,
) -> Scored:
    """Score this rank's windows. No collective here: the caller adds up the ranks' sums.

    model: the decoder, or an engine around it: called with tokens and `targets_BS`, gives (objective, losses).
    limit: stop once the ranks together have scored about so many tokens; all ranks stop after the same batch.
    positions: [start, stop) of each window that this rank holds, where ranks share windows; by default all.
    """
    batches = windows.batches_for(limit)
    loss_sum = torch.zeros((), dtype=torch.float64, device=device)
    tokens = 0
    for _, batch in zip(range(batches), windows, strict=False):
        own = batch if positions is None else batch.slice(*positions)
        on_device = own.to(device)
        _, losses_B = model(
            on_device.tokens,
            on_device.positions,
            on_device.document_ids,
            document_starts=on_device.document_starts,
            targets_BS=on_device.targets,
        )
        loss_sum += losses_B.sum()
        tokens += own.target_count
    return Scored(loss_sum.item(), tokens)
