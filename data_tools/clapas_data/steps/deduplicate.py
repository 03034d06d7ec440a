"""Deduplication, as a corpus file asks for it. Always in this order: exact, near, lines."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from clapas_data.steps.step import Across

ORDER = ("deduplicate.exact", "deduplicate.near", "deduplicate.lines")
"""The order in which they are done."""
RECALL = 0.99
"""The share of the pairs just at the threshold that are to be found, at least."""


class Exact(Across):
    """Of documents with the same text, keep one. Done for every corpus, listed or not."""

    step: Literal["deduplicate.exact"] = "deduplicate.exact"


class Near(Across):
    """Of documents that share nearly all their word n-grams, keep one: MinHash-LSH finds them, each pair is verified.

    words: of an n-gram. threshold: the Jaccard similarity of two documents' sets of n-grams from which they are near
    duplicates. permutations: values of a signature. across: whether documents of different sources are compared.
    keep: which of them stays: the longest, the first in the corpus's order, or that of the highest score, as in
    `score.language`; a held-out document stays before all others.
    """

    packages: ClassVar[tuple[str, ...]] = ("rensa",)

    step: Literal["deduplicate.near"] = "deduplicate.near"
    words: Annotated[int, Field(ge=1, le=50)] = 5
    threshold: Annotated[float, Field(ge=0.3, le=1)] = 0.8
    permutations: Annotated[int, Field(ge=16, le=1024)] = 120
    across: Literal["corpus", "source"] = "corpus"
    keep: Annotated[str, StringConstraints(pattern=r"^(longest|first|score\..+)$")] = "longest"

    @property
    def rows(self) -> int:
        """Values of a band: the most, for the fewest pairs to verify in vain, that still find RECALL of the pairs."""
        enough = [rows for rows in range(1, self.permutations + 1) if self._found(rows) >= RECALL]
        return max(enough, default=1)

    @property
    def bands(self) -> int:
        """Bands of a signature."""
        return self.permutations // self.rows

    def found(self, jaccard: float) -> float:
        """The share of the pairs of a similarity that share a band: 1 - (1 - s^rows)^bands (Leskovec et al., ch. 3)."""
        return 1 - (1 - jaccard**self.rows) ** self.bands

    def _found(self, rows: int) -> float:
        return 1 - (1 - self.threshold**rows) ** (self.permutations // rows)


class Lines(Across):
    """Take lines that many documents repeat out of all but the first of them. Held-out documents keep theirs.

    characters: of the shortest line looked at. most: documents in which a line may stay; 6 is what Llama 3 was trained
    with (Grattafiori et al., 2024, 3.1.1). Lines are compared without regard to case.
    """

    step: Literal["deduplicate.lines"] = "deduplicate.lines"
    characters: Annotated[int, Field(ge=1)] = 40
    most: Annotated[int, Field(ge=1, le=1000)] = 6
