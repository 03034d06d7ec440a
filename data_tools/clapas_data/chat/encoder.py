"""A rendered conversation to tokens: the template's special tokens are ids, the same letters in a message are text.

Whoever writes `<|eot_id|>` in a message ends no turn with it. Before a template renders, such letters are marked with a
noncharacter of Unicode inside them; what still reads as a special token afterwards is the template's own. Those are
replaced by private spellings of the same length, which a copy of the tokenizer knows instead of the usual ones, so that
one pass encodes it all and every token knows its characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas.recipe.errors import UserError
from clapas_data.chat.environment import BEGIN, END
from clapas_data.chat.template import ChatTemplate, ChatTemplateError, Message, need_template, open_template
from clapas_data.encode import TokenizerFolder, open_tokenizer
from clapas_data.examples import LAST_TURN

SPELLED, OWN = "\ufdd0", "\ufdd1"
"""Noncharacters: SPELLED breaks up a special token that a message spells out, OWN begins one of the template's."""
RESERVED = re.compile(f"[{SPELLED}{OWN}{BEGIN}{END}]")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens (int64) and, for each, the assistant's turn that it belongs to (uint8): 0 for none, from 1.

    text: of which these are the tokens. is_plain: no template wrote it.
    """

    tokens: np.ndarray
    turns: np.ndarray
    text: str
    is_plain: bool = False


class Chat:
    """A tokenizer with its chat template."""

    def __init__(self, tokenizer: TokenizerFolder, template: ChatTemplate | None) -> None:
        self.tokenizer, self._template = tokenizer, template
        content = orjson.loads((tokenizer.path / "tokenizer.json").read_bytes())
        self._special = {
            t["content"]: t["id"] for t in content.get("added_tokens", ()) if t["special"] and t["content"]
        }
        longest_first = sorted(self._special, key=len, reverse=True)
        self._spelt = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._encoder, self._ids = _with_own_spellings(content)
        unknown = content["model"].get("unk_token")
        numbers = [self._encoder.token_to_id(name) for name in self._special if name != unknown]
        self._from_letters = [number for number in numbers if number is not None]

    @property
    def template(self) -> ChatTemplate:
        """Raises UserError where there is none."""
        return need_template(self.tokenizer.path) if self._template is None else self._template

    def ids(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **options: Any,
    ) -> np.ndarray:
        """A conversation as tokens, int64; by default up to the header of the assistant's next turn."""
        chosen = {"add_generation_prompt": add_generation_prompt, **options}
        plain = self.template.render(messages, tools=tools, **chosen)
        if (spelled := self._spelled(messages, tools)) is None:
            return self._rendered(plain).tokens
        marked = self.template.render(spelled[0], tools=spelled[1], **chosen)
        _check_marked(marked, plain)
        return self._rendered(marked).tokens

    def turns(
        self, messages: Sequence[Message], *, tools: Sequence[Mapping[str, Any]] | None = None, **options: Any
    ) -> Encoded:
        """A whole conversation as tokens, with what the assistant says in each of its turns.

        Raises ChatTemplateError where the template cannot render it, or it cannot be told who says what.
        """
        text, spans = self.template.render_turns(messages, tools=tools, **options)
        if (spelled := self._spelled(messages, tools)) is not None:
            plain = text
            text, spans = self.template.render_turns(spelled[0], tools=spelled[1], **options)
            _check_marked(text, plain)
        if not self.template.marks_turns:
            spans = [self._up_to_mark(text, *span) for span in spans]
        return self._rendered(text, spans)

    def text(self, prompt: str, answer: str | None) -> Encoded:
        """Running text without any template, nothing of it special: a prompt and, learned, an answer, or None."""
        text = prompt + (answer or "")
        _check_letters(text)
        found = self._tokens(text, () if answer is None else ((len(prompt), len(text)),))
        tokens, turns, record = found.tokens, found.turns, self.tokenizer.record
        if record.uses_bos and record.bos is not None:
            tokens, turns = np.insert(tokens, 0, record.bos), np.insert(turns, 0, 0)
        return Encoded(tokens, turns, text, is_plain=True)

    def stop_ids(self) -> tuple[int, ...]:
        """The tokens that end the assistant's turn: what the template writes after it, and the tokenizer's EOS."""
        text = self.template.render([{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}])
        mark = self._spelt.search(text, text.rindex("!"))
        return tuple(dict.fromkeys([*([self._special[mark[0]]] if mark else []), self.tokenizer.record.eos]))

    def _spelled(self, messages: Any, tools: Any) -> tuple[Any, Any] | None:
        """Messages and tools with the special tokens that they spell out broken up; None where there are none."""
        texts = _strings([messages, tools])
        for text in texts:
            _check_letters(text)
        if not any(self._spelt.search(text) for text in texts):
            return None
        return self._broken(messages), self._broken(tools)

    def _broken(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._spelt.sub(lambda found: found[0][0] + SPELLED + found[0][1:], value)
        if isinstance(value, Mapping):
            return {key: self._broken(item) for key, item in value.items()}
        return [self._broken(item) for item in value] if isinstance(value, list | tuple) else value

    def _up_to_mark(self, text: str, start: int, stop: int) -> tuple[int, int]:
        """A turn without the white space after its last special token."""
        end = start + len(text[start:stop].rstrip())
        marks = [found.end() for found in self._spelt.finditer(text, start, stop)]
        return (start, end) if end in marks else (start, stop)

    def _rendered(self, text: str, spans: Sequence[tuple[int, int]] = ()) -> Encoded:
        """Tokens of what the template wrote; letters that are no special token hold SPELLED. spans: of its turns."""
        text = self._spelt.sub(lambda found: OWN + found[0][1:], text)
        if SPELLED in text:
            gone = np.array([place for place, letter in enumerate(text) if letter == SPELLED])
            spans = [(a - int(np.searchsorted(gone, a)), b - int(np.searchsorted(gone, b))) for a, b in spans]
            text = text.replace(SPELLED, "")
        return self._tokens(text, spans)

    def _tokens(self, text: str, spans: Sequence[tuple[int, int]]) -> Encoded:
        """Tokens of a text in which special tokens begin with OWN."""
        encoded = self._encoder.encode(text, add_special_tokens=False)
        own = np.array(encoded.ids, np.int64)
        if np.isin(own, self._from_letters).any():
            raise ChatTemplateError("a message spells out a special token, and the tokenizer cannot tell it from one")
        turns = np.zeros(len(own), np.uint8)
        if spans:
            starts, ends = np.array(encoded.offsets, np.int64).reshape(-1, 2).T
            for turn, (start, stop) in enumerate(spans, 1):
                turns[(starts < stop) & (ends > start)] = min(turn, LAST_TURN)
        return Encoded(self._ids[own], turns, text.replace(OWN, ""))


def open_chat(folder: Path, template: str | Path | ChatTemplate | None = None) -> Chat:
    """A tokenizer's folder with its chat template, or another. Raises UserError where either is not to be had."""
    chosen = template if isinstance(template, ChatTemplate) else need_template(folder, template)
    return Chat(open_tokenizer(folder), chosen)


def _check_letters(text: str) -> None:
    if found := RESERVED.search(text):
        what = f"a noncharacter of Unicode in the text: U+{ord(found[0]):04X}"
        raise ChatTemplateError(what, found=repr(text[:60]), way_out="leave it out: no text is written with it")


def _check_marked(marked: str, plain: str) -> None:
    if marked.replace(SPELLED, "") != plain:
        raise ChatTemplateError("a message spells out a special token, and the chat template takes it for one")


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [text for item in items for text in _strings(item)]


def _with_own_spellings(content: dict[str, Any]) -> tuple[Any, np.ndarray]:
    """A tokenizer that knows its special tokens by OWN spellings, and its ids -> those of the usual one."""
    from tokenizers import Tokenizer

    usual: dict[str, int] = {}
    added = []
    for token in content.get("added_tokens", ()):
        name = token["content"]
        own = OWN + name[1:] if token["special"] and name else name
        if own in usual:
            raise UserError("special tokens that differ in their first letter alone", found=name)
        usual[own] = token["id"]
        added.append({**token, "content": own})
    changed = {**content, "added_tokens": added, "post_processor": None, "truncation": None, "padding": None}
    encoder = Tokenizer.from_str(orjson.dumps(changed).decode())
    ids = np.arange(max(encoder.get_vocab(with_added_tokens=True).values()) + 1, dtype=np.int64)
    for name, number in usual.items():
        own_id = encoder.token_to_id(name)
        assert own_id is not None
        ids[own_id] = number
    return encoder, ids


@lru_cache(maxsize=2)
def cached_chat(folder: Path, named: str | None = None) -> Chat:
    """The chat of a folder, made once a process; it may have no template. named: what messages call that."""
    template = open_template(folder)
    if template is not None and named is not None:
        template = replace(template, named=named)
    return Chat(open_tokenizer(folder), template)
