"""One row of each kind of fine-tuning data as what is learned at once; the forms are TRL's.

Message lists go through the chat template. Strings are running text, without one: a prompt, and what follows it, which
ends with EOS and is learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson

from clapas_data.chat.encoder import Chat, Encoded
from clapas_data.chat.messages import (
    BadRow,
    Conversation,
    check_rendered,
    conversation_of,
    messages_of,
    options_of,
    tools_of,
)
from clapas_data.examples import Sequence

Kind = Literal["conversations", "pairs", "labelled", "prompts"]
KINDS: tuple[Kind, ...] = ("conversations", "pairs", "labelled", "prompts")
WANTED: dict[Kind, str] = {
    "conversations": "`messages`, `conversations` (ShareGPT), `instruction` and `output` (Alpaca), or `prompt` and "
    "`completion`",
    "pairs": "`chosen` and `rejected`, with or without `prompt`",
    "labelled": "`prompt`, `completion` and `label`",
    "prompts": "`prompt`",
}


@dataclass(frozen=True, slots=True)
class Made:
    """What a row became. key: a hash of what it says, equal for equal content. turns: of the assistant's."""

    sequences: tuple[Sequence, ...]
    text_bytes: tuple[int, ...]
    key: bytes
    turns: int
    columns: dict[str, Any] = field(default_factory=dict)


def kind_of(row: Mapping[str, Any]) -> Kind | None:
    """The kind that a row's fields say; None where they say none."""
    if "chosen" in row and "rejected" in row:
        return "pairs"
    if "completion" in row and "label" in row:
        return "labelled"
    if row.keys() & {"messages", "conversations"} or {"instruction", "output"} <= row.keys() or "completion" in row:
        return "conversations"
    return "prompts" if "prompt" in row else None


def make(chat: Chat, row: Mapping[str, Any], kind: Kind, kept: tuple[str, ...] = ()) -> Made:
    """A row of a kind, encoded. kept: fields that are kept as columns. Raises BadRow where it is none."""
    sides, said, columns = _SIDES[kind](chat, row)
    sequences = tuple(_sequence(chat, side) for side in sides)
    if kind != "prompts" and not all(sequence.turns.any() for sequence in sequences):
        raise BadRow("nothing learned", "no token of this example is learned", None, "an answer of the assistant's")
    columns |= {name: _as_text(row.get(name)) for name in kept}
    return Made(
        sequences,
        tuple(len(side.text.encode()) for side in sides),
        hashlib.blake2b(orjson.dumps(said, default=str, option=orjson.OPT_SORT_KEYS), digest_size=16).digest(),
        max(int(sequence.turns.max()) for sequence in sequences),
        columns,
    )


_Sides = tuple[tuple[Encoded, ...], Any, dict[str, Any]]
"""The sequences of a row; what it says, for its hash; its own columns."""


def _conversation(chat: Chat, row: Mapping[str, Any]) -> _Sides:
    found = conversation_of(row)
    if found is not None:
        return (_encode(chat, found),), [found.messages, found.tools], {}
    if "prompt" not in row or "completion" not in row:
        raise _lacks(row, "conversations")
    prompt, completion = row["prompt"], row["completion"]
    return (_completed(chat, row, prompt, completion, "completion"),), [prompt, completion], {}


def _pair(chat: Chat, row: Mapping[str, Any]) -> _Sides:
    if "chosen" not in row or "rejected" not in row:
        raise _lacks(row, "pairs")
    prompt, sides = row.get("prompt"), (row["chosen"], row["rejected"])
    if type(sides[0]) is not type(sides[1]):
        raise BadRow("wrong type", "`chosen` and `rejected` are of two types", f"{type(sides[0])}, {type(sides[1])}")
    said = prompt if isinstance(prompt, str) and isinstance(sides[0], list) else None
    if prompt is None or said is not None:
        prompt, sides = _common(*sides)
    if said is not None and not any(_says(message, said) for message in prompt):
        what = "`prompt` is a text, and no message says it that `chosen` and `rejected` begin with alike"
        raise BadRow("wrong type", what, repr(said)[:60], "a list of messages, or no `prompt`")
    if sides[0] == sides[1]:
        raise BadRow("no difference", "`chosen` and `rejected` say the same", repr(sides[0])[:60])
    names = ("chosen", "rejected")
    encoded = tuple(_completed(chat, row, prompt, side, name) for side, name in zip(sides, names, strict=True))
    return encoded, [prompt, *sides], {}


