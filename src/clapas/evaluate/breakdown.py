"""Bits per byte of a split, source by source or domain by domain: parts that add up to the whole.

The windows are those of `loader.windows`, which run across documents and sources; each target's loss is counted where
its token lies, and each part's bytes are those of its shards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from clapas.engine.ranks import Ranks
from clapas.evaluate.token_scores import TokenScores, token_scores
from clapas.loader.windows import Windows
from clapas_data.manifest import Manifest

By = Literal["source", "domain"]
NO_DOMAIN = "no domain given"


@dataclass(frozen=True, slots=True)
class Part:
    """What was scored of one source or domain. loss_sum: nats. bytes: of its text; None where not known."""

    name: str
    loss_sum: float
    tokens: int
    bytes: int | None

    def row(self) -> dict[str, Any]:
        """Its figures: `loss` in nats a token, `perplexity` of a token, `bits_per_byte`; None where not known."""
        loss = self.loss_sum / self.tokens if self.tokens else None
        bits = self.loss_sum / math.log(2) / self.bytes if self.bytes else None
        return {
            "name": self.name,
            "tokens": self.tokens,
            "bytes": self.bytes,
            "loss": loss,
            "perplexity": None if loss is None else _exp(loss),
            "bits_per_byte": bits,
        }


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


@torch.no_grad()
def score_parts(
    model: Callable[..., Any],
    windows: Windows,
    split: str,
    by: By | None,
    *,
    device: torch.device | str = "cpu",
    ranks: Ranks | None = None,
) -> list[Part]:
    """The parts of a split, in the order of its shards; without `by`, one of all. A collective where there are ranks.

    windows: this rank's, of that split.
    """
    manifest = windows.manifest
    places = manifest.of_split(split)
    names = [_name_of(manifest, place, by) for place in places]
    parts = {name: number for number, name in enumerate(dict.fromkeys(names))}
    part_of_shard = np.array([parts[name] for name in names])
    ends = np.cumsum([manifest.left(place).tokens for place in places])
    losses, tokens = np.zeros(len(parts)), np.zeros(len(parts))
    for numbers, batch in windows.numbered():
        on_device = batch.to(device)
        criterion = token_scores(on_device.targets)
        found, _ = model(
            on_device.tokens,
            on_device.positions,
            on_device.document_ids,
            document_starts=on_device.document_starts,
            targets_BS=on_device.targets,
            criterion=criterion,
        )
        scores = TokenScores(*found)
        told = [windows.targets_of(number) for number in numbers]
        targets = np.concatenate([np.arange(first, last) for first, last in told])
        found = part_of_shard[np.searchsorted(ends, targets, side="right")]
        losses += np.bincount(found, scores.losses_N.double().cpu().numpy(), minlength=len(parts))
        tokens += np.bincount(found, minlength=len(parts))
    sums = [*losses.tolist(), *tokens.tolist()]
    if ranks is not None:
        sums = ranks.sum_all(sums)
    return [
        Part(name, sums[number], round(sums[len(parts) + number]), _bytes_of(manifest, places, names, name))
        for name, number in parts.items()
    ]


def _name_of(manifest: Manifest, place: int, by: By | None) -> str:
    source = manifest.shards[place].source
    if by == "source":
        return source
    return (manifest.sources[source].domain or NO_DOMAIN) if by == "domain" else "all"


def _bytes_of(manifest: Manifest, places: list[int], names: list[str], name: str) -> int | None:
    own = [place for place, other in zip(places, names, strict=True) if other == name]
    if any(manifest.shards[place].text_bytes is None for place in own):
        return None
    return sum(manifest.left(place).bytes for place in own)


def whole_of(parts: list[Part]) -> Part:
    """The sum of the parts."""
    sizes = [part.bytes for part in parts]
    known = None if any(size is None for size in sizes) else sum(size or 0 for size in sizes)
    return Part("all", sum(part.loss_sum for part in parts), sum(part.tokens for part in parts), known)


def parts_table(rows: list[dict[str, Any]], by: str) -> str:
    """Rows of `Part.row` as aligned text."""
    header = (by, "tokens", "bytes", "loss", "perplexity", "bits/byte")
    lines: list[tuple[str, ...]] = [header]
    for row in rows:
        size = "unknown" if row["bytes"] is None else f"{row['bytes']:,}"
        figures = (_digits(row["loss"], 4), _digits(row["perplexity"], 2), _digits(row["bits_per_byte"], 4))
        lines.append((row["name"], f"{row['tokens']:,}", size, *figures))
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _digits(value: float | None, digits: int) -> str:
    return "unknown" if value is None else f"{value:,.{digits}f}"
