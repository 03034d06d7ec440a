"""Jinja as chat templates expect it: what transformers gives them, and nothing of this machine beyond it.

A template comes with a model, so it is a stranger's program: it runs sandboxed and changes nothing that it is given.
Its environment is what `apply_chat_template` of transformers documents: trimmed blocks, `break` and `continue`,
`raise_exception`, `strftime_now`, a `tojson` that escapes no HTML, and the tag `generation`, which says what of the
text the assistant wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

BEGIN, END = "\ufdd2", "\ufdd3"
"""Noncharacters of Unicode, which no text holds: what marks the assistant's text while a template renders."""


class Generation(Extension):
    """The tag `{% generation %}`: what stands in it is put between BEGIN and END while `marking` is on."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._marks = False
        environment.extend(marking=self.marking)

    def parse(self, parser: Parser) -> nodes.Node:
        """The block up to `endgeneration` as a call of `_wrapped`."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_wrapped"), [], [], body).set_lineno(line)

    def _wrapped(self, caller: Any) -> str:
        return f"{BEGIN}{caller()}{END}" if self._marks else caller()

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Mark what the assistant wrote, in templates rendered within."""
        self._marks = True
        try:
            yield
        finally:
            self._marks = False


def chat_environment() -> ImmutableSandboxedEnvironment:
    """A new environment for chat templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
