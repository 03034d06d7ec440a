"""A checkpoint is whole and undamaged, or it is not there."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from clapas.checkpoint.committed import committed_checkpoints
from clapas.checkpoint.format import Fragment, Snapshot
from clapas.checkpoint.reader import CheckpointReader, DamagedCheckpointError, find_checkpoint, open_newest_sound
from clapas.checkpoint.regions import Part, region_of
from clapas.checkpoint.retention import retain
from clapas.checkpoint.saving import write_checkpoint
from clapas.recipe.errors import ClapasError, UserError


class Thread:
    """One of several writers in this process; real ranks are in tests/train."""

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, errors: dict[int, str | None]) -> None:
        self.rank, self.size, self._barrier, self._errors = rank, size, barrier, errors

    def agree_on_error(self, error: str | None) -> str | None:
        self._errors[self.rank] = error
        self._barrier.wait(timeout=30)
        agreed = next((found for found in self._errors.values() if found), None)
        self._barrier.wait(timeout=30)
        return agreed

    def all(self, flag: bool) -> bool:
        return self.agree_on_error(None if flag else "no") is None

    def broadcast(self, text: str | None) -> str | None:
        return self.agree_on_error(text if self.rank == 0 else None)


def facts(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "identity": "i",
        "execution": "e",
        "training": {"counters": {}},
        "recipe": {"name": "t", "seed": 0},
        "versions": {},
    }


def fragments(weight: torch.Tensor, cuts: list[int], name: str = "w") -> list[Fragment]:
    """A parameter cut into pieces, with a moment beside the weights."""
    flat = weight.reshape(-1)
    pieces = []
    for low, high in zip([0, *cuts], [*cuts, flat.numel()], strict=True):
        states = {"master": flat[low:high].clone(), "exp_avg": flat[low:high] * 2}
        pieces.append(Fragment(name, tuple(weight.shape), low, states, {"step": 3.0}))
    return pieces


def write(run: Path, step: int, per_rank: list[list[Fragment]]) -> list[Path | Exception]:
    """Write a checkpoint with a thread a rank; returns what each rank got."""
    size = len(per_rank)
    barrier, errors = threading.Barrier(size), dict[int, str | None]()
    results: list[Path | Exception] = [Path()] * size

    def work(rank: int) -> None:
        snapshot = Snapshot(per_rank[rank], {"tied": "w"}, {"torch": torch.arange(8, dtype=torch.uint8)})
        try:
            ranks = Thread(rank, size, barrier, errors)
            results[rank] = write_checkpoint(run / "checkpoints", snapshot, facts(step), ranks)
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_any_slice_comes_back_whatever_the_cuts(tmp_path: Path) -> None:
    """Two ranks wrote three pieces; whole tensors, slices across pieces and tied names read back equal."""
    weight = torch.randn(5, 7)
    first, second, third = fragments(weight, [11, 20])
    write(tmp_path, 2, [[first, third], [second]])
    reader = CheckpointReader(find_checkpoint(tmp_path))
    assert torch.equal(reader.tensor("w"), weight)
    assert torch.equal(reader.tensor("tied", "exp_avg"), weight * 2)
    out = torch.empty(15)
    reader.read_into("w", "master", 9, out)
    assert torch.equal(out, weight.reshape(-1)[9:24])
    assert reader.step == 2
    assert reader.rng(1, 2) is not None
    assert reader.rng(0, 4) is None


@pytest.mark.parametrize("dim", [0, 1])
def test_a_parameter_cut_in_slices_reads_back_whole_and_in_other_slices(tmp_path: Path, dim: int) -> None:
    """Two tensor ranks wrote halves, one of them in two pieces; the whole and a third of it come back equal."""
    weight = torch.randn(6, 6)
    pieces = []
    for start, cut in ((0, 7), (3, 18)):
        region = region_of((6, 6), Part(dim, start, start + 3), 0, 18)
        for low, high in ((0, cut), (cut, 18)):
            states = {"master": weight.narrow(dim, start, 3).reshape(-1)[low:high]}
            if low < high:
                pieces.append(Fragment("w", (6, 6), region.offset + low, states, {}, region.part))
    write(tmp_path, 1, [pieces[:2], pieces[2:]])
    reader = CheckpointReader(find_checkpoint(tmp_path))
    assert torch.equal(reader.tensor("w"), weight)
    out = torch.empty(10)
    reader.read_into("w", "master", 1, out, Part(dim, 2, 4))
    assert torch.equal(out, weight.narrow(dim, 2, 2).reshape(-1)[1:11])


def test_pieces_that_do_not_cover_a_parameter_are_never_committed(tmp_path: Path) -> None:
    """A hole or an overlap is an error on every rank, and nothing is left."""
    weight = torch.randn(10)
    first, second, third = fragments(weight, [3, 6])
    for pieces in ([first, third], [first, second], [first, second, second, third]):
        (result,) = write(tmp_path, 1, [pieces])
        assert isinstance(result, ClapasError)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_rank_that_cannot_write_stops_all_and_leaves_the_last_one(tmp_path: Path) -> None:
    """One rank's disk is full: every rank gets the error, the older checkpoint stands, nothing half written stays."""
    weight = torch.randn(10)
    first, second = fragments(weight, [5])
    write(tmp_path, 1, [[first], [second]])

    class Full(dict[str, torch.Tensor]):
        def items(self) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

    broken = Fragment("w", (10,), 5, Full(master=weight[5:]), {"step": 3.0})
    results = write(tmp_path, 2, [[first], [broken]])
    assert all(isinstance(result, ClapasError) and "No space left" in str(result) for result in results)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


