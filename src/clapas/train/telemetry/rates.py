"""Speed a GPU, hardware utilisation, and steps that fp16 skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clapas.train.telemetry.measure import Columns, Measure
from clapas.train.utilisation import executed_flops

if TYPE_CHECKING:
    from clapas.train.run import Run


class Rates(Measure):
    """Follows from the row and the recipe: no rank brings anything."""

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """tokens_per_second_per_gpu (per rank on a CPU), hfu, skipped_steps, and the rates of scaled groups."""
        executed = executed_flops(run.recipe, run.phase.sequence_length)
        return {
            "tokens_per_second_per_gpu": row["tokens_per_second"] / run.ranks.size,
            "hfu": None if row["mfu"] is None else row["mfu"] * executed,
            "skipped_steps": int(run.engine.deepspeed.skipped_steps),
            **scaled_rates(run.engine.base_optimizer.param_groups),
        }


def scaled_rates(groups: list[dict[str, Any]]) -> Columns:
    """`learning_rate/muon` and `learning_rate/scaled`: of the groups whose rate is not the run's (Muon, muP)."""
    scaled = [group for group in groups if group.get("lr_scale", 1.0) != 1.0]
    return {f"learning_rate/{'muon' if group.get('muon') else 'scaled'}": group["lr"] for group in scaled}
