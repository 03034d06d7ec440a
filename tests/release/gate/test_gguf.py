"""Check 13: a GGUF that is another model than the folder beside it, by a single bit, is found."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from tests.release.gguf.small import config_of, write_folder, write_small_tokenizer
from tests.release.mutations.gguf import MUTANTS
from tests.release.mutations.mutant import Case

from clapas.release.export import export
from clapas.release.gate.check import Draft
from clapas.release.gate.checks.gguf import CHECK
from clapas.release.gguf.about import about_export, about_release
from clapas.release.gguf.compare import allowed, differences
from clapas.release.gguf.quantisations import QUANTISATIONS
from clapas.release.gguf.write import contents_of, quantised, write_ggufs
from release.drafts import small_answers, small_evidence


@pytest.fixture(scope="module")
def draft(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """An export with a GGUF file. Read it, do not change it."""
    folder = export(trained_run, tmp_path_factory.mktemp("draft") / "model")
    evidence, answers = small_evidence(trained_run), small_answers()
    names = ("f32",)
    write_ggufs(folder, names, about_release(evidence, answers))
    return Draft(folder, evidence, answers, None, None, names)


def test_a_good_one_passes(draft: Draft) -> None:
    """And says what it looked at."""
    verdict = CHECK.function(draft)
    assert (verdict.status, CHECK.mandatory(draft)) == ("pass", True)
    assert verdict.said == ("f32: every key, token and number as in the folder",)


def test_none_asked_for(draft: Draft, tmp_path: Path) -> None:
    """Nothing to look at, and nothing blocked; a file that is there all the same was compared with nothing."""
    without = replace(draft, gguf=())
    verdict = CHECK.function(without)
    assert (verdict.status, CHECK.mandatory(without)) == ("fail", False)
    assert verdict.said[0].endswith("-f32.gguf: nobody asked for it")
    copy = Path(shutil.copytree(draft.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("gguf")))
    assert CHECK.function(replace(without, folder=copy)).status == "not-run"


def test_a_mutant_is_found(draft: Draft, tmp_path: Path) -> None:
    """With a sentence that names the file. All mutants: `test_mutants`."""
    copy = Path(shutil.copytree(draft.folder, tmp_path / "copy"))
    MUTANTS[0].break_(Case(copy, draft.evidence, draft.answers))
    verdict = CHECK.function(replace(draft, folder=copy))
    assert verdict.status == "fail"
    assert ".gguf" in verdict.said[0]


def test_one_that_no_release_writes_is_refused(draft: Draft) -> None:
    """A stranger finds a file of another quantisation."""
    verdict = CHECK.function(replace(draft, gguf=("f32", "q4_k_m")))
    assert verdict.status == "fail"
    assert "q4_k_m is none of f32, bf16, q8_0, q4_0" in verdict.said[0]


def test_a_folder_that_does_not_read_is_another_check_s(draft: Draft, tmp_path: Path) -> None:
    """Not run, and so still blocked."""
    copy = Path(shutil.copytree(draft.folder, tmp_path / "copy"))
    (copy / "config.json").write_text("{")
    assert CHECK.function(replace(draft, folder=copy)).status == "not-run"


@pytest.mark.parametrize(("name", "block", "bit"), [("bf16", 2, 1), ("q8_0", 34, 2), ("q4_0", 18, 2)])
def test_a_single_number_is_found(name: str, block: int, bit: int, tmp_path: Path) -> None:
    """Of eight, each alone: off by the last place of bf16, by two steps of a block. block: bytes."""
    write_small_tokenizer(tmp_path / "tokenizer")
    write_folder(tmp_path / "model", config_of("llama"), tmp_path / "tokenizer")
    about, quantisation = about_export("m"), QUANTISATIONS[name]
    (file,) = write_ggufs(tmp_path / "model", (name,), about)
    contents = contents_of(tmp_path / "model", quantisation, about)
    assert list(differences(file, tmp_path / "model", contents)) == []
    reader = gguf.GGUFReader(file, "r+")
    (tensor,) = (tensor for tensor in reader.tensors if tensor.name == "blk.1.ffn_up.weight")
    stored = tensor.data.view(np.uint8).reshape(-1, block)
    for number in range(8):
        place = 0 if block == 2 else 2 + number % (block - 2)  # after a block's scale
        stored[number, place] ^= bit
        reader.data.flush()
        assert list(differences(file, tmp_path / "model", contents)), number
        stored[number, place] ^= bit


@pytest.mark.parametrize("kind", ["BF16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
def test_what_is_stored_honestly_is_within_bounds(kind: str, scale: float) -> None:
    """Of all sizes, of either sign, with zeros and blocks of one value."""
    rows = np.random.default_rng(1).standard_normal((64, 96), np.float32) * np.float32(scale)
    rows[0], rows[1], rows[2], rows[3] = 0, scale, -scale, np.abs(rows[3])
    rows[4, ::2] = 0
    rows[5, :2] = scale, -scale
    stored = quantised(rows, kind)  # pyright: ignore[reportArgumentType] one of them
    off = np.abs(gguf.quants.dequantize(stored, gguf.GGMLQuantizationType[kind]) - rows)
    assert (off <= allowed(rows, kind)).all()  # pyright: ignore[reportArgumentType] one of them