def _labelled(chat: Chat, row: Mapping[str, Any]) -> _Sides:
    if not {"prompt", "completion", "label"} <= row.keys():
        raise _lacks(row, "labelled")
    prompt, completion, label = row["prompt"], row["completion"], row["label"]
    if label not in (True, False):
        raise BadRow("wrong type", "`label` is neither true nor false", repr(label)[:60], "true: good, false: bad")
    encoded = _completed(chat, row, prompt, completion, "completion")
    return (encoded,), [prompt, completion, bool(label)], {"label": bool(label)}


def _prompt(chat: Chat, row: Mapping[str, Any]) -> _Sides:
    if "prompt" not in row:
        raise _lacks(row, "prompts")
    prompt = row["prompt"]
    if isinstance(prompt, str):
        if not prompt.strip():
            raise BadRow("empty turn", "`prompt` is empty", repr(prompt), "text")
        return (chat.text(prompt, None),), [prompt], {}
    messages, tools = messages_of(prompt, "prompt"), tools_of(row)
    if messages[-1]["role"] == "assistant":
        raise BadRow("no question", "`prompt` ends with the assistant's turn: nothing is asked", None, "a user's turn")
    tokens = chat.ids(messages, tools=tools, **options_of(row))
    text = chat.template.render(messages, tools=tools, add_generation_prompt=True, **options_of(row))
    check_rendered(Conversation(messages, tools), text)
    return (Encoded(tokens, np.zeros(len(tokens), np.uint8), text),), [messages, tools], {}


_SIDES: dict[Kind, Callable[[Chat, Mapping[str, Any]], _Sides]] = {
    "conversations": _conversation,
    "pairs": _pair,
    "labelled": _labelled,
    "prompts": _prompt,
}


def _lacks(row: Mapping[str, Any], kind: Kind) -> BadRow:
    return BadRow("missing field", f"no {kind} in this row", ", ".join(row) or "no field", WANTED[kind])


def _completed(chat: Chat, row: Mapping[str, Any], prompt: Any, completion: Any, name: str) -> Encoded:
    """A prompt and what follows it, which alone is learned: both strings, or both lists of messages."""
    if isinstance(prompt, str) and isinstance(completion, str):
        if not completion.strip():
            raise BadRow("empty turn", f"{name!r} is empty", repr(completion), "text")
        return chat.text(prompt, completion)
    if isinstance(prompt, str) or isinstance(completion, str):
        found = f"{type(prompt).__name__} and {type(completion).__name__}"
        raise BadRow(
            "wrong type", f"`prompt` and {name!r} are of two types", found, "two strings, or two message lists"
        )
    before = messages_of(prompt, "prompt") if prompt else []
    after = messages_of(completion, name)
    if not any(message["role"] == "assistant" for message in after):
        raise BadRow("no assistant turn", f"no turn of the assistant's in {name!r}")
    encoded = _encode(chat, Conversation(before + after, tools_of(row), options_of(row)))
    known = sum(message["role"] == "assistant" for message in before)
    turns = np.where(encoded.turns > known, encoded.turns - known, 0).astype(np.uint8)
    return Encoded(encoded.tokens, turns, encoded.text)


def _encode(chat: Chat, found: Conversation) -> Encoded:
    encoded = chat.turns(found.messages, tools=found.tools, **found.options)
    check_rendered(found, encoded.text)
    return encoded


def _common(chosen: Any, rejected: Any) -> tuple[Any, tuple[Any, Any]]:
    """The prompt that two sides begin with alike, and what each goes on with, as TRL's `extract_prompt` finds them."""
    if not isinstance(chosen, str | list):
        raise BadRow("wrong type", "`chosen` is no text and no list of messages", repr(chosen)[:60])
    shorter = min(len(chosen), len(rejected))
    same = next((place for place in range(shorter) if chosen[place] != rejected[place]), shorter)
    if isinstance(chosen, str) and same and chosen[same - 1] == " ":
        same -= 1  # the space belongs to the word after it
    return chosen[:same], (chosen[same:], rejected[same:])


def _says(message: Any, text: str) -> bool:
    return isinstance(message, Mapping) and str(message.get("content")).strip() == text.strip()


def _sequence(chat: Chat, side: Encoded) -> Sequence:
    """A document: it ends with EOS, which is learned only where the text before it was not the template's."""
    eos = chat.tokenizer.record.eos
    if len(side.tokens) and side.tokens[-1] == eos:
        return Sequence(side.tokens, side.turns)
    is_plain = side.is_plain and len(side.turns) > 0
    return Sequence(
        np.append(side.tokens, eos), np.append(side.turns, side.turns[-1] if is_plain else 0).astype(np.uint8)
    )


def _as_text(value: Any) -> str | None:
    """A kept field: text as it is, anything else as JSON; what that does not know (Parquet's decimals) as it prints."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value, default=str).decode()
