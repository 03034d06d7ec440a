"""Our own cached decoding, with the very weights that train: nothing is copied, whatever the ZeRO stage."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from clapas.evaluate.generate import stream_tokens
from clapas.evaluate.sampling import Sampling
from clapas.tune.grpo.config import Grpo
from clapas.tune.grpo.rollouts import Completion
from clapas.tune.objective import Training


class OwnEngine:
    """At ZeRO-3 each token gathers the whole model once, layer by layer, so ranks go on until none generates."""

    def __init__(self, run: Training, objective: Grpo, *, ends: Collection[int], vocabulary: int) -> None:
        self.run, self._objective, self._ends, self._vocabulary = run, objective, frozenset(ends), vocabulary
        self._shares_weights = run.recipe.parallel.zero_stage == 3 and run.ranks.size > 1

    def begin_step(self) -> None:
        """Nothing: it computes with the weights that train."""

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Completion]:
        """See `GenerationEngine`."""
        chosen: list[Tensor] = []
        log_p: list[Tensor] = []

        def observe(logits_BV: Tensor, chosen_B: Tensor) -> None:
            scaled_BV = logits_BV.float() / self._objective.temperature
            chosen.append(chosen_B)
            log_p.append(scaled_BV.log_softmax(-1).gather(1, chosen_B[:, None])[:, 0])

        steps = stream_tokens(
            self.run.engine.deepspeed.module,
            prompts,
            max_new_tokens=self._objective.max_new_tokens,
            eos=self._ends,
            vocabulary=self._vocabulary,
            sampling=Sampling(temperature=self._objective.temperature, top_p=self._objective.top_p),
            seeds=seeds,
            goes_on=self._goes_on,
            observe=observe,
        )
        for _ in steps:
            pass
        tokens_BT, log_p_BT = (torch.stack(column, 1).tolist() for column in (chosen, log_p))
        return [self._until_its_end(*row) for row in zip(tokens_BT, log_p_BT, strict=True)]

    def _goes_on(self, some_go_on: bool) -> bool:
        """Whether a rank that this one shares weights with still generates."""
        self.run.heart.beat()
        return self.run.ranks.sum(float(some_go_on)) > 0 if self._shares_weights else some_go_on

    def _until_its_end(self, tokens: list[int], log_p: list[float]) -> Completion:
        stop = next((place + 1 for place, token in enumerate(tokens) if token in self._ends), len(tokens))
        return Completion(tokens[:stop], log_p[:stop])