@pytest.mark.parametrize("victim", ["rank-00000-of-00001.safetensors", "manifest.json"])
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_damage_is_found_and_the_newest_sound_one_is_used(tmp_path: Path, victim: str, how: str) -> None:
    """Any flipped bit, cut or missing file is named; the checkpoint before it is taken."""
    pieces = fragments(torch.randn(10), [5])
    for step in (1, 2):
        write(tmp_path, step, [pieces])
    path = tmp_path / "checkpoints/step-00000002" / victim
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if how == "remove":
        path.unlink()
    else:
        path.write_bytes(bytes(content) if how == "flip" else bytes(content[:-1]))
    reader, damaged = open_newest_sound(tmp_path / "checkpoints")
    assert reader is not None
    assert reader.step == 1
    assert [problem.where is not None and "step-00000002" in problem.where for problem in damaged] == [True]
    with pytest.raises(DamagedCheckpointError):
        CheckpointReader(tmp_path / "checkpoints/step-00000002")


def test_without_the_seal_there_is_no_checkpoint(tmp_path: Path) -> None:
    """A folder that lost COMMITTED, or a hidden partial one, is never listed."""
    write(tmp_path, 1, [fragments(torch.randn(10), [5])])
    (tmp_path / "checkpoints/step-00000001/COMMITTED").unlink()
    (tmp_path / "checkpoints/.step-00000002.partial").mkdir()
    assert committed_checkpoints(tmp_path / "checkpoints") == []
    with pytest.raises(UserError, match="no checkpoint here"):
        find_checkpoint(tmp_path)


def test_retention_keeps_the_newest(tmp_path: Path) -> None:
    """By step, not by name or time."""
    for step in (3, 1, 2):
        write(tmp_path, step, [fragments(torch.randn(10), [5])])
    retain(tmp_path / "checkpoints", keep=2)
    assert names(tmp_path) == ["step-00000002", "step-00000003"]


def test_retention_keeps_every_so_manieth_step_for_good(tmp_path: Path) -> None:
    """Beside the newest."""
    for step in range(1, 8):
        write(tmp_path, step, [fragments(torch.randn(10), [5])])
        retain(tmp_path / "checkpoints", keep=1, keep_every=3)
    assert names(tmp_path) == ["step-00000003", "step-00000006", "step-00000007"]
    assert not list((tmp_path / "checkpoints").glob(".*"))


@pytest.mark.parametrize("victim", ["rank-00000-of-00001.safetensors", "manifest.json"])
def test_retention_never_takes_the_newest_sound_one(tmp_path: Path, victim: str) -> None:
    """The two newest are cut short: the one before them stays, though only one is to be kept."""
    for step in (1, 2, 3, 4):
        write(tmp_path, step, [fragments(torch.randn(10), [5])])
    for step in (3, 4):
        path = tmp_path / f"checkpoints/step-{step:08d}" / victim
        path.write_bytes(path.read_bytes()[:-1])
    retain(tmp_path / "checkpoints", keep=1)
    assert names(tmp_path) == ["step-00000002", "step-00000004"]


def names(run: Path) -> list[str]:
    return [path.name for path in committed_checkpoints(run / "checkpoints")]
