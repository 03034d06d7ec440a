"""A model's chat template: messages to text, and which of the text the assistant wrote.

The text is that of transformers' `apply_chat_template`. What is the assistant's is what stands in the template's
`{% generation %}`; in a template without that tag it is found by rendering prefixes: what the conversation up to a turn
and the turn's header (`add_generation_prompt`) do not hold of the conversation with that turn.
"""

from __future__ import annotations

import hashlib
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import orjson
from jinja2 import Template, TemplateError, TemplateSyntaxError

from clapas.recipe.errors import UserError
from clapas_data.chat.environment import BEGIN, END, chat_environment

Message = Mapping[str, Any]
"""As in OpenAI's and Hugging Face's form: `role`, `content`, and perhaps `tool_calls` and more."""

SHIPPED = Path(__file__).parent / "templates"
OURS = "clapas"
CONFIG, TEMPLATE_FILE = "tokenizer_config.json", "chat_template.jinja"
MARKS = {OURS: ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "chatml": ("<|im_start|>", "<|im_end|>")}
"""Shipped template -> the special tokens that it writes. A tokenizer with ours and no template of its own gets ours."""
REASONING = ("reasoning_content", "thinking", "reasoning")
"""What a message's reasoning is called; templates read the first, or, some of them, the second."""
_WAYS = "a template with {% generation %} around what the assistant writes: --template FILE"


class ChatTemplateError(UserError):
    """This template cannot render these messages, or cannot say what of them is the assistant's."""


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template. text: its Jinja. named: where it is from. tokens: `bos_token` and the like, for it to write."""

    text: str
    named: str
    tokens: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Of its text, in hex: what a manifest records."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def marks_turns(self) -> bool:
        """Whether the template itself says what the assistant writes."""
        return re.search(r"{%-?\s*generation\s*-?%}", self.text) is not None

    @cached_property
    def _compiled(self) -> Template:
        try:
            return chat_environment().from_string(self.text)
        except TemplateSyntaxError as error:
            raise UserError(f"not a chat template: {error.message}", where=f"{self.named}:{error.lineno}") from None

    def check(self) -> ChatTemplate:
        """This template, of which Jinja understands the syntax. Raises UserError, with its line, otherwise."""
        assert self._compiled is not None
        return self

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        **options: Any,
    ) -> str:
        """The text of a conversation. options: further variables of the template, such as `enable_thinking`.

        add_generation_prompt: end with the header of the assistant's next turn.
        Raises ChatTemplateError where the template refuses the messages.
        """
        variables = {
            **self.tokens,
            **options,
            "messages": [_normal(message) for message in messages],
            "tools": None if tools is None else list(tools),
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return self._compiled.render(variables)
        except UserError:
            raise
        except Exception as error:  # a template is a program: it fails in any way
            what = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
            raise ChatTemplateError(
                f"the chat template refuses these messages: {what}", where=self.named + _line_of(error)
            ) from None

    def render_turns(
        self, messages: Sequence[Message], *, tools: Sequence[Mapping[str, Any]] | None = None, **options: Any
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text of a conversation and, for each of the assistant's turns, which of its characters are learned.

        A turn's mark of its end is learned with it, its header is not. Raises ChatTemplateError where none can tell.
        In a template without `generation` a turn is all up to the next one, white space after its mark included.
        """
        if self.marks_turns:
            with cast("Any", self._compiled.environment).marking():
                marked = self.render(messages, tools=tools, **options)
            text, spans = unmark(marked)
            if text != self.render(messages, tools=tools, **options):
                raise ChatTemplateError(
                    "the chat template looks at what stands in its {% generation %}", where=self.named
                )
            return text, spans
        text = self.render(messages, tools=tools, **options)
        spans = []
        for place, message in enumerate(messages):
            if message["role"] == "assistant":
                before, after = messages[:place], messages[: place + 1]
                header = self.render(before, tools=tools, add_generation_prompt=True, **options)
                turn = self.render(after, tools=tools, **options) if len(after) < len(messages) else text
                if not turn.startswith(header) or not text.startswith(turn):
                    raise self._ambiguous(place)
                spans.append((len(header), len(turn)))
        return text, spans

    def _ambiguous(self, place: int) -> ChatTemplateError:
        return ChatTemplateError(
            f"cannot tell what of this text the assistant writes in message {place + 1}",
            where=self.named,
            found="a template that writes a turn otherwise once others follow it, or not after its own header",
            wanted=_WAYS,
        )


