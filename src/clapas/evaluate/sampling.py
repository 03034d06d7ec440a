"""How the next token is chosen from its logits. Shapes: B texts, V vocabulary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clapas.recipe.errors import UserError


@dataclass(frozen=True, slots=True)
class Sampling:
    """The filters act in this order, as in transformers; the defaults of the last four leave everything in.

    temperature: divides the logits; 0 takes the likeliest token every time.
    top_k: only the k likeliest tokens; 0 for all.
    top_p: only the likeliest tokens that together reach this probability (Holtzman et al., 2020).
    min_p: only tokens at least this share as likely as the likeliest (Nguyen et al., 2024).
    repetition_penalty: divides the logit of a token that the text already has (multiplies a negative one; Keskar et
        al., 2019); acts first.
    Raises UserError where a value has no meaning.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, holds, wanted in (
            ("temperature", 0 <= self.temperature < math.inf, "0 (the likeliest token every time) or more"),
            ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
            ("min_p", 0 <= self.min_p <= 1, "from 0 to 1"),
            ("repetition_penalty", 0 < self.repetition_penalty < math.inf, "above 0; 1 is none"),
        ):
            if not holds:
                raise UserError(f"{name} has no such value", found=getattr(self, name), wanted=wanted)

    @property
    def looks_back(self) -> bool:
        """Whether a choice depends on the tokens that a text already has."""
        return self.repetition_penalty != 1

    def choose(self, logits_BV: Tensor, seen_BV: Tensor | None, generators: list[torch.Generator]) -> Tensor:
        """The next token of each text, (B). seen_BV: whether a text has a token, where `looks_back`.

        generators: one a text.
        """
        logits_BV = logits_BV.float()
        if self.looks_back:
            assert seen_BV is not None
            logits_BV = torch.where(seen_BV, _penalised(logits_BV, self.repetition_penalty), logits_BV)
        if self.temperature == 0:
            return logits_BV.argmax(-1)
        return _drawn(self._filter(logits_BV / self.temperature).softmax(-1), generators)

    def _filter(self, logits_BV: Tensor) -> Tensor:
        """The logits, at minus infinity where a filter leaves a token out."""
        if 0 < self.top_k < logits_BV.shape[-1]:
            smallest_B1 = logits_BV.topk(self.top_k).values[:, -1:]
            logits_BV = logits_BV.masked_fill(logits_BV < smallest_B1, -math.inf)
        if self.top_p < 1:
            sorted_BV, places_BV = logits_BV.sort(descending=True)
            p_BV = sorted_BV.softmax(-1)
            beyond_BV = p_BV.cumsum(-1) - p_BV >= self.top_p  # what lies before a token already suffices
            logits_BV = logits_BV.masked_fill(beyond_BV.scatter(-1, places_BV, beyond_BV), -math.inf)
        if self.min_p > 0:
            least_B1 = logits_BV.amax(-1, keepdim=True) + math.log(self.min_p)
            logits_BV = logits_BV.masked_fill(logits_BV < least_B1, -math.inf)
        return logits_BV


def _drawn(p_BV: Tensor, generators: list[torch.Generator]) -> Tensor:
    """An index of each row, by its probabilities, (B): where p / an exponential is largest (`torch.multinomial` does
    the same, row by row, and on a GPU waits for each)."""
    noise_BV = torch.empty_like(p_BV)
    for noise_V, generator in zip(noise_BV, generators, strict=True):
        noise_V.exponential_(generator=generator)
    return (p_BV / noise_BV.clamp_(min=torch.finfo(p_BV.dtype).tiny)).argmax(-1)


def _penalised(logits: Tensor, penalty: float) -> Tensor:
    return torch.where(logits < 0, logits * penalty, logits / penalty)
