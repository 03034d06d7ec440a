"""The rules of Gopher, FineWeb and C4 in plain Python, one document at a time: what the vectorised ones are held to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence

from clapas_data.steps.gopher import BULLETS, FRENCH_STOP_WORDS

WORDS = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return WORDS.findall(text.lower())


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def share(part: float, whole: float) -> float:
    return part / max(whole, 1)


def again(pieces: Sequence[Hashable]) -> list[bool]:
    """Which pieces stand earlier."""
    seen: set[Hashable] = set()
    found = []
    for piece in pieces:
        found.append(piece in seen)
        seen.add(piece)
    return found


def gopher_quality(text: str) -> dict[str, float]:
    own, rows = words(text), lines(text)
    ends = [row.rstrip().endswith(("…", "...")) for row in rows]
    return {
        "few_words": len(own),
        "many_words": len(own),
        "short_words": share(sum(map(len, own)), len(own)),
        "long_words": share(sum(map(len, own)), len(own)),
        "hashes": share(text.count("#"), len(own)),
        "ellipses": share(text.count("...") + text.count("…"), len(own)),
        "bullet_lines": share(sum(row.lstrip()[:1] in set(BULLETS) for row in rows), len(rows)),
        "ellipsis_lines": share(sum(ends), len(rows)),
        "few_alphabetic_words": share(sum(any(map(str.isalpha, word)) for word in own), len(own)),
        "few_stop_words": len(set(own) & set(FRENCH_STOP_WORDS)),
    }


def gopher_repetition(text: str) -> dict[str, float]:
    rows = [row.lower() for row in lines(text)]
    blocks = [part.strip("\n").lower() for part in re.split("\n\n+", text) if part.strip("\n")]
    found: dict[str, float] = {}
    for kind, pieces in (("line", rows), ("paragraph", blocks)):
        twice = again(pieces)
        found[f"duplicate_{kind}s"] = share(sum(twice), len(pieces))
        repeated = sum(len(piece) for piece, is_again in zip(pieces, twice, strict=True) if is_again)
        found[f"duplicate_{kind}_characters"] = share(repeated, sum(map(len, pieces)))
    own = words(text)
    total = sum(len(word) + 1 for word in own)
    for size in range(2, 11):
        runs = [tuple(own[place : place + size]) for place in range(len(own) - size + 1)]
        if size <= 4:
            counts = Counter(runs)
            top = max(counts, key=lambda run: counts[run], default=())  # of equals, the first that stands
            once = counts[top] < 2
            found[f"top_{size}_gram"] = 0 if once else share(counts[top] * sum(len(word) + 1 for word in top), total)
        else:
            covered = {place + step for place, is_again in enumerate(again(runs)) if is_again for step in range(size)}
            found[f"duplicate_{size}_grams"] = share(sum(len(own[place]) + 1 for place in covered), total)
    return found


def fineweb(text: str) -> dict[str, float]:
    rows = lines(text)
    twice = again([row.lower() for row in rows])
    repeated = sum(len(row) for row, is_again in zip(rows, twice, strict=True) if is_again)
    return {
        "punctuated_lines": share(sum(row.rstrip().endswith(tuple(".!?…;\"'»”’")) for row in rows), len(rows)),
        "short_lines": share(sum(len(row) <= 30 for row in rows), len(rows)),
        "duplicate_characters": share(repeated, sum(map(len, rows))),
        "line_ends": text.count("\n") / max(len(words(text)), 1),
    }


def sentences(line: str) -> int:
    ends = re.finditer(r"(?<=\w\w)[.!?…]\s(?=[A-ZÀ-ÖØ-ÞŒ«\"“‘'(\-–—])", line)
    return 1 + sum(1 for _ in ends)


def c4(text: str, policies: Sequence[str]) -> tuple[str, float]:
    """What is left of the text, citations aside, and its sentences."""
    phrases = [" " + " ".join(words(phrase)) + " " for phrase in (*policies, "javascript")]
    kept = []
    for row in text.split("\n"):
        plain = " " + " ".join(words(row)) + " "
        lump = max(map(len, row.split()), default=0) > 1000
        if row and (len(words(row)) < 3 or lump or any(phrase in plain for phrase in phrases)):
            continue
        kept.append(row)
    return "\n".join(kept), sum(sentences(row) for row in kept if row)
