"""What the plan foretold of a run and what was measured, into the ledger when a segment ends.

Reads clocks and counters that are there already: no collective, nothing on the device, so no loss moves by a bit.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from clapas.plan.hardware import Device, device_named, device_of_driver
from clapas.plan.plan import foretell
from clapas.train.callbacks.base import Callback
from clapas.train.callbacks.low_mfu import WARM_UP_STEPS, LowMfuWarning, because, gather_facts
from clapas.train.telemetry.low_mfu import causes

if TYPE_CHECKING:
    from clapas.train.run import Run, Work

FAR_OFF = 0.5
"""Share of the plan's MFU below which a run says so."""
FEWEST_STEPS = 20
"""Steps after the warm-up that a measurement takes at the least."""


class PlanComparison(Callback):
    """One ledger line `plan` a segment that was long enough, and a message where it is far from its plan. Rank 0 only.

    low_mfu: knows which ranks share cores.
    """

    def __init__(self, low_mfu: LowMfuWarning) -> None:
        self._low_mfu = low_mfu
        self._warm: Work | None = None
        self._row: dict[str, Any] | None = None

    def on_step(self, run: Run) -> None:
        """Remember what was done when the warm-up was over."""
        if run.is_first and run.work.steps == WARM_UP_STEPS:
            self._warm = replace(run.work)

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        """Remember the newest row of training: its shares of time explain."""
        if "split" not in row:
            self._row = row

    def on_end(self, run: Run) -> None:
        """Compare, where enough was done and the device is known."""
        warm, device = self._warm, device_of(run) if run.is_first else None
        if warm is None or device is None or run.work.steps - warm.steps < FEWEST_STEPS:
            return
        tokens, seconds = run.work.tokens - warm.tokens, run.work.seconds - warm.seconds
        rate = tokens / seconds / run.ranks.size
        peak = device.peak_flops(run.recipe.precision)
        if peak is None:
            return
        mfu = (run.work.flops - warm.flops) / seconds / run.ranks.size / peak
        foretold = foretell(run.recipe, run.ranks.size, ranks_per_node(run), device)
        memory = None if self._row is None else self._row.get("memory_peak_bytes")
        run.record(
            "plan",
            device=device.name,
            tokens_per_second_per_gpu=rate,
            mfu=mfu,
            memory_peak_bytes=memory,
            **foretold,
        )
        if mfu < FAR_OFF * foretold["foretold_mfu"]:
            self._say(run, mfu, foretold["foretold_mfu"])

    def _say(self, run: Run, mfu: float, foretold: float) -> None:
        """That the run was far from its plan, and why that may be."""
        far = f"MFU was {mfu:.1%}, under half of the {foretold:.1%} that `clapas plan` foretells"
        found = []
        if self._row is not None and self._row.get("mfu") is not None:
            found = causes(gather_facts(run, self._row, self._low_mfu.sharing))
        print(f"{far}. Likely: {because(found)}", file=sys.stderr)


def ranks_per_node(run: Run) -> int:
    """As torchrun or Slurm says; else one for each GPU here, or all of them on a CPU."""
    told = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE") or ""
    here = torch.cuda.device_count() if run.ranks.device.type == "cuda" else run.ranks.size
    return min(run.ranks.size, int(told) if told.isdigit() else max(1, here))


def device_of(run: Run) -> Device | None:
    """This rank's device as the sheet has it; a CPU with the peak that was measured when training started."""
    if run.ranks.device.type == "cuda":
        return device_of_driver(torch.cuda.get_device_name(run.ranks.device))
    if run.peak_flops is None:
        return None
    measured = run.peak_flops / 1e12
    return device_named("CPU").model_copy(update={"fp32": measured, "bf16": measured, "fp16": measured})
