"""Answers to many prompts: batches of about equally long ones, dealt to the ranks, all of which get all texts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson
from tokenizers import Tokenizer

from clapas.engine.ranks import Ranks
from clapas.evaluate.sampling import Sampling
from clapas.evaluate.stop_strings import generate_until
from clapas.model.decoder import CausalLM
from clapas_data.manifest import TokenizerRecord

PROMPTS_AT_ONCE = 16
SEEDS_APART = 1_000_003
"""Between the seeds of two batches: within one, each text has the next seed."""


@dataclass(frozen=True, slots=True)
class Writer:
    """What writes. ranks: who share the work; None: this process alone. seed: of all that is sampled.

    ends: tokens that end every answer, beside EOS (see `stop_ids`).
    """

    model: CausalLM
    tokenizer: Tokenizer
    special: TokenizerRecord
    ranks: Ranks | None = None
    seed: int = 0
    ends: Collection[int] = ()

    @property
    def longest(self) -> int:
        """Tokens of a prompt with its answer."""
        return self.model.config.max_position_embeddings

    def room(self, max_new_tokens: int) -> int:
        """Tokens that a prompt may have beside an answer; of a short model half of its positions."""
        return self.longest - min(max_new_tokens, self.longest // 2)

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        until: Sequence[str] = (),
        sampling: Sampling = Sampling(temperature=0),  # noqa: B008 frozen
    ) -> list[str]:
        """What comes after each prompt, cut on its left where it is too long. A collective where there are ranks."""
        room = self.room(max_new_tokens)
        cut = [list(prompt[-room:]) for prompt in prompts]
        order = sorted(range(len(cut)), key=lambda place: (-len(cut[place]), cut[place], place))
        batches = [order[start : start + PROMPTS_AT_ONCE] for start in range(0, len(order), PROMPTS_AT_ONCE)]
        rank, world = (0, 1) if self.ranks is None else (self.ranks.data_rank, self.ranks.data_size)
        texts: dict[str, str] = {}
        for number in range(rank, len(batches), world):
            own = generate_until(
                self.model,
                self.tokenizer,
                [cut[place] for place in batches[number]],
                until=until,
                max_new_tokens=self.longest - room,
                eos={self.special.eos, *self.ends},
                vocabulary=self.special.vocab_size,
                sampling=sampling,
                seed=self.seed + number * SEEDS_APART,
            )
            texts |= {str(place): text for place, text in zip(batches[number], own, strict=True)}
        told = orjson.dumps(texts).decode()
        for part in [told] if self.ranks is None else self.ranks.gather_texts(told):
            texts |= orjson.loads(part)
        return [texts[str(place)] for place in range(len(prompts))]
