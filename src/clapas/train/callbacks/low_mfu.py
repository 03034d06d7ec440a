"""Says once where a run is far from what its hardware gives, and why that may be."""

from __future__ import annotations

import os
import socket
import sys
import zlib
from typing import TYPE_CHECKING, Any

import torch

from clapas.train.callbacks.base import Callback
from clapas.train.telemetry.low_mfu import Facts, causes, is_low
from clapas.train.telemetry.time_split import IN_STEP

if TYPE_CHECKING:
    from clapas.train.run import Run

WAY_OUT = "`profile.steps=[first, last]` shows what a step does"
WARM_UP_STEPS = 20
"""Steps of a segment before its speed is judged: first steps compile, allocate and fill caches."""


class LowMfuWarning(Callback):
    """One message on stderr and one line in the ledger, at the first row after the warm-up. Rank 0 only.

    sharing: ranks on the same cores as this one, itself included.
    """

    def __init__(self) -> None:
        self._is_judged = False
        self._first_step, self.sharing = 0, 1

    def on_start(self, run: Run) -> None:
        """Nothing is judged before the warm-up. Find out which ranks may run on the same cores as this one."""
        self._first_step = run.step + 1
        place = f"{socket.gethostname()} {sorted(os.sched_getaffinity(0))}"
        own = [float(zlib.crc32(place.encode()))]
        self.sharing = run.ranks.gather(own).count(own)

    def on_log(self, run: Run, row: dict[str, Any]) -> None:
        """Judge the first row whose steps all lie after the warm-up."""
        first_of_row = row["step"] - run.recipe.telemetry.log_every + 1
        if self._is_judged or not run.is_first or row.get("mfu") is None or "split" in row:
            return
        if first_of_row - self._first_step < WARM_UP_STEPS:
            return
        self._is_judged = True
        facts = gather_facts(run, row, self.sharing)
        if not is_low(facts):
            return
        found = causes(facts)
        print(f"MFU is {facts.mfu:.0%}, low for this hardware. Likely: {because(found)}", file=sys.stderr)
        run.record("low_mfu", mfu=facts.mfu, causes=found)


def because(found: list[str]) -> str:
    """The likely causes as one line."""
    return "; ".join(found) or f"none of the known causes; {WAY_OUT}"


def gather_facts(run: Run, row: dict[str, Any], ranks_here: int) -> Facts:
    """What is known of this run and machine. ranks_here: ranks on the same cores, this one included."""
    recipe, device = run.recipe, run.ranks.device
    compute = recipe.compute.on(device.type, recipe.parallel.zero_stage)
    seconds = row["step_seconds"]
    total = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    return Facts(
        device=device.type,
        precision=recipe.precision,
        mfu=row["mfu"],
        shares={part: (row.get(f"time/{part}") or 0.0) / seconds for part in IN_STEP},
        hidden_size=recipe.model.hidden_size,
        micro_batch_tokens=run.engine.config["train_micro_batch_size_per_gpu"] * recipe.data.sequence_length,
        document_mask=recipe.data.document_mask,
        could_compile=recipe.parallel.zero_stage < 3 and not compute.compile,
        activation_checkpointing=compute.activation_checkpointing,
        offloaded=recipe.parallel.offload != "none",
        slowest_rank=row.get("slowest_rank"),
        slowest_rank_excess=row.get("slowest_rank_excess", 0.0),
        memory_free=None if total is None else 1 - row["memory_reserved_bytes"] / total,
        threads=torch.get_num_threads(),
        ranks_here=ranks_here,
        cores=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
    )
