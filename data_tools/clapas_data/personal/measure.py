"""Recall and precision of the detectors on labelled documents: `python -m clapas_data.personal.measure FILE...`.

A value is found when findings of its kind cover all its letters and digits (NIR and INS are one kind), covered when
findings of any kind do: it is gone from the text. A finding is right when it overlaps a value of its kind and at most a
quarter of its letters and digits lie outside of labels.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clapas.recipe.errors import UserError
from clapas_data.personal.find import find
from clapas_data.personal.finding import KINDS, Finding
from clapas_data.personal.names import load_namer
from clapas_data.personal.templates import NAME, Label, Template, read_templates

_OUTSIDE = 0.25
_SAME = {"ins": "nir", NAME: "person"}
"""Kinds that count as one."""


@dataclass
class Score:
    """What was found of one kind. values: labelled. found, covered: of these. findings, right: of the detectors."""

    values: int = 0
    found: int = 0
    covered: int = 0
    findings: int = 0
    right: int = 0

    @property
    def recall(self) -> float:
        """Found values of the labelled ones; 1 where there are none."""
        return self.found / self.values if self.values else 1.0

    @property
    def precision(self) -> float:
        """Right findings of all; 1 where there are none."""
        return self.right / self.findings if self.findings else 1.0


@dataclass
class Measured:
    """Scores by kind, negatives (seen, touched) by what they are, and every mistake in words."""

    scores: dict[str, Score] = field(default_factory=lambda: defaultdict(Score))
    negatives: Counter[str] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    mistakes: list[str] = field(default_factory=list)

    def total(self) -> Score:
        """All kinds together, names without a title left out of the values."""
        total = Score()
        for kind, score in self.scores.items():
            for part in ("values", "found", "covered", "findings", "right"):
                if kind != NAME:
                    setattr(total, part, getattr(total, part) + getattr(score, part))
        return total


Finder = Callable[[str], Sequence[Finding]]


def measure(templates: Sequence[Template], finder: Finder = find) -> Measured:
    """Run the detectors over labelled documents."""
    measured = Measured()
    for template in templates:
        text, labels = template.read()
        findings = finder(text)
        _count_labels(measured, template.id, text, labels, findings)
        _count_findings(measured, template.id, text, labels, findings)
    return measured


def _count_labels(measured: Measured, where: str, text: str, labels: list[Label], findings: Sequence[Finding]) -> None:
    for label in labels:
        said = text[label.start : label.stop]
        if label.negative:
            measured.negatives[label.kind] += 1
            if any(finding.start < label.stop and label.start < finding.stop for finding in findings):
                measured.touched[label.kind] += 1
            continue
        score = measured.scores[label.kind]
        score.values += 1
        score.covered += _is_covered(text, label, findings)
        if _is_covered(text, label, [finding for finding in findings if _same(finding.kind) == _same(label.kind)]):
            score.found += 1
        elif label.kind != NAME:
            measured.mistakes.append(f"{where}: missed {label.kind} {said!r}")


def _count_findings(
    measured: Measured, where: str, text: str, labels: list[Label], findings: Sequence[Finding]
) -> None:
    wanted = [label for label in labels if not label.negative]
    for finding in findings:
        score = measured.scores[finding.kind]
        score.findings += 1
        overlaps = any(
            _same(label.kind) == _same(finding.kind) and label.start < finding.stop and finding.start < label.stop
            for label in wanted
        )
        places = [place for place in range(finding.start, finding.stop) if text[place].isalnum()]
        outside = sum(not any(label.start <= place < label.stop for label in wanted) for place in places)
        if overlaps and outside <= _OUTSIDE * len(places):
            score.right += 1
        else:
            around = text[max(0, finding.start - 30) : finding.start]
            measured.mistakes.append(
                f"{where}: wrong {finding.kind} {text[finding.start : finding.stop]!r} after {around!r}"
            )


def _is_covered(text: str, label: Label, findings: Sequence[Finding]) -> bool:
    return all(
        any(finding.start <= place < finding.stop for finding in findings)
        for place in range(label.start, label.stop)
        if text[place].isalnum()
    )


def _same(kind: str) -> str:
    return _SAME.get(kind, kind)


def table(measured: Measured) -> str:
    """The scores as a table, one kind a line."""
    lines = [
        f"{'kind':<12}{'values':>8}{'found':>7}{'recall':>9}{'covered':>9}{'findings':>10}{'wrong':>7}{'precision':>11}"
    ]
    names = [kind for kind in (*KINDS, NAME) if kind in measured.scores]
    for kind, score in [*((kind, measured.scores[kind]) for kind in names), ("all but name", measured.total())]:
        covered = score.covered / score.values if score.values else 1.0
        wrong = score.findings - score.right
        lines.append(
            f"{kind:<12}{score.values:>8}{score.found:>7}{score.recall:>9.1%}{covered:>9.1%}"
            f"{score.findings:>10}{wrong:>7}{score.precision:>11.1%}"
        )
    seen, touched = measured.negatives.total(), measured.touched.total()
    which = ", ".join(f"{what} {count}" for what, count in measured.touched.most_common())
    return "\n".join([*lines, f"hard negatives: {touched} of {seen} touched" + (f" ({which})" if which else "")])


def main() -> int:
    """Print the table of each file; with `--mistakes` also what was missed or wrong."""
    parser = argparse.ArgumentParser(prog="python -m clapas_data.personal.measure", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a set of labelled documents (YAML)")
    parser.add_argument("--mistakes", action="store_true", help="print every mistake")
    parser.add_argument("--names", choices=("titles", "presidio", "eds-nlp"), default="titles")
    parser.add_argument("--names-model", help="the model of --names")
    options = parser.parse_args()
    try:
        for path in options.files:
            templates = read_templates(path)
            measured = measure(templates.documents, _finder(options.names, options.names_model))
            print(f"{templates.name}: {len(templates.documents)} documents", table(measured), sep="\n")
            print(*measured.mistakes if options.mistakes else (), sep="\n")
    except UserError as error:
        print(error)
        return error.exit_code
    return 0


def _finder(names: str, model: str | None) -> Finder:
    if names == "titles":
        return find
    from clapas_data.personal.find import without_overlaps

    namer = load_namer(names, model)  # pyright: ignore[reportArgumentType]
    return lambda text: without_overlaps([*find(text), *namer(text)])


if __name__ == "__main__":
    raise SystemExit(main())
