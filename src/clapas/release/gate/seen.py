"""What a stranger is asked and what it saw, as plain values. P positions asked for, S sequence, V vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch is imported while the process imports transformers, not before it is started
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Probe:
    """A token sequence, the place of each token in its text (S), and which of these (P) logits are asked for."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    keep: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HeldOutText:
    """Texts end to end, each one sequence that begins at position 0. tokens, targets: flat, the token that each
    predicts or -100. lengths: of each text. count: of targets."""

    tokens: Tensor
    targets: Tensor
    lengths: Tensor
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """What the stranger is to compute. held_out: None where the loss is not to be had by it."""

    sequences: tuple[Probe, ...]
    held_out: HeldOutText | None = None


@dataclass(frozen=True, slots=True)
class SeenText:
    """A text: its ids, those that a call with the tokenizer's own defaults gives, and what they decode to."""

    ids: tuple[int, ...]
    as_called: tuple[int, ...]
    decoded: str


@dataclass(frozen=True, slots=True)
class SeenTokenizer:
    """What the tokenizer does. texts: of `probe_texts.TEXTS`, in order. special: ids of bos, eos and pad.

    template: the chat template that it brings. rendered: `probe_texts.CONVERSATION`, and the same with the header of
    the next turn; empty where there is no template, or rendering_error.
    """

    kind: str
    length: int
    special: dict[str, int | None]
    texts: tuple[SeenText, ...]
    template: str | None
    rendered: tuple[str, ...]
    rendering_error: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the stranger saw. error: why the model does not load or compute, tokenizer_error: the same of the tokenizer.

    kind: the model's class. dtype: as it loaded. keys: transformers' loading info, by kind, where not empty.
    parameters: as it counts them. finite: whether the logits of a French text are. logits: (P, V) of each probe in
    fp32 arithmetic, own_logits: in the arithmetic of the weights' dtype, empty where that is fp32. loss_sum: nats over
    the held-out text, in fp32 arithmetic.
    """

    error: str | None = None
    tokenizer_error: str | None = None
    tokenizer: SeenTokenizer | None = None
    kind: str = ""
    dtype: str = ""
    keys: dict[str, list[str]] | None = None
    parameters: int = 0
    finite: bool = False
    logits: tuple[Tensor, ...] = ()
    own_logits: tuple[Tensor, ...] = ()
    loss_sum: float | None = None
