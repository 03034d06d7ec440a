"""The mean of several checkpoints is a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from clapas.checkpoint.format import Fragment, Snapshot
from clapas.checkpoint.ranks import Alone
from clapas.checkpoint.reader import CheckpointReader, find_checkpoint
from clapas.checkpoint.saving import write_checkpoint
from clapas.checkpoint.soup import soup
from clapas.recipe.errors import UserError
from commands import Clapas


def write(run: Path, step: int, average: bool = False, hidden: int = 3, tokenizer: str = "ab") -> Path:
    """A checkpoint of two parameters and a tied name, its weights drawn by the step."""
    generator = torch.Generator().manual_seed(step)
    fragments = []
    for name, shape in (("w", (4, hidden)), ("norm", (hidden,))):
        flat = torch.randn(torch.Size(shape).numel(), generator=generator)
        states = {"master": flat, "exp_avg": flat * 2, **({"average": flat + 1} if average else {})}
        fragments.append(Fragment(name, shape, 0, states, {"step": float(step)}))
    facts: dict[str, Any] = {
        "step": step,
        "identity": f"{run.name}",
        "execution": "e",
        "training": {"counters": {}, "tokenizer": tokenizer},
        "recipe": {"name": "t", "seed": 0, "model": {"hidden_size": hidden}},
        "versions": {},
    }
    return write_checkpoint(run / "checkpoints", Snapshot(fragments, {"tied": "w"}), facts, Alone())


def test_a_soup_is_the_mean_and_nothing_else(tmp_path: Path) -> None:
    """Weights alone, under every name, however many files it is written in; the newest checkpoint's step."""
    paths = [write(tmp_path / "run", step) for step in (2, 3, 5)]
    made = soup(paths, tmp_path / "out", file_elements=5)
    assert made == find_checkpoint(tmp_path / "out")
    mixed, readers = CheckpointReader(made), [CheckpointReader(path) for path in paths]
    assert len(mixed.manifest.files) == 3  # 12 + 3 elements, in fives
    assert mixed.step == 5
    for name in ("w", "norm", "tied"):
        mean = torch.stack([reader.tensor(name).double() for reader in readers]).mean(0).float()
        assert torch.equal(mixed.tensor(name), mean)
    assert {tuple(record.states) for record in mixed.manifest.parameters.values()} == {("master",)}
    assert mixed.manifest.identity not in {reader.manifest.identity for reader in readers}
    assert [entry["step"] for entry in mixed.manifest.training["soup"]] == [2, 3, 5]
    assert mixed.manifest.training["tokenizer"] == "ab"


def test_averages_are_taken_where_they_were_kept(tmp_path: Path) -> None:
    """By default; the weights as they train where asked for."""
    paths = [write(tmp_path / "run", step, average=True) for step in (1, 2)]
    raw = CheckpointReader(soup(paths, tmp_path / "raw", weights="raw")).tensor("w")
    averaged = CheckpointReader(soup(paths, tmp_path / "averaged")).tensor("w")
    assert torch.allclose(averaged, raw + 1)
    plain = [write(tmp_path / "plain", step) for step in (1, 2)]
    with pytest.raises(UserError, match="kept no average"):
        soup(plain, tmp_path / "none", weights="average")


def test_what_is_no_soup(tmp_path: Path) -> None:
    """One checkpoint, two models, two tokenizers, or an output that is there already: refused, and nothing is left."""
    one, other = write(tmp_path / "run", 1), write(tmp_path / "other", 1, hidden=5)
    with pytest.raises(UserError, match="two ingredients"):
        soup([one], tmp_path / "out")
    with pytest.raises(UserError, match=r"model\.hidden_size: 5"):
        soup([one, other], tmp_path / "out")
    with pytest.raises(UserError, match="two tokenizers"):
        soup([one, write(tmp_path / "third", 1, tokenizer="cd")], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="will not be replaced"):
        soup([one, one], tmp_path / "run")


def test_the_command_evaluates_as_a_model(clapas: Clapas, trained_run: Path, tmp_path: Path) -> None:
    """Two checkpoints of a run, averaged by the command, are evaluated like any run."""
    paths = sorted((trained_run / "checkpoints").glob("step-*"))
    made = clapas("checkpoint", "soup", *paths, "--out", tmp_path / "soup", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    judged = clapas("eval", tmp_path / "soup", "--json", cwd=tmp_path)
    assert judged.returncode == 0, judged.stderr
    assert 0 < json.loads(judged.stdout)["bits_per_byte"] < 8
