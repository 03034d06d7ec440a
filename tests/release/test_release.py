"""A release is whole, says what the evidence says, loads with stock tools, and a stranger can check it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from clapas.ledger.ledger import read_ledger, sum_ledger
from clapas.recipe.errors import UserError
from clapas.release.card import decimal, number
from clapas.release.release import release
from clapas.release.verify import NotSoundError, check_sums, verify
from commands import Clapas


@pytest.fixture(scope="module")
def released(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run, released. Read it, do not change it."""
    out = tmp_path_factory.mktemp("release") / "model"
    result = release(trained_run, out, "Apache-2.0")
    assert result["loads"] == "yes"
    return out


def test_a_stranger_checks_it_with_coreutils_alone(released: Path) -> None:
    """`sha256sum -c` knows every file."""
    command = ["sha256sum", "-c", "--strict", "SHA256SUMS"]
    result = subprocess.run(command, cwd=released, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    listed = {line.split("  ")[1] for line in (released / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in released.iterdir()} - {"SHA256SUMS"}


def test_the_card_says_what_the_ledger_says(released: Path, trained_run: Path) -> None:
    """Its metadata is valid YAML; tokens, steps and bits per byte are the evidence's; what was not measured says so."""
    text = (released / "README.md").read_text()
    metadata: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    assert metadata["language"] == ["fr"]
    assert metadata["license"] == "apache-2.0"
    totals = sum_ledger(read_ledger(trained_run))
    assert f"{number(totals.tokens)} unités lexicales" in text
    assert f"{number(totals.steps)} pas" in text
    assert decimal(totals.evaluations[-1]["bits_per_byte"], 3) in text
    assert "énergie : non mesurée" in text
    assert "etalab-2.0 AND Apache-2.0" in text


def test_the_command_verifies_it(released: Path, clapas: Clapas, tmp_path: Path) -> None:
    """Exit 0, and says that stock transformers loads it."""
    result = clapas("verify", released, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "loads with stock transformers: yes" in result.stdout


@pytest.mark.parametrize("victim", ["model.safetensors", "config.json", "LICENSE", "README.md", "tokenizer.json"])
def test_any_altered_file_is_found(released: Path, tmp_path: Path, victim: str) -> None:
    """One flipped bit."""
    copy = Path(shutil.copytree(released, tmp_path / "copy"))
    content = bytearray((copy / victim).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / victim).write_bytes(bytes(content))
    with pytest.raises(NotSoundError, match="altered"):
        check_sums(copy)


def test_a_missing_and_an_extra_file_are_found(released: Path, tmp_path: Path) -> None:
    """Each named."""
    copy = Path(shutil.copytree(released, tmp_path / "copy"))
    (copy / "extra.bin").touch()
    with pytest.raises(NotSoundError, match=r"extra\.bin: not part"):
        check_sums(copy)
    (copy / "extra.bin").unlink()
    (copy / "LICENSE").unlink()
    with pytest.raises(NotSoundError, match="LICENSE: missing"):
        check_sums(copy)


def test_a_model_that_does_not_load_is_found(released: Path, tmp_path: Path) -> None:
    """Sums that fit are not enough: here the config promises a layer more than there are weights."""
    from clapas.release.verify import write_sums

    copy = Path(shutil.copytree(released, tmp_path / "copy"))
    config = (copy / "config.json").read_text()
    assert '"num_hidden_layers": 2' in config
    (copy / "config.json").write_text(config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    write_sums(copy)
    with pytest.raises(NotSoundError, match="does not load"):
        verify(copy)


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "nonsense", "../MIT"])
def test_a_licence_without_text_is_refused(trained_run: Path, tmp_path: Path, licence: str) -> None:
    """Names those that ship; writes nothing."""
    with pytest.raises(UserError, match=r"Apache-2\.0, MIT"):
        release(trained_run, tmp_path / "out", licence)
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_is_refused(clapas: Clapas, test_data: Path, tmp_path: Path) -> None:
    """A checkpoint of step 2 of 4 is not a release."""
    common = ("train", "test", f"data.path={test_data}", "run_dir=run", "schedule.warmup_steps=1", "train.steps=4")
    assert clapas(*common, "checkpoint.every=2", "evaluation.every=9", cwd=tmp_path).returncode == 0
    shutil.rmtree(tmp_path / "run/checkpoints/step-00000004")
    result = clapas("release", "run", "--out", "out", "--licence", "MIT", cwd=tmp_path)
    assert result.returncode == 2
    assert "this run is not finished" in result.stderr
    assert not (tmp_path / "out").exists()
