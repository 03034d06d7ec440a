"""22: every intermediate revision is a whole model of its own: it passes checks 1 to 10, under the name of its step.

Where the release is made, its name is that of the run's checkpoint (stage, step, tokens) and its weights are that
checkpoint's, bit for bit but for their rounding; a stranger compares the names with those that were signed. Its papers
are the release's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from clapas import __version__
from clapas.recipe.errors import UserError
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.checks.logits import differing_weights
from clapas.release.gate.gate import run_checks
from clapas.release.gate.live import LiveModel
from clapas.release.gate.reading import Unreadable, read_object, read_tensors, read_text
from clapas.release.layout import CARD, RESULTS, REVISIONS
from clapas.release.revisions import FROM_RELEASE, find_revisions, revision_card, revision_name

NAME = re.compile(r"stage(\d+)-step(\d+)-tokens\d+(?:\.\d+)?[TBMk]?")


def check(draft: Draft) -> Verdict:
    """Each folder in `revisions/`, by the same checks as the model."""
    folder = draft.folder / REVISIONS
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not there and not draft.revisions:
        return not_run("no intermediate revisions were asked for")
    return judged(_problems(draft, there), f"{', '.join(there)}: each passes checks 1 to 10")


def _problems(draft: Draft, there: list[str]) -> Iterator[str]:
    from clapas.release.gate.all_checks import OF_MODEL  # which lists this check too

    if missing := sorted(set(draft.revisions) - set(there)):
        yield f"missing: {', '.join(missing)}"
    for name in there:
        if (match := NAME.fullmatch(name)) is None:
            yield f"{name}: not named stageN-stepN-tokensN"
            continue
        step = int(match[2])
        if step > draft.evidence.steps:
            yield f"{name}: the run has {draft.evidence.steps} steps"
        of_run = _signed(draft, name) if draft.live is None else _of_checkpoint(draft, draft.live, name, step)
        yield from (f"{name}: {problem}" for problem in (*of_run, *_papers(draft, name, step)))
        path = draft.folder / REVISIONS / name
        inner = replace(draft, folder=path, gguf=(), revisions=(), is_revision=True)
        for result in run_checks(inner, OF_MODEL):
            if result.blocks if draft.live else result.status == "fail":  # a stranger may lack transformers
                yield f"{name}: {result.number} {result.name}: {'; '.join(result.said)}"


def _of_checkpoint(draft: Draft, live: LiveModel, name: str, step: int) -> Iterator[str]:
    """Name and weights are those of the run at this step."""
    try:
        checkpoint = find_revisions(live.run, [step])[step]
    except UserError as error:
        yield error.what
        return
    if (wanted := revision_name(live.run, live.recipe, step)) != name:
        yield f"the run's checkpoint of this step is {wanted}"
    folder = draft.folder / REVISIONS / name
    tensors = read_tensors(folder)
    if not isinstance(tensors, Unreadable):  # which check 2 tells
        yield from differing_weights(folder, LiveModel(live.run, checkpoint), tensors)


def _signed(draft: Draft, name: str) -> Iterator[str]:
    """The release itself names it."""
    said = read_object(draft.folder, RESULTS)
    if not isinstance(said, Unreadable) and name not in (said.get("revisions") or ()):
        yield f"{RESULTS} does not name it"


def _papers(draft: Draft, name: str, step: int) -> Iterator[str]:
    """Licence and notice are the release's, and the card sends its reader there."""
    folder = draft.folder / REVISIONS / name
    for file in FROM_RELEASE:
        found = read_text(folder, file)
        if not isinstance(found, Unreadable) and found != read_text(draft.folder, file):
            yield f"its {file} is not the release's"
    model = draft.answers.model
    if draft.live is None and draft.evidence.clapas != __version__:
        return  # another version writes another card
    card = read_text(folder, CARD)
    if not isinstance(card, Unreadable) and card != revision_card(
        name, step, draft.evidence, model.name, model.licence
    ):
        yield f"its {CARD} is not that of {name}"


CHECK = Check(22, "revisions", "intermediate revisions pass 1-10", check, lambda draft: bool(draft.revisions))
