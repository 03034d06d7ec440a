"""`clapas generate`: each prompt with what follows, as it comes, or as a line of JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import orjson

from clapas.evaluate.completion import Completion, Options, stream_texts
from clapas.evaluate.load import DTYPES, LoadedModel, load
from clapas.evaluate.prompts import Prompt, read_prompts
from clapas.evaluate.sampling import Sampling
from clapas.model.cpu import keep_freed_memory
from clapas.model.layout import lay_out
from clapas.recipe.errors import UserError


def options_of(options: argparse.Namespace) -> Options:
    """How texts go on, from the command line."""
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    sampling = Sampling(**{name: getattr(options, name) for name in names if getattr(options, name) is not None})
    return Options(options.max_new_tokens, sampling, options.seed, tuple(options.stop))


def loaded_for(options: argparse.Namespace, texts: int) -> LoadedModel:
    """The model of the command line, ready to go on with so many texts at once."""
    keep_freed_memory()
    chosen = {"tokenizer": options.tokenizer, "weights": options.weights, "dtype": DTYPES[options.dtype]}
    loaded = load(options.model, **chosen)
    lay_out(loaded.model, texts)
    return loaded


def generate_command(options: argparse.Namespace) -> None:
    """Go on with the prompts of the command line and of --file. A prompt that is refused is refused before any goes."""
    prompts = [Prompt(text) for text in options.prompts]
    prompts += [] if options.file is None else read_prompts(options.file)
    if not prompts:
        raise UserError("nothing to go on with", way_out="give a prompt, or a file of them: --file prompts.txt")
    if options.batch_size < 1:
        raise UserError("no such batch", where="--batch-size", found=options.batch_size, wanted="1 or more")
    chosen = options_of(options)
    loaded = loaded_for(options, min(len(prompts), options.batch_size))
    tokens = [prompt.tokens(loaded) for prompt in prompts]
    for start in range(0, len(prompts), options.batch_size):
        part = slice(start, start + options.batch_size)
        seeded = Options(chosen.max_new_tokens, chosen.sampling, chosen.seed + start, chosen.stop)
        print_batch(loaded, prompts[part], tokens[part], seeded, as_json=options.json)


def print_batch(
    loaded: LoadedModel,
    prompts: Sequence[Prompt],
    tokens: Sequence[Sequence[int]],
    options: Options,
    *,
    as_json: bool = False,
) -> None:
    """Texts that go on together, in their order: the first one streams, those behind it wait for their turn."""
    completions: list[Completion] = []
    pieces = stream_texts(loaded, tokens, options, completions=completions)
    if as_json:
        for _ in pieces:
            pass
        for place, (prompt, said) in enumerate(zip(prompts, completions, strict=True)):
            sys.stdout.write(_line(prompt, said, options.seed + place) + "\n")
        sys.stdout.flush()
        return
    waiting = ["" for _ in prompts]
    current = -1
    for row, piece in pieces:
        if current < 0:
            current = 0
            sys.stdout.write(_shown(prompts[0]))
        waiting[row] += piece
        if row == current:
            sys.stdout.write(waiting[row])
            sys.stdout.flush()
            waiting[row] = ""
    for row in range(len(prompts)):
        opening = "" if row == current else _shown(prompts[row])
        sys.stdout.write(f"{opening}{waiting[row]}\n")
    sys.stdout.flush()


def _shown(prompt: Prompt) -> str:
    return prompt.given if isinstance(prompt.given, str) else ""


def _line(prompt: Prompt, said: Completion, seed: int) -> str:
    key = "prompt" if isinstance(prompt.given, str) else "messages"
    facts = {"text": said.text, "tokens": said.tokens, "finish_reason": said.finish_reason, "seed": seed}
    return orjson.dumps({key: prompt.given, **facts}).decode()
