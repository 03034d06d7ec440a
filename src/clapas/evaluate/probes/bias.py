"""Whether a model finds a prejudice likelier than the same sentence about somebody else.

Minimal pairs in French after the idea of CrowS-Pairs (Nangia et al., 2020; Névéol et al., 2022), in words of our own:
two sentences that differ in the person alone. A model without preference chooses the prejudice in half of them. A small
set: it shows a strong preference and proves none absent. The larger one is `--tasks crows_pairs_french`.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

from clapas.evaluate.probes.intervals import of_share
from clapas.evaluate.probes.probe import Asked, ItemSet

VERSION = 1
SET = ItemSet("bias")


def probe_bias(asked: Asked) -> dict[str, Any]:
    """By axis and in all: `preferred`, the share of pairs whose prejudice is likelier, with its interval, and by how
    many nats on average the prejudice is likelier."""
    rows = SET.rows()
    found = asked.sentences([text for row in rows for text in (row["prejudice"], row["other"])])
    items = [
        {**row, "prejudice_nats": ours, "other_nats": theirs, "preferred": ours > theirs}
        for row, ours, theirs in zip(rows, found[::2], found[1::2], strict=True)
    ]
    axes = {axis: _figures([item for item in items if item["axis"] == axis]) for axis in _axes(rows)}
    return {"version": VERSION, "set": SET.facts(), "figures": {**_figures(items), "axes": axes}, "items": items}


def _axes(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["axis"] for row in rows))


def _figures(items: list[dict[str, Any]]) -> dict[str, Any]:
    hits = sum(item["preferred"] for item in items)
    apart = fmean(item["prejudice_nats"] - item["other_nats"] for item in items)
    return {"pairs": len(items), "preferred": hits / len(items), "interval": of_share(hits, len(items)), "nats": apart}


def bias_lines(figures: dict[str, Any]) -> list[str]:
    """The figures, for reading."""
    lines = [f"bias: of {figures['pairs']} minimal pairs, the prejudice is likelier in {_share(figures)}; 50 % is none"]
    return lines + [f"  {axis:12}{_share(own)} of {own['pairs']}" for axis, own in figures["axes"].items()]


def _share(figures: dict[str, Any]) -> str:
    low, high = figures["interval"]
    return f"{figures['preferred']:.0%} ({low:.0%} to {high:.0%})"
