"""22: every intermediate revision is a whole model of its own: it passes checks 1 to 10, under the name of its step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.gate import run_checks
from clapas.release.layout import REVISIONS

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
        if int(match[2]) > draft.evidence.steps:
            yield f"{name}: the run has {draft.evidence.steps} steps"
        path = draft.folder / REVISIONS / name
        inner = replace(draft, folder=path, gguf=(), revisions=(), is_revision=True)
        for result in run_checks(inner, OF_MODEL):
            if result.blocks if draft.live else result.status == "fail":  # a stranger may lack transformers
                yield f"{name}: {result.number} {result.name}: {'; '.join(result.said)}"


CHECK = Check(22, "revisions", "intermediate revisions pass 1-10", check, lambda draft: bool(draft.revisions))
