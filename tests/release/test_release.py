"""A release is whole, passes its gate, and is signed; what the gate keeps in leaves nothing behind."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from tests.release.drafts import answer_values, write_answers

from clapas.release.signature import generate_key
from clapas.release.template import template
from commands import Clapas

STEP = 10
"""Of an intermediate checkpoint of the tests' run."""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; its public half lies beside it."""
    folder = tmp_path_factory.mktemp("keys")
    generate_key(folder)
    return folder / "key.pem"


@pytest.fixture(scope="module")
def released(released_run: Path, key: Path, clapas: Clapas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' run, released by the command. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("release")
    answers = write_answers(folder / "release.yaml")
    options = ("--answers", answers, "--key", key, "--gguf", "q8_0", "--revisions", STEP, "--out", "model", "--json")
    result = clapas("release", released_run, *options, cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    (folder / "said.json").write_text(result.stdout)
    return folder / "model"


def test_every_check_passes_and_is_written_down(released: Path) -> None:
    """All of them but the upload's, which comes later; the command prints what release.json holds."""
    said = orjson.loads((released / "release.json").read_bytes())
    assert [check["number"] for check in said["checks"]] == list(range(1, 25))
    assert {check["number"]: check["status"] for check in said["checks"] if check["status"] != "pass"} == {
        24: "not-run"
    }
    assert orjson.loads((released.parent / "said.json").read_bytes()) == said


def test_coreutils_alone_know_every_file(released: Path) -> None:
    """`sha256sum -c` in the release and in its revision; together with the signature they list all that is there."""
    revision = next((released / "revisions").iterdir())
    assert revision.name == "stage1-step10-tokens10.2k"
    for folder in (released, revision):
        command = ["sha256sum", "-c", "--strict", "SHA256SUMS"]
        result = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr
        listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        there = {name for name in there if not name.startswith("revisions/")}
        assert there == listed | {"SHA256SUMS", "model.sig"}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda values: values["model"].update(licence="CC-BY-SA-4.0"), 14),
        (lambda values: values["training_content"]["sources"].clear(), None),
    ],
    ids=["a licence that does not fit", "a source that nobody answered for"],
)
def test_what_is_kept_in_leaves_nothing(
    released_run: Path, key: Path, clapas: Clapas, tmp_path: Path, change: Any, check: int | None
) -> None:
    """The gate's word on stdout, the reason on stderr, and no folder, not even a part of one."""
    values = answer_values()
    change(values)
    answers = write_answers(tmp_path / "release.yaml", values)
    result = clapas("release", released_run, "--answers", answers, "--key", key, "--out", "model", cwd=tmp_path)
    assert result.returncode == (2 if check is None else 1), result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["release.yaml"]
    if check is not None:
        assert f"\n    {check} " in result.stderr


def test_blanks_are_refused_by_line(trained_run: Path, tmp_path: Path, clapas: Clapas) -> None:
    """The blank file of questions asks of the run's own source, and is refused as it is, line by line."""
    text = template(trained_run)
    (tmp_path / "release.yaml").write_text(text, encoding="utf-8")
    assert "fiches-travail:" in text
    options = ("--answers", "release.yaml", "--key", "none.pem", "--out", "model")
    result = clapas("release", trained_run, *options, cwd=tmp_path)
    assert result.returncode == 2
    line = 1 + text.splitlines().index(next(line for line in text.splitlines() if line.startswith("  repository:")))
    assert f"release.yaml:{line}: model.repository" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_placeholder_is_no_answer(tmp_path: Path, trained_run: Path, clapas: Clapas) -> None:
    """A word that stands for an answer is refused with its line too."""
    values = answer_values()
    values["use"]["limits"]["fr"] = "À compléter"
    text = yaml.safe_dump(values, allow_unicode=True)
    (tmp_path / "release.yaml").write_text(text, encoding="utf-8")
    options = ("--answers", "release.yaml", "--key", "none.pem", "--out", "model")
    result = clapas("release", trained_run, *options, cwd=tmp_path)
    assert result.returncode == 2
    line = 1 + next(number for number, line in enumerate(text.splitlines()) if "À compléter" in line)
    assert f"release.yaml:{line}: use.limits.fr" in result.stderr


def test_a_run_that_goes_on_is_not_released(released_run: Path, key: Path, clapas: Clapas, tmp_path: Path) -> None:
    """Not finished; nor with a checkpoint that was never kept."""
    answers = write_answers(tmp_path / "release.yaml")
    options = ("--answers", answers, "--key", key, "--out", "model", "--revisions", "3")
    result = clapas("release", released_run, *options, cwd=tmp_path)
    assert result.returncode == 2
    assert "the run has no checkpoint of these steps" in result.stderr
