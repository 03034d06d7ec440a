"""What a source seems to contain, and where that is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clapas_data.personal.seems import seems_to_contain
from commands import Clapas

REPORT = "Mme Claire Martin est née le 12/03/1961. IPP : 80045123{:02}. Dr Yves Estrade, RPPS : 10094482246."


@pytest.mark.parametrize(
    ("counts", "documents", "hints"),
    [
        ({}, 1000, ()),
        ({"personal.ipp": 5}, 5000, ("health",)),
        ({"personal.ipp": 2}, 100, ()),  # a detector's mistakes
        ({"personal.nir": 4, "personal.rpps": 3, "personal.birth_date": 5}, 1000, ("health",)),
        ({"personal.person": 40, "personal.birth_date": 26, "personal.phone": 963}, 7591, ()),  # guides, as measured
        ({"personal.person": 300, "personal.email": 10}, 7591, ("personal",)),
    ],
)
def test_hints(counts: dict[str, int], documents: int, hints: tuple[str, ...]) -> None:
    """Patients' numbers say health; names and births only where there are many."""
    assert seems_to_contain(counts, documents) == hints


def test_told_at_the_build_and_by_inspect(tmp_path: Path, fresh_cache: Path, test_data: Path, clapas: Clapas) -> None:
    """A source that does not say what it contains is warned of; one that says so is shown as it says."""
    for name in ("said", "unsaid"):
        (tmp_path / name).mkdir()
        for number in range(12):
            text = REPORT.format(number) + f" Lettre {number} de la série {name}. " + "Le texte suit son cours. " * 9
            (tmp_path / name / f"{number}.txt").write_text(text)
    path = tmp_path / "letters.yaml"
    sources = {
        "said": {"folder": "said", "licence": "MIT", "contains": ["personal", "health"]},
        "unsaid": {"folder": "unsaid", "licence": "MIT"},
    }
    path.write_text(json.dumps({"name": "letters", "sources": sources, "steps": ["personal"], "decontaminate": None}))
    built = clapas("data", "build", path, "--out", "out", "--tokenizer", test_data / "tokenizer", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    assert "source said: contains health data: a release" in built.stderr
    assert "source unsaid: seems to contain personal and health data" in built.stderr
    assert "source said: seems" not in built.stderr
    shown = clapas("data", "inspect", "out", cwd=tmp_path).stdout
    assert "said: contains personal and health data" in shown
    assert "unsaid: seems to contain personal and health data" in shown
    rows = json.loads(clapas("data", "inspect", "out", "--json", cwd=tmp_path).stdout)["sources"]
    told = {row["source"]: (row["contains"], row["seems_to_contain"]) for row in rows}
    assert told == {"said": (["personal", "health"], []), "unsaid": ([], ["personal", "health"])}
