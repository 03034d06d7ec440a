"""Ranks that hold copies of the same weights compare them: memory that flips a bit, or a link that does, is found."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from clapas.engine.ranks import Ranks
from clapas.engine.replicas import as_floats, digest, names, odd_ones, weight_sums
from clapas.recipe.errors import ClapasError
from clapas.train.callbacks.base import Callback

if TYPE_CHECKING:
    from clapas.train.run import Run

NAMED = 3
"""Parameters that a message names; the ledger has all of them."""


class ReplicaComparison(Callback):
    """Compares every so many steps, and at those whose checkpoint would keep what differs."""

    def __init__(self, every: int) -> None:
        self._every = every

    def before_update(self, run: Run) -> None:
        """The weights with which this step was computed: with ZeRO the update brings all copies from one owner."""
        step, last = run.step + 1, run.recipe.total_steps
        is_saved = run.stopping or step == last or step % run.recipe.checkpoint.every == 0
        if run.ranks.peer_size > 1 and (is_saved or step % self._every == 0):
            compare(run, step)


def compare(run: Run, step: int) -> None:
    """Raise ClapasError, on all ranks alike, where replicas differ. One collective where they do not."""
    module, ranks = run.engine.deepspeed.module, run.ranks
    sums = weight_sums(module)
    odd = _odd(ranks, ranks.gather(as_floats(digest(sums))))
    if not odd:
        return
    by_parameter = ranks.gather([half for total in sums.tolist() for half in as_floats(total)])
    pairs = {name: slice(2 * place, 2 * place + 2) for place, name in enumerate(names(module))}
    differing = [name for name, pair in pairs.items() if _odd(ranks, [numbers[pair] for numbers in by_parameter])]
    hosts = ranks.gather_texts(socket.gethostname())
    run.record("replicas_differ", step=step, ranks=odd, hosts=[hosts[rank] for rank in odd], parameters=differing)
    told = ", ".join(f"rank {rank} (host {hosts[rank]})" for rank in odd)
    is_known = all(set(copies) - set(odd) for copies in _copies(ranks))
    more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
    with ranks.said_once():
        raise ClapasError(
            f"at step {step} copies of the same weights differ: {told}",
            where=run.recipe.folder,
            found=f"other bits in {', '.join(differing[:NAMED])}{more}",
            wanted="those of most copies"
            if is_known
            else "equal bits; without a majority, nobody knows which are right",
            way_out="start again: the run goes on after its last checkpoint. A host that is named twice: leave it out",
        )


def _copies(ranks: Ranks) -> list[range]:
    """The ranks that hold copies of the same weights: each tensor rank has its own."""
    return [range(first, ranks.size, ranks.tensor) for first in range(ranks.tensor)]


def _odd(ranks: Ranks, everyone: list[list[float]]) -> list[int]:
    """The ranks whose numbers are not those of most of their copies."""
    found = (odd_ones({rank: tuple(everyone[rank]) for rank in copies}) for copies in _copies(ranks))
    return sorted(rank for odd in found for rank in odd)
