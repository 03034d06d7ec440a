"""What packing made of a run's examples, told at its start and kept in the ledger: nothing is dropped in silence."""

from __future__ import annotations

import sys
from typing import Any

from clapas.loader.packing import Packed, TooLong
from clapas.loader.plan import DataPlan


def packing_facts(plan: DataPlan) -> list[dict[str, Any]]:
    """Of each stretch of the run: its examples, those dropped or truncated, its samples, and how full they are."""
    found = []
    for stretch in plan.stretches:
        room = stretch.sequence_length + 1
        counts: dict[str, int] = {}
        for samples in stretch.streams.values():
            assert isinstance(samples, Packed)
            for name, count in samples.counts(stretch.sequence_length).items():
                counts[name] = counts.get(name, 0) + count
        fill = counts["tokens"] / max(1, counts["samples"] * room)
        found.append({"sequence_length": stretch.sequence_length, **counts, "fill": round(fill, 4)})
    return found


def tell_packing(
    facts: list[dict[str, Any]], global_batch_size: int, too_long: TooLong, *, may_cut: bool = True
) -> None:
    """Say it on stderr. too_long: the recipe's `data.too_long`. may_cut: whether it may be truncate (not of pairs)."""
    for row in facts:
        steps = -(-row["samples"] // global_batch_size)
        print(
            f"examples: {row['examples'] - row['dropped']:,} in {row['samples']:,} samples "
            f"of up to {row['sequence_length']:,} tokens, "
            f"{row['fill']:.0%} full; an epoch is {steps:,} steps",
            file=sys.stderr,
        )
        for fate in ("dropped", "truncated"):
            if row[fate]:
                way_out = "a longer data.sequence_length keeps them whole"
                if fate == "dropped" and too_long == "drop" and may_cut:
                    way_out += ", data.too_long=truncate keeps their beginnings"
                elif fate == "dropped" and too_long == "truncate":
                    way_out = f"nothing of their beginnings is learned; {way_out}"
                share = row[fate] / row["examples"]
                print(f"examples: {row[fate]:,} ({share:.1%}) too long and {fate}: {way_out}", file=sys.stderr)
