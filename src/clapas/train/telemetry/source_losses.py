"""The loss by source of the text. N: samples of one step on this rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from clapas.train.telemetry.measure import Columns, Measure

if TYPE_CHECKING:
    from clapas.train.run import Run, Step


class SourceLosses(Measure):
    """`loss/SOURCE`: nats a target token of each source, over the steps since the row before and all ranks.

    A sample counts to the source of its first token. One source alone has no column: its loss is the run's.
    """

    def start(self, run: Run) -> None:
        """Begin the sums: of losses and of targets, by source, where the losses are."""
        self._names = run.plan.sources
        self._sums = torch.zeros(2, len(self._names), dtype=torch.float64, device=run.ranks.device)

    def after_step(self, run: Run) -> None:
        """Add a step; that of a row was added for it."""
        if not run.logs(run.step):
            self._add(run.last_step)

    def _add(self, step: Step | None) -> None:
        if len(self._names) < 2 or step is None:
            return
        ids_N = torch.cat([batch.source_ids for batch in step.batches])
        device = self._sums.device
        values_2N = torch.stack([step.losses_N, step.counts_N.to(device, torch.float64, non_blocking=True)])
        self._sums.index_add_(1, ids_N.to(device, non_blocking=True), values_2N)

    def own(self, run: Run) -> list[float]:
        """This rank's sums."""
        self._add(run.last_step)
        sums = self._sums.flatten().tolist()
        self._sums.zero_()
        return sums

    def columns(self, run: Run, row: Columns, everyone: list[list[float]]) -> Columns:
        """The mean of each source that was read."""
        sums = [sum(values) for values in zip(*everyone, strict=True)]
        count = len(self._names)
        pairs = zip(self._names, sums[:count], sums[count:], strict=True)
        return {f"loss/{name}": losses / targets for name, losses, targets in pairs if targets}
