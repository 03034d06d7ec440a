"""Checks 8 to 12 of a model that was fine-tuned on conversations, with rows of padding that its export has not."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.release.model_draft import blocking, draft_of, results

from clapas.checkpoint.reader import open_checkpoint
from clapas.release.gate.held_out_text import HeldOutText
from clapas.release.gate.live import LiveModel, NoText
from clapas.release.gate.stranger import Stranger
from clapas_data.chat.build import chat
from commands import Clapas

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(clapas: Clapas, test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of SFT on packed conversations, some of them held out."""
    folder = tmp_path_factory.mktemp("taught")
    rows = []
    for number in range(40):
        texts = (f"Question {number} ?", f"« Réponse » n° {number}. " * (1 + number % 3))
        turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), texts, strict=True)]
        rows.append({"messages": turns * (1 + number % 2)})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chat([folder / "rows.jsonl"], folder / "data", tokenizer=test_data / "tokenizer", held_out=8, workers=1)
    settings = ["objective.name=sft", "data.path=data", "model.vocab_size=2112", "model.max_position_embeddings=256"]
    settings += ["data.sequence_length=256", "train.global_batch_size=4", "train.steps=6", "schedule.warmup_steps=1"]
    result = clapas("train", "test", *settings, "evaluation.every=3", "run_dir=run", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture(autouse=True)
def there(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run was started: its recipe names its data from there."""
    monkeypatch.chdir(run.parent)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_model_that_was_taught_to_chat_passes(run: Path, tmp_path: Path, dtype: str) -> None:
    """The template that made its data; the logged loss of the held-out answers, by their tokens alone."""
    with Stranger() as stranger:
        draft = draft_of(run, tmp_path / "model", stranger, "fp32" if dtype == "fp32" else "bf16")
        found = results(draft)
        assert {result.status for result in found.values()} == {"pass"}, found
        (draft.folder / "chat_template.jinja").unlink()
        assert blocking(draft) == {9}


def test_an_objective_that_transformers_cannot_compute_is_said(run: Path, tmp_path: Path) -> None:
    """Of preferences the held-out loss compares with a reference: there is no text to score, and nothing is missing."""
    checkpoint = open_checkpoint(run).folder
    assert isinstance(LiveModel(run, checkpoint).held_out, HeldOutText)
    other = Path(shutil.copytree(run, tmp_path / "run"))
    recipe = (other / "recipe.yaml").read_text()
    (other / "recipe.yaml").write_text(re.sub(r"(?m)^objective:\n(  .*\n)+", "objective:\n  name: dpo\n", recipe))
    text = LiveModel(other, checkpoint).held_out
    assert isinstance(text, NoText)
    assert text.is_sound
    assert "dpo is no cross-entropy" in text.why


def test_data_that_are_gone_keep_a_release_in(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss that was logged could be computed again, had the run its data."""
    checkpoint = open_checkpoint(run).folder.resolve()
    monkeypatch.chdir(tmp_path)
    text = LiveModel(run.resolve(), checkpoint).held_out
    assert isinstance(text, NoText)
    assert not text.is_sound
