"""What of a completion is its answer, and whether that is the right one.

Looked for in this order: the last `<réponse>…</réponse>` (or `<answer>`), the last `\\boxed{…}`, what follows the last
`####`, what follows the last « réponse : » of a line, the last number. What stands in `<pense>…</pense>` is no answer.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from clapas.tune.grpo.rewards.readings import numbers_in, plain_text, readings

_THOUGHTS = re.compile(r"<(pense|think)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_TAGGED = re.compile(r"<(réponse|reponse|answer)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_ANNOUNCED = re.compile(
    r"(?:réponse|reponse|résultat|resultat|answer)\b[^:=\n]{0,40}[:=][ \t]*(\S[^\n]*)", re.IGNORECASE
)
_BOX = re.compile(r"\\f?box(?:ed)?\s*\{")


def is_right(completion: str, answer: Any) -> bool:
    """Whether a completion's final answer is `answer`: a number, or a text with or without numbers."""
    given = final_answer(completion)
    if given is None:
        return False
    wanted = numbers_of(answer)
    if not wanted:
        return _same(given, str(answer))
    if found := readings(given):
        return bool(found & wanted)
    numbers = numbers_in(given)
    return bool(numbers) and bool(readings(numbers[-1]) & wanted)


def numbers_of(answer: Any) -> frozenset[Fraction]:
    """What numbers the right answer may be; empty where it is none."""
    if isinstance(answer, bool):
        return frozenset()
    if isinstance(answer, (int, float)):
        return frozenset([Fraction(str(answer))])
    text = str(answer)
    return readings(text.rpartition("####")[2])


def final_answer(completion: str) -> str | None:
    """The piece of a completion that is its answer; None where there is none."""
    text = _THOUGHTS.sub("", completion)
    if tagged := _TAGGED.findall(text):
        inside = tagged[-1][1]
        return _boxed(inside) or inside.strip() or None
    if boxed := _boxed(text):
        return boxed
    if "####" in text:
        return text.rpartition("####")[2].strip() or None
    if announced := _ANNOUNCED.findall(text):
        return announced[-1].strip()
    numbers = numbers_in(text)
    return numbers[-1] if numbers else text.strip() or None


def _boxed(text: str) -> str | None:
    """What stands in the last box whose braces close."""
    for start in reversed([found.end() for found in _BOX.finditer(text)]):
        depth = 1
        for place in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if not depth:
                return text[start:place].strip() or None
    return None


def _same(given: str, wanted: str) -> bool:
    return _letters(given) == _letters(wanted)


def _letters(text: str) -> str:
    """A text without what does not change an expression: spaces, capitals, dress."""
    return plain_text(text).replace(" ", "").casefold()
