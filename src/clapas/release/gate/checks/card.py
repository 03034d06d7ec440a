"""Check 21: the documents say what the evidence says.

Each is rendered again from evidence and answers, and must be the same to the byte; the card must parse as the Hub reads
it, and its metadata are held against the evidence on their own. Whoever verifies a release of another version of Clapas
does the latter alone; plots are compared where the release is made, for another matplotlib draws other bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from clapas import __version__
from clapas.recipe.errors import UserError
from clapas.release.documents.all import writers
from clapas.release.documents.eval_results import FOLDER as EVAL_RESULTS
from clapas.release.documents.facts import Facts, facts_of
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.claims import false_claims
from clapas.release.gate.reading import Unreadable, read_object, read_text
from clapas.release.keys import fingerprint
from clapas.release.layout import ANSWERS, CARD, EVIDENCE, PUBLIC_KEY, RESULTS
from clapas.release.sums import NotSoundError
from clapas_data.optional import needs

FOLDERS = ("documents", "images")
"""In which nothing else stands than what is rendered."""


@dataclass
class _Rendered:
    """Documents as they must be. problems: of those that cannot be rendered. unseen: what is missing to render some."""

    documents: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


def check_card(draft: Draft) -> Verdict:
    """Of a draft, all of it; for a stranger, what can be rendered where they are."""
    try:
        facts = _facts(draft)
        with needs("huggingface_hub", "the model card's metadata", extra="verify"):
            import huggingface_hub  # noqa: F401
    except (NotSoundError, UserError) as error:
        return not_run(str(error).splitlines()[0])
    rendered = _render(draft, facts)
    problems = [*_inputs(draft), *_parsed(draft, facts), *rendered.problems, *_compared(draft, rendered)]
    told = f"{len(rendered.documents)} documents are as evidence and answers give them; the card parses and agrees"
    return judged(problems, "; not rendered here: ".join([told, *filter(None, [", ".join(rendered.unseen)])]))


def _facts(draft: Draft) -> Facts:
    """What the documents were rendered from; for a stranger, what stands in the folder.

    On a hub revisions are branches, so that a copy of the model has none beside it: release.json names them.
    """
    if draft.facts is not None:
        return replace(draft.facts, evidence=draft.evidence, answers=draft.answers)
    key = draft.folder / PUBLIC_KEY
    whose = fingerprint(key) if key.is_file() else None
    facts = facts_of(draft.folder, draft.evidence, draft.answers, draft.digests, whose)
    said = read_object(draft.folder, RESULTS)
    names = None if isinstance(said, Unreadable) else said.get("revisions")
    return replace(facts, revisions=tuple(map(str, names if isinstance(names, list) else ())))


def _inputs(draft: Draft) -> Iterator[str]:
    """Evidence and answers in the folder are the draft's own; a stranger has no others."""
    if draft.live is None:
        return
    for name, wanted in ((EVIDENCE, draft.evidence.to_json()), (ANSWERS, draft.answers.to_yaml().encode())):
        path = draft.folder / name
        if path.is_file() and path.read_bytes() != wanted:
            yield f"{name} is not what the documents were made from"


def _parsed(draft: Draft, facts: Facts) -> Iterator[str]:
    """The card as the Hub's library reads it, and what it claims."""
    from huggingface_hub import ModelCard

    page = read_text(draft.folder, CARD)
    if isinstance(page, Unreadable):
        return  # check 1 tells
    if not page.startswith("---\n"):
        yield f"{CARD} has no metadata"
        return
    try:
        card = ModelCard(page)
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        yield f"{CARD}: its metadata do not parse: {str(error).splitlines()[0]}"
        return
    yield from false_claims(card, facts)


def _render(draft: Draft, facts: Facts) -> _Rendered:
    rendered = _Rendered()
    if draft.live is None and draft.evidence.clapas != __version__:
        rendered.unseen.append(f"documents of Clapas {draft.evidence.clapas} (this is {__version__})")
        return rendered
    for write in writers():
        try:
            rendered.documents |= write(facts)
        except UserError as error:
            (rendered.unseen if draft.live is None else rendered.problems).append(error.what)
        except Exception as error:  # whatever stands in a stranger's evidence, a check says so and does not fall over
            name = write.__module__.rpartition(".")[2]
            rendered.problems.append(f"{name} cannot be rendered from this evidence: {type(error).__name__}: {error}")
    return rendered


def _compared(draft: Draft, rendered: _Rendered) -> Iterator[str]:
    """What differs; files that are missing are told by check 1, results that nobody rendered here."""
    for name, content in rendered.documents.items():
        path = draft.folder / name
        if not path.is_file() or (draft.live is None and path.suffix == ".png"):
            continue
        if (found := path.read_bytes()) != content:
            yield f"{name} is not what evidence and answers say{_where(found, content)}"
    if rendered.documents:
        there = _those_of(draft.folder, EVAL_RESULTS)
        yield from (f"{name}: nobody measured these results" for name in sorted(there - rendered.documents.keys()))
    if rendered.documents and not rendered.unseen:
        there = {name for folder in FOLDERS for name in _those_of(draft.folder, folder)}
        yield from (f"{name}: no document of this model" for name in sorted(there - rendered.documents.keys()))


def _those_of(folder: Path, name: str) -> set[str]:
    return {f"{name}/{path.name}" for path in (folder / name).glob("*")}


def _where(found: bytes, wanted: bytes) -> str:
    """The first line that differs, of text."""
    try:
        ours, theirs = (content.decode().splitlines() for content in (wanted, found))
    except UnicodeDecodeError:
        return ""
    for number, (own, other) in enumerate(zip(ours, theirs, strict=False), 1):
        if own != other:
            return f": line {number} is {other[:80]!r}"
    return f": it has {len(theirs)} lines, not {len(ours)}"


CHECK = Check(21, "card", "the card parses, and every document says what the evidence says", check_card)
