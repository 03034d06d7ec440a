"""The named steps that a corpus file may list, one family a file. `AnyStep` is the type of one entry of the list."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field

from clapas_data.steps.boilerplate import Boilerplate
from clapas_data.steps.c4 import C4
from clapas_data.steps.deduplicate import Exact, Lines, Near
from clapas_data.steps.evaluations import Evaluations
from clapas_data.steps.fineweb import FineWeb
from clapas_data.steps.gopher import GopherQuality
from clapas_data.steps.gopher_repetition import GopherRepetition
from clapas_data.steps.language import Language, LanguageParagraphs
from clapas_data.steps.ocr import Ocr
from clapas_data.steps.opt_out import OptOut
from clapas_data.steps.perplexity import Perplexity
from clapas_data.steps.personal import Personal
from clapas_data.steps.repair import Repair
from clapas_data.steps.repetition import Repetition
from clapas_data.steps.step import Across, Step
from clapas_data.steps.typography import Typography
from clapas_data.steps.words import Words

AnyStep = Annotated[
    Boilerplate
    | C4
    | Evaluations
    | Exact
    | FineWeb
    | GopherQuality
    | GopherRepetition
    | Language
    | LanguageParagraphs
    | Lines
    | Near
    | Ocr
    | OptOut
    | Perplexity
    | Personal
    | Repair
    | Repetition
    | Typography
    | Words,
    Field(discriminator="step"),
]

STEPS: dict[str, type[Step] | type[Across]] = {
    kind.model_fields["step"].default: kind for kind in get_args(get_args(AnyStep)[0])
}
"""All steps by their names."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was most likely meant, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known) or 'none'}"


def refuse_unknown_options(name: str, options: dict[str, Any]) -> None:
    """Raise ValueError that names the first option which a step does not have, and what it has."""
    known = [option for option in STEPS[name].model_fields if option != "step"]
    if unknown := [option for option in options if option not in known]:
        raise ValueError(f"{name}.{unknown[0]}: no option of this step; {nearest(str(unknown[0]), known)}")


def _named(entry: Any) -> Any:
    """`language`, or `language: {threshold: 0.8}`, as the options with the step's name among them."""
    if isinstance(entry, str):
        name, options = entry, {}
    elif isinstance(entry, dict) and len(entry) == 1 and isinstance(next(iter(entry.values())), dict | None):
        ((name, options),) = entry.items()
    else:
        raise ValueError(f"found {entry!r}; an entry is a step's name, or a name and its options: `language: {{...}}`")
    if name not in STEPS:
        raise ValueError(f"no step {name}; {nearest(str(name), STEPS)}")
    refuse_unknown_options(name, options or {})
    return {"step": name, **(options or {})}


StepEntry = Annotated[AnyStep, BeforeValidator(_named)]
