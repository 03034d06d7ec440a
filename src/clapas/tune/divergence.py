"""How far a student is from what is known of its teacher: k tokens by name, and all others as one event.

Of a vocabulary of V tokens the teacher's k likeliest keep their probabilities, and the rest is a bucket with what is
left: k + 1 events on both sides. The divergence between them is a lower bound of the one over all tokens, equal to it
where k = V, and 0 with a gradient of 0 where the student is the teacher. Without the bucket (the k made to sum to 1) a
student that is the teacher would be pushed to put all of its mass on them (Anshumann et al., 2025, arXiv:2503.16870).

What a teacher says is rounded to 16 bits, so that it is the same whether it is stored or asked live.
Shapes: N rows, k tokens, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Kind = Literal["forward_kl", "reverse_kl", "jsd"]
LOWEST = float(torch.finfo(torch.float16).min)


class Told(NamedTuple):
    """What a teacher says of some next tokens, at one temperature.

    ids_Nk: its likeliest tokens, int64, the likeliest first. log_probabilities: fp16, (N, k + 1), the last of all other
    tokens together; (N, k) where k is the whole vocabulary and there are no others.
    """

    ids_Nk: Tensor
    log_probabilities: Tensor


def told_by(logits_NV: Tensor, top_k: int, temperature: float) -> Told:
    """What a teacher with these logits says. logits_NV: of the tokenizer's ids alone."""
    scaled_NV = logits_NV.float() / temperature
    ids_Nk = scaled_NV.topk(top_k, dim=-1).indices
    return Told(ids_Nk, events(scaled_NV, ids_Nk).clamp(min=LOWEST).half())


def events(scaled_NV: Tensor, ids_Nk: Tensor) -> Tensor:
    """Log-probabilities of the tokens that are named, and then of all others together where there are others."""
    normaliser_N1 = scaled_NV.logsumexp(-1, keepdim=True)
    named_Nk = scaled_NV.gather(-1, ids_Nk) - normaliser_N1
    if ids_Nk.shape[-1] == scaled_NV.shape[-1]:
        return named_Nk
    others_N1 = scaled_NV.scatter(-1, ids_Nk, -math.inf).logsumexp(-1, keepdim=True) - normaliser_N1
    return torch.cat([named_Nk, others_N1], dim=-1)


def normalised(log_probabilities: Tensor, dtype: torch.dtype) -> Tensor:
    """What 16 bits left of log-probabilities, again summing to 1."""
    return log_probabilities.to(dtype).log_softmax(-1)


def divergence(kind: Kind, teacher: Tensor, student: Tensor) -> Tensor:
    """Of each row, in nats, (N,). teacher, student: log-probabilities of the same events, all finite."""
    match kind:
        case "forward_kl":
            return _kl(teacher, student)
        case "reverse_kl":
            return _kl(student, teacher)
        case "jsd":
            mixture = torch.logaddexp(teacher, student) - math.log(2)
            return (_kl(teacher, mixture) + _kl(student, mixture)) / 2


def _kl(first: Tensor, second: Tensor) -> Tensor:
    return (first.exp() * (first - second)).sum(-1)
