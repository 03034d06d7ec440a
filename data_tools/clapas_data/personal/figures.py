"""How much of what is personal the detectors find: as measured once, for whoever has no labelled set at hand."""

from __future__ import annotations

from pathlib import Path

from clapas.recipe.typed import Section, TypedFile, read_typed
from clapas_data.personal.finding import Kind

FILE = Path(__file__).parent / "figures.yaml"


class KindFigures(Section):
    """As `measure.Score`. values: labelled. found: of these, whole. findings: of the detectors. right: of these."""

    values: int
    found: int
    findings: int
    right: int


class Negatives(Section):
    """What must not be touched: seen, and touched all the same."""

    seen: int
    touched: int


class Figures(TypedFile):
    """Of a set of labelled documents. date: the month in which it was measured."""

    date: str
    documents: int
    kinds: dict[Kind, KindFigures]
    negatives: Negatives

    @property
    def recall(self) -> float:
        """Of all kinds together: found values of the labelled ones."""
        return sum(kind.found for kind in self.kinds.values()) / sum(kind.values for kind in self.kinds.values())

    @property
    def precision(self) -> float:
        """Of all kinds together: right findings of all."""
        return sum(kind.right for kind in self.kinds.values()) / sum(kind.findings for kind in self.kinds.values())


def read_figures() -> Figures:
    """The figures that ship: of the set `final` (docs/personal-data.md)."""
    return read_typed(FILE, Figures)
