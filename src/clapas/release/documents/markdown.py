"""Markdown that holds whatever stands in it: tables, names and metadata, in which no answer can break the page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

MEANING = re.compile(r"([\\`*\[\]<>|~]|(?<![^\W_])_|_(?![^\W_]))")
"""What CommonMark and GitHub's tables would read as more than a character; an underscore inside a word is one."""


def plain(text: str) -> str:
    """A text that is no Markdown (a name, a licence, an address), on one line, that reads as itself."""
    return MEANING.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """A name as code, on one line; as many backticks around it as it needs."""
    line = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"


def link(text: str, target: str) -> str:
    """A link; an address of mail becomes `mailto:`."""
    target = target.strip()
    if "@" in target and ":" not in target:
        target = f"mailto:{target}"
    target = re.sub("[<>]", "", target)
    return f"[{plain(text)}](<{target}>)" if re.search(r"[\s()]", target) else f"[{plain(text)}]({target})"


def address(target: str) -> str:
    """A page or an address of mail, as a link that shows itself."""
    return link(re.sub(r"^(?:mailto:|https?://)", "", target.strip()).rstrip("/"), target)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """A table of cells in Markdown; columns whose place is in `numbers` stand to the right. Empty cells show a dash,
    but in the head."""
    right = set(numbers)
    rule = "|".join("---:" if place in right else "---" for place in range(len(head)))
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join([f"| {' | '.join(cell(name) if name else '' for name in head)} |", f"|{rule}|", *lines])


def cell(text: str) -> str:
    """Markdown inside a table: bars are escaped, line ends become `<br>`."""
    lines = "<br>".join(line.strip() for line in text.strip().splitlines() if line.strip())
    return re.sub(r"(?<!\\)\|", r"\\|", lines) or "–"


def block(text: str, level: int) -> str:
    """A text of people's own in Markdown, whose headings are no higher than `level`, and whose fences are closed."""
    text = re.sub(r"^(#{1,6})(?= )", lambda found: "#" * min(6, max(level, len(found[1]))), text.strip(), flags=re.M)
    text = re.sub(r"^(?:---|===)+\s*$", "***", text, flags=re.M)
    return text + "\n```" if len(re.findall(r"^```", text, flags=re.M)) % 2 else text


def front_matter(metadata: dict[str, Any], body: str) -> str:
    """A page after its YAML metadata, as the Hub reads it."""
    head = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{head}---\n\n{body}"
