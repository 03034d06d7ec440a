"""Text from a model: one token at a time, several texts at once, each token computed once (see `model.cache`).

Shapes: B texts, S tokens of the longest prompt, V vocabulary.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from torch import Tensor

from clapas.checkpoint.format import Weights
from clapas.evaluate.load import LoadedModel, load
from clapas.evaluate.sampling import Sampling
from clapas.model.cache import KeyValueCache
from clapas.model.decoder import CausalLM
from clapas.recipe.errors import UserError

PADDING_DOCUMENT = -1
"""The document of the padding before a short prompt: no token of the text, which is document 0, sees it."""


@torch.no_grad()
def stream_tokens(
    model: CausalLM,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    eos: int | Collection[int] | None = None,
    vocabulary: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 frozen
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    goes_on: Callable[[bool], bool] = bool,
    observe: Callable[[Tensor, Tensor], None] | None = None,
) -> Iterator[list[int | None]]:
    """Go on with each prompt; yields the texts' next tokens, None for one that has ended.

    eos: ends a text (and is not yielded); there may be several. vocabulary: ids that the tokenizer knows, where the
    model has more. seeds: one a text, instead of `seed` and its place among the prompts.
    goes_on: told after each token whether a text here goes on, says whether the model is called again: ranks that share
    its weights must call it equally often. observe: is shown each step's logits, (B, V), and the tokens chosen, (B,).
    A text depends on its prompt, the seed and its place among the prompts, not on its neighbours. It ends at `eos`,
    after `max_new_tokens`, or where the longest text reaches `max_position_embeddings`.
    Raises UserError for an empty prompt, an unknown id, or a prompt that fills all positions.
    """
    longest = _check(model, prompts, max_new_tokens)
    device = model.lm_head.weight.device
    room = min(max_new_tokens, model.config.max_position_embeddings - longest)
    cache = KeyValueCache(model.config, len(prompts), longest + room, model.lm_head.weight.dtype, device)
    tokens_BS, positions_BS, documents_BS = (x.to(device) for x in _left_padded(prompts))
    is_ragged = bool((documents_BS == PADDING_DOCUMENT).any())
    seeds = range(seed, seed + len(prompts)) if seeds is None else seeds
    generators = [torch.Generator(device).manual_seed(own) for own in seeds]
    ends = frozenset([eos] if isinstance(eos, int) else eos or ())
    seen_BV = torch.zeros(len(prompts), model.config.vocab_size, dtype=torch.bool, device=device)
    for row_V, prompt in zip(seen_BV, prompts, strict=True):
        row_V[list(prompt)] = True
    ended = [False] * len(prompts)
    for _ in range(room):
        logits_BV = model(tokens_BS, positions_BS, documents_BS if is_ragged else None, cache, last_only=True)[:, -1]
        chosen_B = sampling.choose(logits_BV[:, :vocabulary], seen_BV[:, :vocabulary], generators)
        if observe is not None:
            observe(logits_BV[:, :vocabulary], chosen_B)
        seen_BV.scatter_(1, chosen_B[:, None], True)
        chosen = chosen_B.tolist()
        ended = [was or token in ends for was, token in zip(ended, chosen, strict=True)]
        if not goes_on(not all(ended)):
            return
        yield [None if over else token for over, token in zip(ended, chosen, strict=True)]
        tokens_BS, positions_BS = chosen_B[:, None], positions_BS[:, -1:] + 1
        documents_BS = torch.zeros_like(tokens_BS)


def _check(model: CausalLM, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> int:
    """The length of the longest prompt."""
    if max_new_tokens < 1:
        raise UserError("max_new_tokens has no such value", found=max_new_tokens, wanted="1 or more")
    if not prompts or not all(prompts):
        raise UserError("the prompt is empty", wanted="some text to go on with, such as « L'article »")
    most, longest = model.config.vocab_size - 1, max(map(len, prompts))
    if (largest := max(map(max, prompts))) > most or min(map(min, prompts)) < 0:
        raise UserError("the prompt has a token id that the model has not", found=largest, wanted=f"0 to {most}")
    if longest >= model.config.max_position_embeddings:
        wanted = f"fewer than max_position_embeddings, which is {model.config.max_position_embeddings}"
        raise UserError("the prompt leaves no room for an answer", found=f"{longest} tokens", wanted=wanted)
    return longest


def _left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, positions and document ids of (B, S): all prompts end at the last place, so that all go on from there."""
    longest = max(map(len, prompts))
    tokens_BS = torch.zeros(len(prompts), longest, dtype=torch.long)
    positions_BS, documents_BS = torch.zeros_like(tokens_BS), torch.full_like(tokens_BS, PADDING_DOCUMENT)
    for row, prompt in enumerate(prompts):
        tokens_BS[row, -len(prompt) :] = torch.tensor(prompt)
        positions_BS[row, -len(prompt) :] = torch.arange(len(prompt))
        documents_BS[row, -len(prompt) :] = 0
    return tokens_BS, positions_BS, documents_BS


