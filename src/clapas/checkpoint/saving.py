"""A checkpoint that is written beside the training, by all ranks together.

The state is copied first; then threads write, hash and commit, and the loop asks between steps how far they are. Ranks
agree on every transition, so that a failure on one is known to all, and none commits what another did not write.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clapas.checkpoint.background import Background, error_of
from clapas.checkpoint.format import Snapshot, step_folder
from clapas.checkpoint.ranks import Ranks
from clapas.checkpoint.tensor_file import silent
from clapas.checkpoint.writer import begin, commit, write_rank
from clapas.recipe.errors import ClapasError


class Saving:
    """One checkpoint on its way. Every rank makes one, and looks at it between the same steps.

    snapshot: must not change until it is done. facts: the manifest's step, identity, execution, training, recipe and
    versions. on_chunk: called as the writing goes on. Raises ClapasError, on all ranks alike, where the folder cannot
    be made.
    """

    def __init__(
        self,
        checkpoints: Path,
        snapshot: Snapshot,
        facts: dict[str, Any],
        ranks: Ranks,
        on_chunk: Callable[[], None] = silent,
    ) -> None:
        self.final = step_folder(checkpoints, facts["step"])
        self._partial = checkpoints / f".{self.final.name}.partial"
        self._ranks = ranks
        self._commit = lambda: commit(self._partial, self.final, snapshot.aliases, facts, ranks.size)
        self._agree(error_of(lambda: begin(self._partial)) if ranks.rank == 0 else None)
        self._written = Background(lambda: write_rank(self._partial, snapshot, ranks, on_chunk))
        self._committed: Background | None = None

    def is_done(self, wait: bool = False) -> bool:
        """Whether it is committed. Every rank asks at the same moment; wait: until it is.

        Raises ClapasError, on all ranks alike, where any could not write: nothing is left behind, and older
        checkpoints stand.
        """
        if self._committed is None:
            if not self._ranks.all(self._written.has_ended(wait)):
                return False
            self._agree(self._written.error)
            self._committed = Background(self._commit if self._ranks.rank == 0 else lambda: None)
        if not self._ranks.all(self._committed.has_ended(wait)):
            return False
        self._agree(self._committed.error)
        return True

    def abandon(self) -> None:
        """Wait for this rank's own part alone: the others may be gone. What is not committed never will be."""
        self._written.has_ended(wait=True)
        if self._committed:
            self._committed.has_ended(wait=True)

    def _agree(self, error: str | None) -> None:
        if agreed := self._ranks.agree_on_error(error):
            if self._ranks.rank == 0:
                shutil.rmtree(self._partial, ignore_errors=True)
            way_out = "free space or mend the folder; the last committed checkpoint stands"
            raise ClapasError(f"the checkpoint was not saved: {agreed}", where=self.final, way_out=way_out)


def write_checkpoint(checkpoints: Path, snapshot: Snapshot, facts: dict[str, Any], ranks: Ranks) -> Path:
    """Write and commit one checkpoint, and wait for it; every rank calls it. Returns the committed folder.

    Raises what `Saving` raises.
    """
    saving = Saving(checkpoints, snapshot, facts, ranks)
    assert saving.is_done(wait=True)
    return saving.final
