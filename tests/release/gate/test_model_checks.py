"""Checks 8 to 12: a good export passes, also where not all can be looked at. What breaks one: `test_mutants`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.release.model_draft import blocking, draft_of, results
from tests.release.mutations.mutant import Case

from clapas.checkpoint.reader import open_checkpoint
from clapas.recipe.hashes import file_hash
from clapas.release.gate.check import Draft
from clapas.release.gate.checks.tokenizer import CHECK as TOKENIZER_CHECK
from clapas.release.gate.gate import run_checks
from clapas.release.gate.live import LiveModel, NoText
from clapas.release.gate.stranger import Stranger
from commands import Clapas

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(clapas: Clapas, test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the test recipe that validates on a few thousand tokens, on two ranks."""
    folder = tmp_path_factory.mktemp("validated")
    settings = ("evaluation.tokens=4096", "train.steps=10", "evaluation.every=5", "schedule.warmup_steps=1")
    result = clapas("train", "test", f"data.path={test_data}", "run_dir=run", *settings, "--nproc", 2, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def draft(run: Path, stranger: Stranger, tmp_path_factory: pytest.TempPathFactory) -> Draft:
    """The run, exported in bf16. Read it, do not change it."""
    return draft_of(run, tmp_path_factory.mktemp("draft") / "model", stranger)


def test_a_good_export_passes(draft: Draft) -> None:
    """In bf16: all five, each with a figure; the held-out loss is of the two ranks' tokens."""
    found = results(draft)
    assert {result.status for result in found.values()} == {"pass"}, found
    assert f"over {draft.evidence.held_out[-1].tokens:,} tokens" in found[12].said[0]


def test_an_export_in_fp32_gives_the_logged_loss_to_the_sixth_digit(
    run: Path, stranger: Stranger, tmp_path: Path
) -> None:
    """The same tokens, the same weights, another library."""
    own = draft_of(run, tmp_path / "model", stranger, "fp32")
    assert blocking(own) == set()
    assert own.seen is not None
    assert own.seen.loss_sum is not None
    logged = own.evidence.held_out[-1]
    assert logged.tokens is not None
    assert own.seen.loss_sum / logged.tokens == pytest.approx(logged.loss, abs=2e-6)


def test_a_stranger_without_the_run_checks_what_needs_none(draft: Draft) -> None:
    """8 to 10 pass; 11 and 12 do not run, and that blocks nothing."""
    found = results(replace(draft, live=None))
    assert [result.status for result in found.values()] == ["pass"] * 3 + ["not-run"] * 2
    assert not any(result.blocks for result in found.values())


def test_without_transformers_nothing_passes_for_checked(draft: Draft) -> None:
    """All but the template, which a base model has not, say that they did not run, and block."""
    found = results(replace(draft, stranger=None))
    assert {number for number, result in found.items() if result.blocks} == {8, 10, 11, 12}
    assert all("transformers is not installed" in found[number].said[0] for number in (8, 10, 11, 12))


def test_letters_may_come_back_composed(draft: Draft, tmp_path: Path) -> None:
    """As from Qwen's tokenizers (NFC), where the data were made so; a ligature that is lost is not the same letters."""
    for form, found in (("NFC", set[int]()), ("NFKC", {8})):
        folder = Path(shutil.copytree(draft.folder, tmp_path / form))
        case = Case(folder, draft.evidence, draft.answers)
        case.with_json("tokenizer.json", lambda values, form=form: values.update(normalizer={"type": form}))
        made_by = {"tokenizer_hash": file_hash(folder / "tokenizer.json")}
        data = tuple(own.model_copy(update=made_by) for own in draft.evidence.data)
        changed = replace(draft, folder=folder, evidence=draft.evidence.model_copy(update={"data": data}))
        assert {result.number for result in run_checks(changed, [TOKENIZER_CHECK]) if result.blocks} == found


def test_a_validation_that_the_ledger_lost_keeps_a_release_in(run: Path, tmp_path: Path) -> None:
    """The run's data hold text out, so its last step was validated: not having run is no excuse."""
    other = Path(shutil.copytree(run, tmp_path / "run"))
    lines = (other / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (other / "ledger.jsonl").write_bytes(b"".join(line for line in lines if b'"evaluation"' not in line))
    text = LiveModel(other, open_checkpoint(other).folder).held_out
    assert isinstance(text, NoText)
    assert not text.is_sound
    assert "text was held out" in text.why
