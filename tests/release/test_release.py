"""A release is whole, passes its gate, and is signed; what the gate keeps in leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from tests.release.drafts import answer_values, write_answers

from clapas.recipe.errors import UserError
from clapas.release.answers import read_answers
from clapas.release.gate.checks.revisions import NAME
from clapas.release.revisions import short
from clapas.release.template import template
from commands import Clapas


@pytest.mark.slow
def test_every_check_passes_and_is_written_down(released: Path) -> None:
    """All of them but the upload's, which comes later; the command prints what release.json holds."""
    said = orjson.loads((released / "release.json").read_bytes())
    assert [check["number"] for check in said["checks"]] == list(range(1, 25))
    assert {check["number"]: check["status"] for check in said["checks"] if check["status"] != "pass"} == {
        24: "not-run"
    }
    assert orjson.loads((released.parent / "said.json").read_bytes()) == said


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_is_kept_in_leaves_nothing(trained_run: Path, key: Path, clapas: Clapas, tmp_path: Path) -> None:
    """A run of which nothing was measured: the gate's word on stdout, its reason on stderr, and no folder."""
    answers = write_answers(tmp_path / "release.yaml")
    result = clapas("release", trained_run, "--answers", answers, "--key", key, "--out", "model", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "20 FAIL    evaluations" in result.stdout
    assert "\n    20 evaluations: " in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["release.yaml"]


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


def test_it_is_asked_whose_questions_were_put(trained_run: Path, tmp_path: Path) -> None:
    """Of tasks that do not ship with Clapas, those of a group together."""
    for name in ("recipe.yaml", "ledger.jsonl"):
        shutil.copy(trained_run / name, tmp_path)
    asked = ("clapas_fr_grammaire", "global_mmlu_fr_business", "global_mmlu_fr_other", "belebele_fra_Latn")
    record = {"tasks": dict.fromkeys(asked), "groups": {"global_mmlu_fr": {}}}
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "001-tasks.json").write_bytes(orjson.dumps(record))
    assert "evaluation_sets" not in template(trained_run)
    assert list(yaml.safe_load(template(tmp_path))["evaluation_sets"]) == ["belebele_fra_Latn", "global_mmlu_fr"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values["use"]["limits"].update(fr="À renseigner"), "use.limits.fr: 'À renseigner'"),
        (lambda values: values["use"]["limits"].update(fr=" ? "), "use.limits.fr: '?'"),
        (
            lambda values: values["model"].update(on_market="2026-02-30"),
            "model.on_market: found '2026-02-30'; not in the calendar",
        ),
        (lambda values: values["energy"].update(country="France"), "energy.country"),
        (
            lambda values: values["training_content"]["sources"]["fiches-travail"].update(
                acquired=["2026-00", "2026-01"]
            ),
            "acquired[0]: found '2026-00'; not in the calendar",
        ),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
    """Another word that stands for one, a sign alone, days and months that are none."""
    values = answer_values()
    change(values)
    with pytest.raises(UserError, match=re.escape(said)):
        read_answers(write_answers(tmp_path / "release.yaml", values))


@pytest.mark.parametrize(
    ("tokens", "said"),
    [(999, "999"), (1000, "1k"), (999_499, "999k"), (999_700, "1M"), (9_996_000, "10M"), (999_999_999_999, "1T"),
     (15_000_000_000_000, "15T"), (1_234_000_000_000_000, "1234T")],
)  # fmt: skip
def test_a_revision_is_named_in_three_digits(tokens: int, said: str) -> None:
    """In the larger unit where they round up to it: nothing that check 22 would take for no name."""
    assert short(tokens) == said
    assert NAME.fullmatch(f"stage1-step1-tokens{said}")


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


def test_a_checkpoint_that_was_not_kept_is_no_revision(
    trained_run: Path, key: Path, clapas: Clapas, tmp_path: Path
) -> None:
    """Its step is named, and those that there are. What a killed release left half made is gone."""
    answers = write_answers(tmp_path / "release.yaml")
    killed = tmp_path / f".other.partial-{os.uname().nodename}-4194305"  # above any process's number
    killed.mkdir()
    options = ("--answers", answers, "--key", key, "--out", "model", "--revisions", "3")
    result = clapas("release", trained_run, *options, cwd=tmp_path)
    assert result.returncode == 2
    assert "the run has no checkpoint of these steps" in result.stderr
    assert not killed.exists()
