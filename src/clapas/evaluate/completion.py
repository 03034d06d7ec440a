"""Texts that a model goes on with, from text to text: streamed or whole, up to a stop id, a string, or a length."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from clapas.evaluate.generate import stream_tokens
from clapas.evaluate.load import LoadedModel
from clapas.evaluate.sampling import Sampling
from clapas.evaluate.stop_ids import stop_ids
from clapas.recipe.errors import UserError


@dataclass(frozen=True, slots=True)
class Options:
    """How texts go on. stop: strings that end a text and are not part of it; the text of a special token is one.

    seed: of the first text; each has one of its own, counted from there.
    """

    max_new_tokens: int = 100
    sampling: Sampling = Sampling()  # noqa: RUF009 frozen
    seed: int = 0
    stop: Sequence[str] = ()


@dataclass(slots=True)
class Completion:
    """What comes after a prompt. finish_reason: `stop` where the text ended itself, else `length`."""

    text: str = ""
    tokens: int = 0
    finish_reason: Literal["stop", "length"] = "length"


@dataclass(slots=True)
class StreamedText:
    """A text as its tokens come: gives out whole characters, and holds back what may be the beginning of a stop."""

    tokenizer: Tokenizer
    prompt: Sequence[int]
    stops: Sequence[str]
    said: Completion = field(default_factory=Completion)
    is_over: bool = False
    held: str = ""
    _decoder: DecodeStream | None = None

    def add(self, token: int) -> str:
        """What can be said now."""
        if self._decoder is None:
            self._decoder = DecodeStream(ids=list(self.prompt), skip_special_tokens=True)
        self.said.tokens += 1
        self.held += self._decoder.step(self.tokenizer, token) or ""
        places = [self.held.index(stop) for stop in self.stops if stop in self.held]
        if places:
            self.end("stop")
            return self._give(min(places), rest="")
        most = max((_begun(self.held, stop) for stop in self.stops), default=0)
        return self._give(len(self.held) - most)

    def end(self, reason: Literal["stop", "length"]) -> None:
        """Note why the text is over."""
        self.is_over, self.said.finish_reason = True, reason

    def flush(self) -> str:
        """What was held back, once no token follows."""
        return self._give(len(self.held))

    def _give(self, length: int, rest: str | None = None) -> str:
        given, self.held = self.held[:length], self.held[length:] if rest is None else rest
        self.said.text += given
        return given


def _begun(text: str, stop: str) -> int:
    """The length of the longest beginning of `stop` that `text` ends with."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def stream_texts(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    options: Options = Options(),
    *,
    ends: Collection[int] | None = None,
    completions: list[Completion] | None = None,
) -> Iterator[tuple[int, str]]:
    """Go on with tokens of several prompts at once: (number of the prompt, a piece of its text), as they come.

    ends: ids that end a text, by default the model's (`stop_ids`). completions: gets each text's, in order.
    """
    stops, marks = _stops(loaded.tokenizer, options.stop)
    ends = frozenset(stop_ids(loaded) if ends is None else ends) | marks
    texts = [StreamedText(loaded.tokenizer, prompt, stops) for prompt in prompts]
    if completions is not None:
        completions += [text.said for text in texts]
    steps = stream_tokens(
        loaded.model,
        prompts,
        max_new_tokens=options.max_new_tokens,
        eos=ends,
        vocabulary=loaded.special.vocab_size,
        sampling=options.sampling,
        seed=options.seed,
        is_over=lambda row: texts[row].is_over,
    )
    for step in steps:
        for row, token in enumerate(step):
            if token is not None and (piece := texts[row].add(token)):
                yield row, piece
    most = loaded.model.config.max_position_embeddings
    for row, text in enumerate(texts):
        if text.said.tokens < min(options.max_new_tokens, most - len(prompts[row])):
            text.end("stop")
        if text.held and (piece := text.flush()):
            yield row, piece


def complete_texts(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    options: Options = Options(),
) -> list[Completion]:
    """Go on with several prompts at once."""
    completions: list[Completion] = []
    for _ in stream_texts(loaded, prompts, options, completions=completions):
        pass
    return completions


def _stops(tokenizer: Tokenizer, strings: Sequence[str]) -> tuple[list[str], frozenset[int]]:
    """(the strings to look for in the text; the ids of those that are special tokens, which the text never shows)."""
    if not all(strings):
        raise UserError("a text cannot end at nothing", where="--stop", found="an empty string", wanted="some text")
    special = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    return [text for text in strings if text not in special], frozenset(special[t] for t in strings if t in special)


def encode_prompt(loaded: LoadedModel, prompt: str, where: str | None = None) -> list[int]:
    """A prompt's tokens, with BOS before them where the model was trained so.

    where: it comes from, for a message. Raises UserError where it is empty, or leaves the model no room.
    """
    if not prompt:
        raise UserError("the prompt is empty", where=where, wanted="some text to go on with, such as « L'article »")
    bos = [loaded.special.bos] if loaded.special.uses_bos and loaded.special.bos is not None else []
    ids = bos + loaded.tokenizer.encode(prompt, add_special_tokens=False).ids
    check_room(loaded, ids, where)
    return ids


def check_room(loaded: LoadedModel, ids: Sequence[int], where: str | None) -> None:
    """Raise UserError where a prompt fills all of the model's positions."""
    most = loaded.model.config.max_position_embeddings
    if len(ids) >= most:
        what, wanted = "the prompt leaves no room for an answer", f"fewer than max_position_embeddings, which is {most}"
        raise UserError(what, where=where, found=f"{len(ids)} tokens", wanted=wanted)