def encode_prompt(loaded: LoadedModel, prompt: str) -> list[int]:
    """A prompt's tokens, with BOS before them where the model was trained so. Raises UserError where it has none."""
    if not prompt:
        raise UserError("the prompt is empty", wanted="some text to go on with, such as « L'article »")
    bos = [loaded.special.bos] if loaded.special.uses_bos and loaded.special.bos is not None else []
    return bos + loaded.tokenizer.encode(prompt, add_special_tokens=False).ids


def stream_text(
    loaded: LoadedModel,
    prompt: str,
    *,
    max_new_tokens: int = 100,
    sampling: Sampling = Sampling(),  # noqa: B008 frozen
    seed: int = 0,
) -> Iterator[str]:
    """Go on with a prompt, piece by piece, each a whole number of characters; the prompt itself is not given."""
    ids = encode_prompt(loaded, prompt)
    steps = stream_tokens(
        loaded.model,
        [ids],
        max_new_tokens=max_new_tokens,
        eos=loaded.special.eos,
        vocabulary=loaded.special.vocab_size,
        sampling=sampling,
        seed=seed,
    )
    return decoded(loaded.tokenizer, ids, (token for (token,) in steps if token is not None))


def decoded(tokenizer: Tokenizer, before: Sequence[int], tokens: Iterable[int]) -> Iterator[str]:
    """Tokens as text while they come; a character of several tokens comes whole. before: what they follow."""
    decoder = DecodeStream(ids=list(before), skip_special_tokens=True)
    for token in tokens:
        if piece := decoder.step(tokenizer, token):
            yield piece


def complete(
    loaded: LoadedModel,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 100,
    sampling: Sampling = Sampling(),  # noqa: B008 frozen
    seed: int = 0,
) -> list[str]:
    """Go on with several prompts at once; what comes after each, without it."""
    texts: list[list[int]] = [[] for _ in prompts]
    for tokens in stream_tokens(
        loaded.model,
        [encode_prompt(loaded, prompt) for prompt in prompts],
        max_new_tokens=max_new_tokens,
        eos=loaded.special.eos,
        vocabulary=loaded.special.vocab_size,
        sampling=sampling,
        seed=seed,
    ):
        for text, token in zip(texts, tokens, strict=True):
            if token is not None:
                text.append(token)
    return [loaded.tokenizer.decode(text, skip_special_tokens=True) for text in texts]


def generate_to_stdout(
    path: Path,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 100,
    sampling: Sampling = Sampling(),  # noqa: B008 frozen
    seed: int = 0,
    tokenizer: Path | None = None,
    weights: Weights | None = None,
) -> None:
    """`clapas generate`: each prompt with its continuation, as it comes, on stdout."""
    loaded = load(path, tokenizer=tokenizer, weights=weights)
    for prompt in prompts:
        pieces = stream_text(loaded, prompt, max_new_tokens=max_new_tokens, sampling=sampling, seed=seed)
        first = next(pieces, "")  # a prompt that is refused is refused before anything is printed
        sys.stdout.write(prompt + first)
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
