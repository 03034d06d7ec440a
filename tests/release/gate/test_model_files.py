"""Checks 2 to 7, on an export of the tests' finished run: a good one passes, each way to break it is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.release.mutations import config, tokens, weights
from tests.release.mutations.mutant import Case, Mutant
from tests.release.mutations.weights import load_all, not_a_number, write_one

from clapas.checkpoint.reader import find_checkpoint
from clapas.release.export import export
from clapas.release.gate.check import Check, Draft, Result
from clapas.release.gate.checks import dtype, index, rope, special_tokens, tying, vocabulary
from clapas.release.gate.gate import run_checks
from clapas.release.gate.live import LiveModel
from clapas.release.gate.reading import CHUNK, EMBEDDING, Unreadable, chunks, read_header, read_object, read_tensors
from release.drafts import small_answers, small_evidence

CHECKS: tuple[Check, ...] = tuple(module.CHECK for module in (index, dtype, rope, vocabulary, tying, special_tokens))
MUTANTS = (*weights.MUTANTS, *config.MUTANTS, *tokens.MUTANTS)


@pytest.fixture(scope="module")
def good(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """An export with its evidence. Read it, do not change it."""
    folder = export(trained_run, tmp_path_factory.mktemp("good") / "model")
    live = LiveModel(trained_run, find_checkpoint(trained_run))
    return Draft(folder, small_evidence(trained_run), small_answers(), live, None)


@pytest.fixture
def copy(good: Draft, tmp_path: Path) -> Draft:
    """One to break."""
    return replace(good, folder=Path(shutil.copytree(good.folder, tmp_path / "copy")))


def failed(results: tuple[Result, ...]) -> dict[int, str]:
    """Number -> what is wrong, of the checks that failed."""
    return {result.number: "\n".join(result.said) for result in results if result.status == "fail"}


def test_a_good_export_passes(good: Draft) -> None:
    """Where it is made, and for a stranger."""
    for draft in (good, replace(good, live=None)):
        results = run_checks(draft, CHECKS)
        assert [result.status for result in results] == ["pass"] * len(CHECKS), results


@pytest.mark.parametrize("shard_bytes", [100_000, 300_000])
def test_so_do_shards(good: Draft, trained_run: Path, tmp_path: Path, shard_bytes: int) -> None:
    """With their index."""
    folder = export(trained_run, tmp_path / "shards", shard_bytes=shard_bytes)
    assert failed(run_checks(replace(good, folder=folder), CHECKS)) == {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_is_broken_is_found(copy: Draft, mutant: Mutant) -> None:
    """By its own check, and by that alone of these where it says so."""
    case = Case(copy.folder, copy.evidence, copy.answers)
    mutant.break_(case)
    results = run_checks(replace(copy, evidence=case.evidence), CHECKS)
    found = failed(results)
    assert mutant.check in found
    if mutant.only:
        assert [result.number for result in results if result.blocks] == [mutant.check]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"a": ', b'{"eos_token_id": {}, "rope_theta": "x"}', b"\xff"])
def test_no_check_raises(copy: Draft, check: Check, content: bytes) -> None:
    """Whatever stands in the files, a check gives a verdict."""
    for path in sorted(copy.folder.iterdir()):
        before = path.read_bytes()
        path.write_bytes(content)
        assert check.function(copy).said
        path.write_bytes(before)


def test_a_stranger_does_not_read_the_weights_again(copy: Draft) -> None:
    """Numbers that are none are sought where the release is made; later the sums tell that nothing changed."""
    tensors = load_all(copy.folder)
    not_a_number(tensors)
    write_one(copy.folder, tensors)
    assert list(failed(run_checks(copy, CHECKS))) == [2]
    assert failed(run_checks(replace(copy, live=None), CHECKS)) == {}


def test_padding_that_is_declared_passes(copy: Draft) -> None:
    """64 rows without a token, which config.json tells, of a model that was trained with them."""
    case = Case(copy.folder, copy.evidence, copy.answers)
    ids = copy.evidence.model["vocab_size"]
    config.pad_rows(case)
    config.config(unpadded_vocab_size=ids)(case)
    hidden = copy.evidence.model["hidden_size"]
    trained = {**copy.evidence.model, "vocab_size": ids + 64}
    evidence = copy.evidence.model_copy(update={"model": trained, "parameters": copy.evidence.parameters + 64 * hidden})
    assert failed(run_checks(replace(copy, evidence=evidence), CHECKS)) == {}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
def test_numbers_that_are_none_are_found_anywhere(tmp_path: Path, dtype: torch.dtype) -> None:
    """In the last chunk too; the largest finite ones are finite."""
    tensor = torch.full((CHUNK // dtype.itemsize + 5,), torch.finfo(dtype).max, dtype=dtype)
    assert list(_not_finite(tmp_path, tensor)) == []
    for value in (float("nan"), float("inf"), float("-inf")):
        tensor[-1] = value
        assert list(_not_finite(tmp_path, tensor)) == ["not every number is finite in t"]


def _not_finite(folder: Path, tensor: torch.Tensor) -> Iterator[str]:
    save_file({"t": tensor}, folder / "model.safetensors")
    tensors = read_tensors(folder)
    assert not isinstance(tensors, Unreadable)
    return index._not_finite(folder, tensors)


def test_what_is_read_is_what_safetensors_reads(good: Draft) -> None:
    """Shapes and bits of every tensor."""
    tensors = read_tensors(good.folder)
    assert not isinstance(tensors, Unreadable)
    theirs = load_all(good.folder)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {n: tuple(t.shape) for n, t in theirs.items()}
    bits = np.concatenate([chunk.copy() for chunk in chunks(good.folder, tensors[EMBEDDING])])
    assert np.array_equal(bits, theirs[EMBEDDING].view(torch.uint16).numpy().ravel())


@pytest.mark.parametrize("size", [0, 7, 8, 20])
def test_a_file_that_is_cut_is_named(good: Draft, tmp_path: Path, size: int) -> None:
    """In its length, its header or its tensors; one that is missing too."""
    content = (good.folder / "model.safetensors").read_bytes()
    for cut in (content[:size], content[: len(content) - 1 - size]):
        (tmp_path / "model.safetensors").write_bytes(cut)
        header = read_header(tmp_path, "model.safetensors")
        assert isinstance(header, Unreadable)
        assert "model.safetensors" in header.why
    assert str(read_object(tmp_path, "config.json")) == "config.json is missing"
