"""Speed a GPU, hardware utilisation, and steps that fp16 skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clapas.train.telemetry.measure import Columns, Measure
from clapas.train.utilisation import executed_flops

if TYPE_CHECKING:
    from clapas.train.run import Run


class Rates(Measure):
    """Follows from the row and the recipe: no rank brings anything."""

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """tokens_per_second_per_gpu (per rank on a CPU), hfu, skipped_steps."""
        executed = executed_flops(run.recipe, run.phase.sequence_length)
        return {
            "tokens_per_second_per_gpu": row["tokens_per_second"] / run.ranks.size,
            "hfu": None if row["mfu"] is None else row["mfu"] * executed,
            "skipped_steps": int(getattr(run.engine.deepspeed, "skipped_steps", 0)),
        }
