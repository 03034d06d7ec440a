"""E-mail addresses, plain and written so that machines should not read them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clapas_data.personal.finding import Finding, has_any

_NAME = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_PLAIN = re.compile(rf"@(?:\s(?=\S+\.(?:fr|com|org|net)\b))?(?P<domain>(?:{_NAME}\.)+[^\W\d_]{{2,24}})(?![\w@-])")
_SPACED = re.compile(rf"[\w.+-]{{1,64}} @ (?:{_NAME}\. ?)+(?:fr|com|org|net|eu|pro|info)(?![\w@-])")
"""As some converters leave them: info @ aacc. fr"""
_BEFORE = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]*[\w!#$%&'*+/=?^`{|}~-]$")
_DOT = r"\.|\s?[\[({<]\s?(?:dot|point|\.)\s?[\])}>]\s?|\s(?:dot|point)\s"
_AT = r"[\[({<]\s?(?:at|arobase?|arobas|a|@|chez)\s?[\])}>]"
_HIDDEN = re.compile(
    rf"(?P<at>{_AT}|\s(?:arobase?|AROBASE|AT|at)\s|_at_)\s?(?P<domain>(?:{_NAME}(?:{_DOT}))+(?:fr|com|org|net|eu|edu"
    r"|info|re|gouv|be|ch|ca|io|me|bzh|gf|gp|mq|nc|pf|pm|yt)\b)",
    re.IGNORECASE,
)
_HIDDEN_BEFORE = re.compile(rf"(?:[\w+-]{{1,40}}(?:{_DOT}))*[\w+-]{{1,40}}\s?$", re.IGNORECASE)
_BRACKETED = re.compile(r"[\[({<]\s?(?:at|arobas|a|@|chez)e?\s?[\])}>]", re.IGNORECASE)
_WORDS = (" at ", "robas", " AT ", "ROBAS")


def find_email(text: str) -> Iterator[Finding]:
    """E-mail addresses in a text."""
    if "@" in text:
        for match in _PLAIN.finditer(text):
            is_apart = text[match.start() + 1].isspace() and text[match.start() - 1 : match.start()].isspace()
            before = _BEFORE.search(text, max(0, match.start() - 66), match.start() - is_apart)
            if before:
                start = before.start() + len(before[0]) - len(before[0].lstrip(".'`/=?&*+|!{}#"))
                if start < match.start():
                    yield Finding("email", start, match.end())
        if " @ " in text:
            yield from (Finding("email", *match.span()) for match in _SPACED.finditer(text))
    if has_any(text, _WORDS) or _BRACKETED.search(text):
        for match in _HIDDEN.finditer(text):
            before = _HIDDEN_BEFORE.search(text, max(0, match.start() - 80), match.start())
            if before:
                yield Finding("email", before.start(), match.end())
