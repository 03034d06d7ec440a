"""The recipe's section on what a run does when something goes wrong."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from clapas.recipe.typed import Section


class SpikeConfig(Section):
    """What to do about a step whose loss or gradient norm is NaN, infinite, or far above those before it.

    action: skip leaves the weights as they were, and goes on with the next step; rollback goes on after the newest
        checkpoint and leaves out the data that were read since (where there is none yet, it skips).
    threshold: how far above the median of the last `window` sound steps, in robust standard deviations (1.4826 median
        absolute deviations, and at least 1 % of the median), is a spike; null: only what is not finite.
    window: sound steps that are looked back at; nothing is too far above half as many.
    retries: how often it acts until `window` steps in a row were sound; after that the run ends (exit 1).
    """

    also_called: ClassVar[dict[str, str]] = {"sigma_factor": "threshold", "rolling_interval_length": "window"}

    action: Literal["skip", "rollback"] = "skip"
    threshold: PositiveFloat | None = 12.0
    window: Annotated[int, Field(ge=8)] = 128
    retries: PositiveInt = 3


class FaultsConfig(Section):
    """When a run gives itself up, so that it does not burn its allocation (docs/faults.md).

    stall_seconds: a rank that does not get on for so long ends the run (exit 1), named, with its stacks. In the first
        step of a start it has three times as long: it may compile. null: never.
    crash_loop: after so many starts in a row, of the same recipe on as many ranks, that crashed without a new
        checkpoint, the next is refused (exit 2). null: never.
    compare_every: steps after which ranks that hold copies of the same weights compare their bits, and before each
        checkpoint; where they differ the run ends, with the odd rank named (exit 1). Not at ZeRO-3, which has no
        copies. By default nothing is compared.
    spike: what to do about a step that went wrong. By default a loss or a gradient that is not finite ends the run
        (exit 1), and nothing else is looked at.
    """

    also_called: ClassVar[dict[str, str]] = {
        "timeout": "stall_seconds",
        "stall_timeout": "stall_seconds",
        "max_restarts": "crash_loop",
    }

    stall_seconds: PositiveFloat | None = 1800.0
    crash_loop: PositiveInt | None = 3
    compare_every: PositiveInt | None = None
    spike: SpikeConfig | None = None


def check_faults(faults: FaultsConfig, zero_stage: int) -> None:
    """Raise ValueError where replicas are to be compared and there are none."""
    if faults.compare_every is not None and zero_stage == 3:
        raise ValueError(
            f"faults.compare_every: found {faults.compare_every}; must be null with parallel.zero_stage: 3, where each "
            "rank holds a part of the weights that no other has: nothing can be compared"
        )
