"""The tokens that a model goes on with: one at a time, several texts at once, each token computed once.

Prompts of different lengths are padded on the left and go on together; texts that have ended leave the batch.

Shapes: B texts, S tokens of the longest prompt, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from clapas.evaluate.sampling import Sampling
from clapas.model.cache import KeyValueCache
from clapas.model.cpu import are_few, multiplying
from clapas.model.decoder import CausalLM, run_layer
from clapas.recipe.errors import UserError

PADDING_DOCUMENT = -1
"""The document of the padding before a short prompt: no token of the text, which is document 0, sees it."""
SMALL_HIDDEN = 256
"""Below it, on a CPU, MKL multiplies more quickly than oneDNN (see benchmarks/generation.py)."""
CROWDED = 0.75
"""Once fewer of a batch's texts than this share go on, the others leave it, which copies the cache."""


@torch.no_grad()
def stream_tokens(
    model: CausalLM,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int],
    eos: int | Collection[int] | None = None,
    vocabulary: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 frozen
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    goes_on: Callable[[bool], bool] | None = None,
    observe: Callable[[Tensor, Tensor], None] | None = None,
    is_over: Callable[[int], bool] | None = None,
) -> Iterator[list[int | None]]:
    """Go on with each prompt; yields the texts' next tokens, None for one that has ended.

    max_new_tokens: of all texts, or of each. eos: ends a text (and is not yielded); there may be several. vocabulary:
    ids that the tokenizer knows, where the model has more. seeds: one a text, instead of `seed` and its place among the
    prompts. goes_on: told after each token whether a text here goes on, says whether the model is called again: ranks
    that share its weights must call it equally often. observe: is shown each step's logits, (B, V), and the tokens
    chosen, (B,); of a text that has ended they mean nothing. is_over: asked after each step whether a text ends here
    for the caller's reasons.
    A text depends on its prompt, the seed and its place among the prompts, not on its neighbours. It ends at `eos`,
    after `max_new_tokens`, or where it reaches `max_position_embeddings`.
    Raises UserError for an empty prompt, an unknown id, or a prompt that fills all positions.
    """
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    longest = _check(model, prompts, limits)
    most = model.config.max_position_embeddings
    limits = [min(limit, most - len(prompt)) for limit, prompt in zip(limits, prompts, strict=True)]
    room = max(limits)
    ends = frozenset([eos] if isinstance(eos, int) else eos or ())
    seeds = range(seed, seed + len(prompts)) if seeds is None else seeds
    batch = _Batch(model, prompts, longest + room, sampling, seeds, vocabulary)
    ended = [False] * len(prompts)
    for step in range(1, room + 1):
        chosen = batch.step(observe)
        ended = [was or token in ends for was, token in zip(ended, chosen, strict=True)]
        told = [None if over else token for over, token in zip(ended, chosen, strict=True)]
        if not (goes_on or bool)(not all(ended)):
            return
        yield told
        ended = [over or step >= limit for over, limit in zip(ended, limits, strict=True)]
        if is_over is not None:
            ended = [over or is_over(row) for row, over in enumerate(ended)]
        if goes_on is None and all(ended):
            return
        batch.leave([row for row, over in enumerate(ended) if not over])


