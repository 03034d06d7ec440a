"""A stranger: a clean, offline process with stock transformers that looks at folders and says what it sees.

It knows nothing of Clapas (`-I`, an environment of its own): what loads in it loads anywhere. One process looks at many
folders, so that importing transformers is paid once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Probes:
    """What the stranger is to compute. ids: token sequences, some as long as the model's longest text.
    held_out: sequences with the tokens that count in each (`CONTRACT: helper C`)."""

    ids: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the stranger saw. error: why it does not load, else None. keys: transformers' loading info, by kind, where
    not empty. parameters: as it counts them. logits: (sequence, token, vocabulary) of each probe, in fp32."""

    error: str | None
    keys: dict[str, Any]
    parameters: int
    logits: tuple[torch.Tensor, ...]


class Stranger:
    """The process; a context manager. To be completed by helper C."""

    def look(self, folder: Path, probes: Probes | None) -> Seen:
        """Load model and tokenizer of a folder, and compute the probes."""
        raise NotImplementedError
