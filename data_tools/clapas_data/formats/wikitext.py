"""Wikitext as readable text: the prose of an article, its headings and lists.

Dropped: templates (but those that are words, wiki_templates.py), tables, references, files, categories, galleries,
sections of links and sources, headings that nothing follows. Formulas stay as LaTeX between dollars.

Written for this: one pass over the brackets with a stack, linear in the text whatever is unclosed. mwparserfromhell
knows all of the grammar and takes nine times as long (docs/decisions/113-wikitext.md).
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from clapas_data.formats.wiki_templates import spoken

_KEPT_OPEN, _KEPT_CLOSE = "\ufdd0", "\ufdd1"
"""Around the number of a piece that is kept as it is: characters that no text may hold (Unicode noncharacters)."""
_LITERAL = ("nowiki", "pre", "syntaxhighlight", "source", "code")
_DROPPED = (
    *("ref", "references", "gallery", "timeline", "imagemap", "score", "graph", "mapframe", "maplink", "hiero"),
    *("templatestyles", "categorytree", "inputbox", "section", "style", "script", "noinclude"),
)
_BRACKETS = re.compile(r"\{\{|\}\}|\[\[|\]\]|^[ \t:]*\{\||^[ \t]*\|\}(?!\})", re.M)
_CLOSES = {"}}": "{{", "]]": "[[", "|}": "{|"}
_FILES = re.compile(r"\s*(?:fichier|file|image|média|media|catégorie|category)\s*:", re.I)
_OTHER_WIKI = re.compile(r"\s*[a-z]{2,3}(?:-[a-z]+)*:")
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:)?//[^\s\[\]<>]*[ \t]*([^\[\]\n]*)\]", re.I)
_HEADING = re.compile(r"^(={1,6})[ \t]*(.+?)[ \t]*={1,6}[ \t]*$")
_LIST_MARK = re.compile(r"^[*#:;]+[ \t]*")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,2000}>")
_BREAK = re.compile(r"<br[^<>]{0,100}>", re.I)
_SWITCH = re.compile(r"__[A-ZÀ-Þ_]{3,40}__")
_QUOTES = re.compile(r"'{2,}")
_HOLLOW = re.compile(r"[ \t\u00a0]*\([\s\u00a0,;:/–—-]*\)")
_SPACES = re.compile(r"[ \t]{2,}")
_LEFT_OUT = frozenset(
    {"notes et références", "références", "notes", "voir aussi", "liens externes", "lien externe", "articles connexes"}
    | {"bibliographie", "annexes", "sources", "article connexe", "sur les autres projets wikimedia", "liens internes"}
    | {"references", "external links", "see also", "further reading", "bibliography"}
)
"""Sections of links and sources."""


def wikitext_to_text(text: str) -> str:
    """The prose of an article, a line a paragraph, heading or item; sections that nothing is left of are dropped."""
    kept: list[str] = []
    text = text.replace(_KEPT_OPEN, "").replace(_KEPT_CLOSE, "")
    text = _without(text, "<!--", "-->")
    text = _keep_literals(text, kept)
    for name in _DROPPED:
        text = _without_element(text, name)
    text = _without_brackets(text)
    text = _EXTERNAL.sub(lambda found: found[1], text)
    text = _TAG.sub("", _BREAK.sub("\n", text))
    lines = [_line(line) for line in _SWITCH.sub("", text).split("\n")]
    text = _HOLLOW.sub("", "\n".join(_sections(lines))).replace("J.-C..", "J.-C.")  # a template, and the full stop
    text = re.sub(f"{_KEPT_OPEN}(\\d+){_KEPT_CLOSE}", lambda found: kept[int(found[1])], text)
    return re.sub(r"\n{3,}", "\n\n", html.unescape(text)).strip()


def _without(text: str, begin: str, end: str) -> str:
    """The text without what stands between marks; what is never closed stays."""
    pieces, at = [], 0
    while (start := text.find(begin, at)) >= 0:
        stop = text.find(end, start + len(begin))
        if stop < 0:
            break
        pieces.append(text[at:start])
        at = stop + len(end)
    return "".join(pieces) + text[at:] if pieces or at else text


def _elements(text: str, name: str, replace: Callable[[str], str]) -> str:
    """The text with each element of a name replaced, by its content; an unclosed one only loses its tag, later."""
    opening = re.compile(rf"<{name}\b[^<>]{{0,2000}}?(/?)>", re.I)
    closing = re.compile(rf"</{name}\s*>", re.I)
    pieces, at = [], 0
    while found := opening.search(text, at):
        if found[1]:
            content, stop = "", found.end()
        else:
            end = closing.search(text, found.end())
            if end is None:
                break
            content, stop = text[found.end() : end.start()], end.end()
        pieces += [text[at : found.start()], replace(content)]
        at = stop
    return "".join(pieces) + text[at:]


def _without_element(text: str, name: str) -> str:
    return _elements(text, name, lambda content: "") if f"<{name}" in text.lower() else text


def _keep_literals(text: str, kept: list[str]) -> str:
    """Put formulas and literal text aside, where no wikitext is read in them."""

    def keep(content: str) -> str:
        kept.append(content)
        return f"{_KEPT_OPEN}{len(kept) - 1}{_KEPT_CLOSE}"

    for name in _LITERAL:
        if f"<{name}" in text:
            text = _elements(text, name, keep)
    for name in ("math", "ce", "chem"):
        if f"<{name}" in text:
            text = _elements(text, name, lambda content: keep(f"${content.strip()}$") if content.strip() else "")
    return text


@dataclass(slots=True)
class _Frame:
    """An open bracket and the text after it, as far as it has been read."""

    kind: str
    pieces: list[str] = field(default_factory=list)


def _without_brackets(text: str) -> str:
    """Templates, tables and links replaced by what is read of them, the innermost first."""
    frames = [_Frame("")]
    open_of = {"{{": 0, "[[": 0, "{|": 0}
    at = 0
    for found in _BRACKETS.finditer(text):
        frames[-1].pieces.append(text[at : found.start()])
        at = found.end()
        mark = found[0].strip(" \t:")
        if mark in open_of:
            frames.append(_Frame(mark))
            open_of[mark] += 1
        elif open_of[_CLOSES[mark]]:
            while frames[-1].kind != _CLOSES[mark]:
                open_of[frames[-1].kind] -= 1
                _give_up(frames)
            open_of[_CLOSES[mark]] -= 1
            frame = frames.pop()
            frames[-1].pieces.append(_RENDER[frame.kind]("".join(frame.pieces)))
    frames[-1].pieces.append(text[at:])
    while len(frames) > 1:
        _give_up(frames)
    return "".join(frames[0].pieces)


def _give_up(frames: list[_Frame]) -> None:
    """An opening that nothing closes is no bracket: its text belongs to what it stands in."""
    frame = frames.pop()
    if len(frame.pieces) > len(frames[-1].pieces):  # the shorter list moves, so that all moves together stay linear
        frames[-1].pieces.append("".join(frame.pieces))
    else:
        frames[-1].pieces.extend(frame.pieces)


def _link(content: str) -> str:
    target, bar, label = content.partition("|")
    if _FILES.match(target) or (not bar and _OTHER_WIKI.match(target)):
        return ""
    return (label if bar else target.removeprefix(":")).strip("|")


_RENDER: dict[str, Callable[[str], str]] = {"{{": spoken, "[[": _link, "{|": lambda content: ""}


def _line(line: str) -> str:
    """A line without marks of emphasis and lists."""
    line = _LIST_MARK.sub("", _without_quotes(line))
    return _SPACES.sub(" ", line).strip(" \t")


def _without_quotes(line: str) -> str:
    """A line without `''` and `'''`. Where they do not match, one of the `'''` is an apostrophe and `''`, as in
    `l'''Iliade''`: MediaWiki's own rule, which takes the first after a single letter, else after a word."""
    if "''" not in line:
        return line
    runs = list(_QUOTES.finditer(line))
    bold = [run for run in runs if len(run[0]) in (3, 4) or len(run[0]) >= 5]
    italic = [run for run in runs if len(run[0]) == 2 or len(run[0]) >= 5]
    apostrophe = None
    if len(bold) % 2 and len(italic) % 2:
        three = [run for run in runs if len(run[0]) == 3]
        single = (run for run in three if re.search(r"(?:^|[\s(«\u00a0])\w$", line[: run.start()]))
        word = (run for run in three if re.search(r"\w$", line[: run.start()]))
        apostrophe = next(single, None) or next(word, None) or next(iter(three), None)
    pieces, at = [], 0
    for run in runs:
        extra = 1 if run is apostrophe or len(run[0]) == 4 else max(0, len(run[0]) - 5)
        pieces += [line[at : run.start()], "'" * extra]
        at = run.end()
    return "".join(pieces) + line[at:]


def _sections(lines: list[str]) -> list[str]:
    """The lines with headings as plain lines, without sections of links and those in which nothing is left."""
    found: list[str] = []
    waiting: list[tuple[int, str]] = []
    skipped = 0
    for line in lines:
        heading = _HEADING.match(line)
        if heading:
            level, title = len(heading[1]), heading[2]
            if skipped and level > skipped:
                continue
            skipped = level if title.casefold() in _LEFT_OUT else 0
            waiting = [(above, text) for above, text in waiting if above < level]
            if not skipped:
                waiting.append((level, title))
        elif not skipped and line:
            found += [text for _, title in waiting for text in ("", title, "")]
            waiting.clear()
            found.append(line)
        elif not skipped and found and found[-1]:
            found.append("")
    return found
