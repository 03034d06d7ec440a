"""What is known of licences: which of them keep a model trained on their texts from an open release.

Read at build, where it costs nothing to know, rather than at the release, after the training. A licence is an SPDX
expression (https://spdx.org/licenses/) or a word of one's own; what is not recognised is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

UNKNOWN = "unknown"
"""The licence of texts of which nobody said: a release refuses it."""
CLOSED = {
    "non-commercial": re.compile(r"(?:^|[-_ ])NC(?:$|[-_ ])|non-?commercial", re.I),
    "no-derivatives": re.compile(r"(?:^|[-_ ])ND(?:$|[-_ ])|no-?deriv", re.I),
    "unknown-licence": re.compile(r"^(?:unknown|other|noassertion|various|none)$", re.I),
    "proprietary": re.compile(r"proprietary|all[- ]rights[- ]reserved|commercial-licen[cs]e", re.I),
    "use-restrictions": re.compile(r"(?:^|[-_ ])(?:open)?rail(?:$|[-_ +])|(?:^|[-_ ])(?:llama\d|gemma)", re.I),
}
"""Flag -> what a licence's name says where it has it."""
Value = TypeVar("Value")


def licence_flags(licence: str, caveats: Iterable[str] = ()) -> tuple[str, ...]:
    """Why texts of a licence cannot end in an open release; empty where nothing is known against it.

    licence: `A AND B` has the flags of both; of `A OR B` one may choose, so only what both have. caveats: of the
    source, which count as the licence's own where they name a flag.
    """
    found = _flags(licence) | (set(caveats) & CLOSED.keys())
    return tuple(flag for flag in CLOSED if flag in found)


def _flags(expression: str) -> set[str]:
    return fold(
        expression,
        lambda licence: {flag for flag, says in CLOSED.items() if says.search(licence)},
        either=lambda ways: set.intersection(*ways),
        both=lambda parts: set.union(*parts),
    )


def fold(
    expression: str,
    judge: Callable[[str], Value],
    *,
    either: Callable[[list[Value]], Value],
    both: Callable[[list[Value]], Value],
) -> Value:
    """What an SPDX expression comes to, in which OR binds less than AND, and parentheses more.

    judge: of one licence. either: of the ways of an OR, among which one may choose. both: of the parts of an AND.
    """
    expression = expression.strip()
    for operator, join in (("OR", either), ("AND", both)):
        parts = _split(expression, operator)
        if len(parts) > 1:
            return join([fold(part, judge, either=either, both=both) for part in parts])
    if expression.startswith("(") and expression.endswith(")"):
        return fold(expression[1:-1], judge, either=either, both=both)
    return judge(expression)


def _split(expression: str, operator: str) -> list[str]:
    """An expression at an operator, outside parentheses."""
    parts, depth, words = [], 0, []
    for word in expression.split():
        if word == operator and not depth:
            parts.append(" ".join(words))
            words = []
        else:
            words.append(word)
            depth += word.count("(") - word.count(")")
    return [*parts, " ".join(words)]
