"""What a folder of examples holds, so that one can choose a sequence length and know what an epoch is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clapas.recipe.errors import UserError
from clapas_data.chat.kinds import Made
from clapas_data.examples import Example

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
"""Sequence lengths that people choose among."""


@dataclass
class Summary:
    """Sums over the examples that were written. counts: the manifest's, which grow with them.

    lengths: tokens of each example, of a pair's both sides together, as they share a sample. size: bytes read, as JSON.
    """

    out: Path
    kind: str
    counts: dict[str, int]
    lengths: list[int] = field(default_factory=list)
    size: int = 0
    seconds: float = 0.0

    def add(self, size: int, bad: Counter[str], made: Iterable[Made]) -> None:
        """Count some rows. bad: reason -> those left out for it."""
        self.size += size
        for reason, count in bad.items():
            self._count(f"left out: {reason}", count)
        for example in made:
            self.lengths.append(sum(len(sequence.tokens) for sequence in example.sequences))
            self._count("examples", 1)
            self._count("turns", example.turns)
            self._count("tokens", self.lengths[-1])
            self._count("learned_tokens", sum(int((sequence.turns > 0).sum()) for sequence in example.sequences))

    def _count(self, name: str, count: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + count

    def finish(self) -> Iterator[Example]:
        """No further example. Raises UserError where there was none: called before the folder stands."""
        if not self.lengths:
            found = ", ".join(f"{count} {reason}" for reason, count in self.counts.items()) or "no row"
            raise UserError("no example is left", where=self.out, found=found)
        yield from ()

    @property
    def left_out(self) -> dict[str, int]:
        """Reason -> rows that were left out for it."""
        return {name.partition(": ")[2]: count for name, count in self.counts.items() if name.startswith("left out")}

    def values(self) -> dict[str, Any]:
        """All of it, for `--json`.

        samples: of one epoch over all examples that fit, were packs full; best-fit packing needs a few more.
        """
        lengths = np.array(self.lengths)
        totals = {name: count for name, count in self.counts.items() if not name.startswith("left out")}
        fits = {str(length): float((lengths <= length + 1).mean()) for length in LENGTHS}
        samples = {str(n): int(-(-lengths[lengths <= n + 1].sum() // (n + 1))) for n in LENGTHS}
        return {
            "out": str(self.out),
            "kind": self.kind,
            **totals,
            "left_out": self.left_out,
            "longest": int(lengths.max()),
            "fits": fits,
            "samples": samples,
            "seconds": round(self.seconds, 2),
            "megabytes_per_second": round(self.size / 1e6 / max(self.seconds, 1e-9), 2),
        }


def summary_table(values: dict[str, Any]) -> str:
    """A summary as text."""
    learned = values["learned_tokens"] / values["tokens"]
    lines = [
        f"{values['out']}: {values['examples']:,} {values['kind']}, {values['turns']:,} turns of the assistant's",
        f"{values['tokens']:,} tokens, {values['learned_tokens']:,} of them learned ({learned:.0%}); "
        f"the longest example has {values['longest']:,}",
    ]
    if values["left_out"]:
        lines.append("left out: " + ", ".join(f"{count:,} {reason}" for reason, count in values["left_out"].items()))
    lines.append(f"{'sequence_length':>16} {'that fit':>9} {'samples an epoch, about':>24}")
    for length, share in values["fits"].items():
        lines.append(f"{int(length):>16,} {share:>9.1%} {values['samples'][length]:>24,}")
    lines.append(f"{values['seconds']:.1f} s, {values['megabytes_per_second']:.1f} MB/s")
    return "\n".join(lines)
