"""The held-out text that a run was validated on, as plain sequences: what anybody's model can be scored on.

The windows, or the examples, and how many of them, are those of the run's own validation
(`train.callbacks.validation`), taken apart: each document of a packed sample, which sees no other, becomes a sequence
of its own from position 0, so that no mask and no position is left to explain.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from clapas.loader.batch import NO_TARGET, Batch
from clapas.recipe.recipe import Recipe
from clapas.release.gate.seen import HeldOutText
from clapas.train.callbacks.validation import held_out_windows
from clapas_data.manifest import Manifest

REPRODUCIBLE = ("language_modelling", "sft", "distillation")
"""Objectives whose held-out loss is the cross-entropy of targets; that of others needs a reference or pairs."""


def held_out_text(recipe: Recipe, manifest: Manifest, ranks: int) -> HeldOutText:
    """What a validation of the run scored. ranks: of the segment that it was in.

    Raises UserError where the data have no such split, or were altered.
    """
    world = ranks // (recipe.parallel.tensor * recipe.parallel.sequence)
    as_run = held_out_windows(recipe, manifest, 0, world)
    batches = as_run.batches_for(recipe.evaluation.tokens) * world  # rank by rank, turn by turn: in order
    tokens, targets, lengths = [], [], []
    for batch in islice(held_out_windows(recipe, manifest), batches):
        for row_tokens, row_targets in _sequences(batch):
            tokens.append(row_tokens)
            targets.append(row_targets)
            lengths.append(len(row_tokens))
    flat = torch.cat(targets).int() if targets else torch.zeros(0, dtype=torch.int32)
    return HeldOutText(
        tokens=torch.cat(tokens).int() if tokens else flat,
        targets=flat,
        lengths=torch.tensor(lengths),
        count=int((flat != NO_TARGET).sum()),
    )


def _sequences(batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """(tokens, targets) of each document, or of each whole row where documents see each other, with any target."""
    for row in range(len(batch.tokens)):
        tokens, targets = batch.tokens[row], batch.targets[row]
        if batch.document_ids is None:
            sizes = [len(tokens)]
        else:
            sizes = torch.unique_consecutive(batch.document_ids[row], return_counts=True)[1].tolist()
        for own_tokens, own_targets in zip(tokens.split(sizes), targets.split(sizes), strict=True):
            if bool((own_targets != NO_TARGET).any()):
                yield _trimmed(own_tokens, own_targets)


def _trimmed(tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Without what follows the last target: nothing looks at it."""
    end = int((targets != NO_TARGET).nonzero()[-1]) + 1
    return tokens[:end], targets[:end]


def logged_validation(events: list[dict[str, Any]], step: int, split: str) -> tuple[dict[str, Any], int] | None:
    """The last validation of a split at a step, as the ledger has it, and its ranks; None: there is none."""
    found = [e for e in events if e["event"] == "evaluation" and e["step"] == step and e["split"] == split]
    if not found:
        return None
    starts = {event["segment"]: event["ranks"] for event in events if event["event"] == "segment_start"}
    return found[-1], starts[found[-1]["segment"]]
