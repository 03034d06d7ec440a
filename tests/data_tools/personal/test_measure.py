"""The measure itself, and the figures of the tuning set: a detector that gets worse is told by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clapas.recipe.errors import UserError
from clapas_data.personal.figures import read_figures
from clapas_data.personal.finding import KINDS, Finding
from clapas_data.personal.measure import main, measure, table
from clapas_data.personal.templates import Template, read_templates

TUNING = Path(__file__).parent / "templates_tuning.yaml"
FINAL = Path(__file__).parent / "templates_final.yaml"


def test_the_tuning_set() -> None:
    """It has ten values of the common kinds and 200 negatives; nearly all are found, none is touched."""
    measured = measure(read_templates(TUNING).documents)
    assert set(measured.scores) >= set(KINDS)
    assert measured.negatives.total() > 200
    total = measured.total()
    assert total.recall >= 0.99, measured.mistakes
    assert total.precision >= 0.99, measured.mistakes
    assert not measured.touched, measured.mistakes


def test_the_final_set() -> None:
    """What docs/personal-data.md says of the set that the detectors' author never saw, and what ships of it for the
    reports of releases. Not to be tuned on."""
    templates = read_templates(FINAL)
    measured = measure(templates.documents)
    total = measured.total()
    assert (total.values, total.found, total.findings, total.right) == (283, 275, 279, 276)
    figures = read_figures()
    shipped = {kind: (own.values, own.found, own.findings, own.right) for kind, own in figures.kinds.items()}
    scores = {kind: measured.scores[kind] for kind in KINDS}
    assert shipped == {kind: (own.values, own.found, own.findings, own.right) for kind, own in scores.items()}
    assert figures.documents == len(templates.documents)
    assert (figures.negatives.seen, figures.negatives.touched) == (
        measured.negatives.total(),
        measured.touched.total(),
    )


def test_what_counts_as_found_and_right() -> None:
    """Half a value is not found; a finding of another kind covers it; one that takes much more is wrong."""
    template = Template(
        id="a", text="Dr [[person|Roux]], [[phone|06 12]] le [[!date|3 mai]], [[name|Ève]] et fin de ligne"
    )
    text, labels = template.read()
    assert text == "Dr Roux, 06 12 le 3 mai, Ève et fin de ligne"
    assert [text[label.start : label.stop] for label in labels] == ["Roux", "06 12", "3 mai", "Ève"]

    def finder(_text: str) -> list[Finding]:
        start = text.index
        return [
            Finding("person", start("Roux"), start("Roux") + 3),
            Finding("ipp", start("06"), start(" le")),
            Finding("phone", start("3 mai"), start("3 mai") + 1),
            Finding("person", start("Ève"), len(text)),
        ]

    measured = measure([template], finder)
    scores = measured.scores
    assert (scores["person"].values, scores["person"].found) == (1, 0)
    assert (scores["person"].findings, scores["person"].right) == (2, 1)
    assert (scores["phone"].found, scores["phone"].covered) == (0, 1)
    assert (scores["name"].values, scores["name"].found) == (1, 1)
    assert (measured.negatives, measured.touched) == ({"date": 1}, {"date": 1})
    assert len(measured.mistakes) == 5
    assert "1 of 1 touched (date 1)" in table(measured)


@pytest.mark.parametrize("text", ["[[siret|1]]", "[[phone|06", "[[phone]]"])
def test_wrong_marks_are_told(text: str, tmp_path: Path, monkeypatch, capsys) -> None:
    """A mark that is none would make a value count as text in which nothing may be found."""
    with pytest.raises(UserError):
        Template(id="a", text=text).read()
    path = tmp_path / "set.yaml"
    path.write_text(f"name: a\ndocuments:\n  - id: b\n    text: '{text}'\n")
    monkeypatch.setattr("sys.argv", ["measure", str(path)])
    assert main() == 2
    assert "b: " in capsys.readouterr().out
