"""The named steps that a corpus file may list, one family a file. `AnyStep` is the type of one entry of the list."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from clapas_data.steps.deduplicate import Exact
from clapas_data.steps.personal import Personal
from clapas_data.steps.repair import Repair
from clapas_data.steps.typography import Typography

AnyStep = Annotated[Exact | Personal | Repair | Typography, Field(discriminator="step")]


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