def _line_of(error: Exception) -> str:
    """`:line` of the template that failed, as Jinja writes it into the traceback; empty where it does not."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return f":{lines[-1]}" if lines else ""


def unmark(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """A text without BEGIN and END, and the spans between them, of which those that touch are one."""
    pieces, spans, at, begin = [], list[tuple[int, int]](), 0, 0
    for piece in re.split(f"([{BEGIN}{END}])", marked):
        if piece == BEGIN:
            begin = at
        elif piece == END:
            if spans and spans[-1][1] == begin:
                begin = spans.pop()[0]
            spans.append((begin, at))
        else:
            pieces.append(piece)
            at += len(piece)
    return "".join(pieces), spans


def _normal(message: Message) -> dict[str, Any]:
    """A message as transformers gives it to a template: no key without a value, reasoning under both its names."""
    found = {key: value for key, value in message.items() if value is not None}
    reasoning = next((found[key] for key in REASONING if key in found), None)
    return found if reasoning is None else {"thinking": reasoning, **found, "reasoning_content": reasoning}


def open_template(folder: Path, template: str | Path | None = None) -> ChatTemplate | None:
    """The chat template of a tokenizer's folder, or another for it: a file, or the name of one that ships.

    Its own is `chat_template.jinja`, else `chat_template` of tokenizer_config.json, of several the one named `default`.
    A tokenizer of ours without one gets ours. None: there is none. Raises UserError where it is not to be had.
    """
    config = _json(folder / CONFIG)
    tokens = _special_tokens(folder, config)
    if template is not None:
        _check_marks(folder, str(template))
        return ChatTemplate(*_given(template), tokens).check()
    if (file := folder / TEMPLATE_FILE).is_file():
        return ChatTemplate(file.read_text(encoding="utf-8"), str(file), tokens).check()
    own = config.get("chat_template")
    if isinstance(own, list):
        own = {entry["name"]: entry["template"] for entry in own}.get("default")
    if own:
        return ChatTemplate(own, f"{folder / CONFIG}: chat_template", tokens).check()
    if _added(folder).issuperset(MARKS[OURS]):
        return ChatTemplate(*_given(OURS), tokens).check()
    return None


def need_template(folder: Path, template: str | Path | None = None) -> ChatTemplate:
    """As `open_template`. Raises UserError where there is none."""
    found = open_template(folder, template)
    if found is None:
        raise UserError(
            "this tokenizer has no chat template",
            where=folder,
            wanted=f"{TEMPLATE_FILE}, or `chat_template` in {CONFIG}",
            way_out="put one there; or, where the command has it, --template with a file, or the name of one that "
            f"ships: {', '.join(shipped_templates())}",
        )
    return found


def shipped_templates() -> list[str]:
    """The names of the templates that ship."""
    return sorted(path.stem for path in SHIPPED.glob("*.jinja"))


def _check_marks(folder: Path, name: str) -> None:
    """Raise UserError where a shipped template would write as letters what this tokenizer has no token for."""
    if lacking := [mark for mark in MARKS.get(name, ()) if mark not in _added(folder)]:
        raise UserError(
            f"template {name!r} is not for this tokenizer",
            where=folder / "tokenizer.json",
            found=f"no token {' '.join(lacking)}",
            way_out="a template that ends turns with a token it has: --template FILE",
        )


def _given(template: str | Path) -> tuple[str, str]:
    """(text, where from) of a file or a shipped name."""
    path = Path(template)
    if str(template) in shipped_templates():
        path = SHIPPED / f"{template}.jinja"
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        wanted = f"a file, or one of {', '.join(shipped_templates())}"
        raise UserError(f"no chat template here: {reason}", where=path, wanted=wanted) from None


def _special_tokens(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """`bos_token`, `eos_token` and the like."""
    found = {**_json(folder / "special_tokens_map.json"), **config}
    names = (name for name in found if name.endswith("_token") and found[name])
    contents = ((name, found[name]["content"] if isinstance(found[name], dict) else found[name]) for name in names)
    return {name: content for name, content in contents if isinstance(content, str)}


@lru_cache(maxsize=4)
def _added(folder: Path) -> frozenset[str]:
    return frozenset(token["content"] for token in _json(folder / "tokenizer.json").get("added_tokens", ()))


def _json(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}", where=path) from None
    return found if isinstance(found, dict) else {}
