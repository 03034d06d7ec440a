"""A checkpoint on its way: none of it is seen before it is committed, and training may change what it was taken of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clapas.checkpoint.committed import committed_checkpoints
from clapas.checkpoint.format import Fragment, Snapshot
from clapas.checkpoint.host_copy import HostCopy
from clapas.checkpoint.ranks import Alone
from clapas.checkpoint.reader import CheckpointReader
from clapas.checkpoint.saving import Saving
from clapas.recipe.errors import ClapasError


class Held(dict[str, torch.Tensor]):
    """A fragment's states that are read when the test says so."""

    def __init__(self, tensor: torch.Tensor, gate: Callable[[], object]) -> None:
        super().__init__(master=tensor)
        self._gate = gate

    def items(self) -> Any:
        self._gate()
        return super().items()


FACTS: dict[str, Any] = {
    "step": 1,
    "identity": "i",
    "execution": "e",
    "training": {},
    "recipe": {"seed": 0},
    "versions": {},
}


def test_it_is_seen_once_it_is_whole(tmp_path: Path) -> None:
    """The writer is held up: the loop may ask as often as it likes, and readers see nothing."""
    gate = threading.Event()
    weight = torch.randn(4)
    saving = Saving(tmp_path, Snapshot([Fragment("w", (4,), 0, Held(weight, gate.wait), {})]), FACTS, Alone())
    assert not any(saving.is_done() for _ in range(3))
    assert committed_checkpoints(tmp_path) == []
    gate.set()
    assert saving.is_done(wait=True)
    assert committed_checkpoints(tmp_path) == [saving.final]
    assert torch.equal(CheckpointReader(saving.final).tensor("w"), weight)


def test_a_failure_is_told_when_asked_and_leaves_nothing(tmp_path: Path) -> None:
    """Whatever was raised in the thread."""

    def fail() -> None:
        raise RuntimeError("the disk has gone")

    saving = Saving(tmp_path, Snapshot([Fragment("w", (4,), 0, Held(torch.ones(4), fail), {})]), FACTS, Alone())
    with pytest.raises(ClapasError, match="the disk has gone"):
        saving.is_done(wait=True)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_stays_as_it_was_taken_and_is_taken_again_in_place() -> None:
    """The second snapshot overwrites the first one's memory: one is under way at a time."""
    weight = torch.arange(6.0)
    snapshot = Snapshot([Fragment("w", (6,), 0, {"master": weight}, {"step": 1.0})], {"tied": "w"})
    copy = HostCopy()
    first = copy.take(snapshot)
    weight += 1
    assert torch.equal(first.fragments[0].states["master"], torch.arange(6.0))
    assert (first.aliases, first.fragments[0].scalars) == ({"tied": "w"}, {"step": 1.0})
    second = copy.take(snapshot)
    assert torch.equal(second.fragments[0].states["master"], weight)
    assert second.fragments[0].states["master"].data_ptr() == first.fragments[0].states["master"].data_ptr()
