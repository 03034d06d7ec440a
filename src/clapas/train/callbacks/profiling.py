"""Traces of a few steps: every operation, when and for how long, for chrome://tracing or ui.perfetto.dev."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch.profiler import ProfilerActivity, profile

from clapas.train.callbacks.base import Callback

if TYPE_CHECKING:
    from clapas.train.run import Run


class Profiling(Callback):
    """Records the windows of `profile.steps` on the ranks of `profile.ranks`, the step's parts named in the trace."""

    def __init__(self) -> None:
        self._profile: profile | None = None
        self._first = 0

    def before_step(self, run: Run) -> None:
        """Begin a window."""
        config, coming = run.recipe.profile, run.step + 1
        if run.ranks.rank not in config.ranks or coming not in (first for first, _ in config.steps):
            return
        activities = [ProfilerActivity.CPU]
        if run.ranks.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._profile = profile(activities=activities, profile_memory=config.memory)
        self._profile.start()
        self._first = coming
        run.clock.annotate = True

    def on_step(self, run: Run) -> None:
        """End a window after its last step, or the run's."""
        if self._profile is not None and (run.is_over or run.step in (last for _, last in run.recipe.profile.steps)):
            self._write(run)

    def on_end(self, run: Run) -> None:
        """End a window that an error cut short."""
        if self._profile is not None:
            self._write(run)

    def _write(self, run: Run) -> None:
        assert self._profile is not None
        run.clock.annotate = False
        self._profile.stop()
        path = trace_path(run.recipe.folder, run.ranks.rank, self._first, run.step)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._profile.export_chrome_trace(str(path))
        self._profile = None


def trace_path(folder: Path, rank: int, first: int, last: int) -> Path:
    """Where the trace of a window lies: RUN/profile/steps-3-4-rank-0.json."""
    return folder / "profile" / f"steps-{first}-{last}-rank-{rank}.json"