class _Batch:
    """Texts that go on together.

    rows: of the texts that are still in it, their places among the prompts.
    """

    def __init__(
        self,
        model: CausalLM,
        prompts: Sequence[Sequence[int]],
        capacity: int,
        sampling: Sampling,
        seeds: Sequence[int],
        vocabulary: int | None,
    ) -> None:
        weight = model.lm_head.weight
        self._model, self._sampling, self._vocabulary, self._size = model, sampling, vocabulary, len(prompts)
        self._cache = KeyValueCache(model.config, len(prompts), capacity, weight.dtype, weight.device)
        self._tokens_BS, positions_BS, documents_BS = (x.to(weight.device) for x in left_padded(prompts))
        is_ragged = len(set(map(len, prompts))) > 1
        self._positions_BS = positions_BS if is_ragged else None
        self._documents_BS = documents_BS if is_ragged else None
        self._generators = [torch.Generator(weight.device).manual_seed(own) for own in seeds]
        self._seen_BV = _seen(prompts, model.config.vocab_size, weight.device) if sampling.looks_back else None
        self.rows = list(range(len(prompts)))

    def step(self, observe: Callable[[Tensor, Tensor], None] | None) -> list[int]:
        """The next token of every prompt's text; 0 for one that has left."""
        logits_BV = self._logits()[:, : self._vocabulary]
        seen_BV = None if self._seen_BV is None else self._seen_BV[:, : self._vocabulary]
        chosen_B = self._sampling.choose(logits_BV, seen_BV, self._generators)
        if self._seen_BV is not None:
            self._seen_BV.scatter_(1, chosen_B[:, None], True)
        if observe is not None:
            observe(self._of_all(logits_BV), self._of_all(chosen_B))
        self._tokens_BS = chosen_B[:, None]
        if self._positions_BS is not None:
            self._positions_BS = self._positions_BS[:, -1:] + 1
            self._documents_BS = torch.zeros_like(self._tokens_BS)
        chosen = [0] * self._size
        for row, token in zip(self.rows, chosen_B.tolist(), strict=True):
            chosen[row] = token
        return chosen

    def leave(self, going: list[int]) -> None:
        """Let the texts that do not go on leave, once they are many; one stays always, for other ranks' sake."""
        if not going or len(going) > CROWDED * len(self.rows):
            return
        places = [place for place, row in enumerate(self.rows) if row in set(going)]
        self._cache.keep(places)
        self._tokens_BS = self._tokens_BS[places]
        if self._positions_BS is not None and self._documents_BS is not None:
            self._positions_BS, self._documents_BS = self._positions_BS[places], self._documents_BS[places]
        if self._seen_BV is not None:
            self._seen_BV = self._seen_BV[places]
        self._generators = [self._generators[place] for place in places]
        self.rows = [self.rows[place] for place in places]

    def _logits(self) -> Tensor:
        """Of each text's last place, (B, V)."""
        rows, hidden = self._tokens_BS.numel(), self._model.config.hidden_size
        is_large = rows > 1 and hidden >= SMALL_HIDDEN and not are_few(rows, hidden)
        with multiplying(is_large), _uncompiled(self._model):
            inputs = self._tokens_BS, self._positions_BS, self._documents_BS
            return self._model(*inputs, self._cache, last_only=True)[:, -1]

    def _of_all(self, x_B: Tensor) -> Tensor:
        """Rows for every prompt's text, at 0 where it has left."""
        if len(self.rows) == self._size:
            return x_B
        every_B = x_B.new_zeros(self._size, *x_B.shape[1:])
        every_B[self.rows] = x_B
        return every_B


@contextmanager
def _uncompiled(model: CausalLM) -> Iterator[None]:
    """Within, layers run as they are: compiled for training, each length of the cache would be compiled anew."""
    before, model.model.run_layer = model.model.run_layer, run_layer
    try:
        yield
    finally:
        model.model.run_layer = before


def _seen(prompts: Sequence[Sequence[int]], vocabulary: int, device: torch.device) -> Tensor:
    """Whether a prompt has a token, (B, V)."""
    seen_BV = torch.zeros(len(prompts), vocabulary, dtype=torch.bool)
    for row_V, prompt in zip(seen_BV, prompts, strict=True):
        row_V[list(prompt)] = True
    return seen_BV.to(device)


def _check(model: CausalLM, prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> int:
    """The length of the longest prompt."""
    if limits and min(limits) < 1:
        raise UserError("max_new_tokens has no such value", found=min(limits), wanted="1 or more")
    if not prompts or not all(prompts):
        raise UserError("the prompt is empty", wanted="some text to go on with, such as « L'article »")
    most, longest = model.config.vocab_size - 1, max(map(len, prompts))
    if (largest := max(map(max, prompts))) > most or min(map(min, prompts)) < 0:
        raise UserError("the prompt has a token id that the model has not", found=largest, wanted=f"0 to {most}")
    if longest >= model.config.max_position_embeddings:
        wanted = f"fewer than max_position_embeddings, which is {model.config.max_position_embeddings}"
        raise UserError("the prompt leaves no room for an answer", found=f"{longest} tokens", wanted=wanted)
    return longest


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, positions and document ids of (B, S): all prompts end at the last place, so that all go on from there."""
    longest = max(map(len, prompts))
    tokens_BS = torch.zeros(len(prompts), longest, dtype=torch.long)
    positions_BS, documents_BS = torch.zeros_like(tokens_BS), torch.full_like(tokens_BS, PADDING_DOCUMENT)
    for row, prompt in enumerate(prompts):
        tokens_BS[row, -len(prompt) :] = torch.tensor(prompt)
        positions_BS[row, -len(prompt) :] = torch.arange(len(prompt))
        documents_BS[row, -len(prompt) :] = 0
    return tokens_BS, positions_BS, documents_BS
