"""Texts that a model goes on with until one of some strings comes, as generation tasks ask for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tokenizers import Tokenizer

from clapas.evaluate.generate import stream_tokens
from clapas.evaluate.sampling import Sampling
from clapas.model.decoder import CausalLM


def generate_until(
    model: CausalLM,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    until: Sequence[str],
    max_new_tokens: int,
    eos: Collection[int],
    vocabulary: int,
    sampling: Sampling,
    seed: int,
) -> list[str]:
    """What comes after each prompt, until one of the strings in `until`, a token of `eos`, or so many tokens."""
    stops = [stop for stop in until if stop]
    window = max((len(stop.encode()) for stop in stops), default=0) + 4  # a token has a byte at least; 4: one cut short
    texts: list[list[int]] = [[] for _ in prompts]
    is_over = [False] * len(prompts)
    for step in stream_tokens(
        model,
        prompts,
        max_new_tokens=max_new_tokens,
        eos=eos,
        vocabulary=vocabulary,
        sampling=sampling,
        seed=seed,
        is_over=is_over.__getitem__,
    ):
        for row, token in enumerate(step):
            if token is None or is_over[row]:
                is_over[row] = True
                continue
            texts[row].append(token)
            end = tokenizer.decode(texts[row][-window:], skip_special_tokens=False)
            is_over[row] = any(stop in end for stop in stops)
    return [_before(tokenizer, text, stops) for text in texts]


def _before(tokenizer: Tokenizer, tokens: list[int], stops: Sequence[str]) -> str:
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    if any(stop in text for stop in stops):
        return text[: min(text.index(stop) for stop in stops if stop in text)]
    whole = tokenizer.decode(tokens, skip_special_tokens=False)  # a stop may be a special token
    places = [whole.index(stop) for stop in stops if stop in whole]
    return whole[: min(places)] if places else text
