"""An objective of your own: label smoothing (Szegedy et al., 2016), from the logits.

python examples/own_objective.py data.path=data/test [key.sub=value ...]
"""

import sys
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 torch's own name

import clapas

SMOOTHING = 0.1


def smoothed(model: Any, batch: clapas.Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(what is minimised, what is logged): sums over target tokens, which the loop divides by the step's count."""
    logits_BSV = model(batch.tokens, batch.positions, batch.document_ids).float()
    logits_BVS = logits_BSV.transpose(1, 2)
    minimised = F.cross_entropy(logits_BVS, batch.targets, label_smoothing=SMOOTHING, reduction="sum")
    losses_BS = F.cross_entropy(logits_BVS.detach(), batch.targets, reduction="none")
    return minimised, losses_BS.sum(1)


recipe = clapas.read_recipe("test", ["run_dir=runs/smoothed", *sys.argv[1:]])
clapas.train(recipe, objective=smoothed)
