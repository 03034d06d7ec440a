"""The named steps that a corpus file may list, one family a file. `AnyStep` is the type of one entry of the list."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from clapas_data.steps.boilerplate import Boilerplate
from clapas_data.steps.c4 import C4
from clapas_data.steps.deduplicate import Exact
from clapas_data.steps.fineweb import FineWeb
from clapas_data.steps.gopher import GopherQuality
from clapas_data.steps.gopher_repetition import GopherRepetition
from clapas_data.steps.language import Language, LanguageParagraphs
from clapas_data.steps.ocr import Ocr
from clapas_data.steps.repair import Repair
from clapas_data.steps.repetition import Repetition
from clapas_data.steps.typography import Typography

AnyStep = Annotated[
    Boilerplate
    | C4
    | Exact
    | FineWeb
    | GopherQuality
    | GopherRepetition
    | Language
    | LanguageParagraphs
    | Ocr
    | Repair
    | Repetition
    | Typography,
    Field(discriminator="step"),
]


def _named(entry: Any) -> Any:
    """`language`, or `language: {threshold: 0.8}`, as the options with the step's name among them."""
    if isinstance(entry, str):
        return {"step": entry}
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, options),) = entry.items()
        if options is None or isinstance(options, dict):
            return {"step": name, **(options or {})}
    raise ValueError(f"found {entry!r}; an entry is a step's name, or a name and its options: `language: {{...}}`")


StepEntry = Annotated[AnyStep, BeforeValidator(_named)]
