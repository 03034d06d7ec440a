"""Supervised fine-tuning: the cross-entropy of the assistant's tokens, packed or not.

    loss = - sum over the learned tokens t of log p(t | what stands before it in its conversation)

A token is a unit: the loop divides by the learned tokens of the whole step, so neither packing nor ranks nor the length
of an answer's neighbours change what one token weighs. Only rows of learned tokens go through the head.

Validation also tells how often the likeliest token is the right one, in all and by the assistant's turn.
B batch, S sequence, N learned tokens, E hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from clapas.loader.batch import NO_TARGET, Batch
from clapas.recipe.recipe import Recipe
from clapas.tune.config import Sft
from clapas.tune.neftune import Neftune
from clapas.tune.objective import Objective
from clapas_kernels import linear_cross_entropy
from clapas_kernels.linear_cross_entropy import rows_of_chunk

TURNS_TOLD = 4
"""Turns that have a column of their own; all later ones share one."""


def sft(recipe: Recipe) -> Objective:
    """The objective `sft`."""
    assert isinstance(recipe.objective, Sft)
    loss = partial(learned_loss, z_loss=recipe.train.z_loss)
    if not recipe.objective.neftune_alpha:
        return Objective(loss, evaluate=evaluate)
    noise = Neftune.of_recipe(recipe, recipe.objective.neftune_alpha)

    def with_noise(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        with noise.added(batch):
            return loss(model, batch)

    return Objective(with_noise, prepare=noise.prepare, evaluate=evaluate)


def learned_loss(model: Any, batch: Batch, z_loss: float = 0.0) -> tuple[Tensor, Tensor]:
    """(the sum over the batch's learned tokens, each sample's cross-entropies, (B,)), in nats."""
    (loss, losses_B), balance = _through(model, batch, partial(_losses, targets_BS=batch.targets, z_loss=z_loss))
    return loss if balance is None else loss + balance, losses_B


def _losses(hidden_BSE: Tensor, weight_VE: Tensor, targets_BS: Tensor, z_loss: float) -> tuple[Tensor, Tensor]:
    places_N, rows_NE, targets_N = _learned_rows(hidden_BSE, targets_BS)
    loss, losses_N = linear_cross_entropy(rows_NE, weight_VE, targets_N, z_loss)
    losses = losses_N.new_zeros(targets_BS.numel()).index_copy(0, places_N, losses_N)
    return loss, losses.view(targets_BS.shape).sum(-1)


def evaluate(model: Any, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor | int]]:
    """`Objective.evaluate`: loss and token accuracy of the held-out answers, and accuracy by turn."""
    (losses_N, is_right_N), _ = _through(model, batch, partial(_scores, targets_BS=batch.targets))
    learned = batch.targets != NO_TARGET
    turns_N = torch.ones_like(losses_N) if batch.turns is None else batch.turns[learned]
    found: dict[str, tuple[Tensor, Tensor | int]] = {
        "loss": (losses_N.sum(), len(losses_N)),
        "accuracy": (is_right_N.sum(), len(is_right_N)),
    }
    for turn in range(1, TURNS_TOLD + 2):
        is_of_turn = turns_N == turn if turn <= TURNS_TOLD else turns_N >= turn
        name = f"accuracy/turn{turn}" if turn <= TURNS_TOLD else f"accuracy/turn{turn}_on"
        found[name] = ((is_right_N & is_of_turn).sum(), is_of_turn.sum())
    return found


def _scores(hidden_BSE: Tensor, weight_VE: Tensor, targets_BS: Tensor) -> tuple[Tensor, Tensor]:
    """(cross-entropy of each learned token, whether it is the likeliest), (N,), without gradient."""
    _, rows_NE, targets_N = _learned_rows(hidden_BSE, targets_BS)
    losses, is_right = [rows_NE.new_zeros(0, dtype=torch.float32)], [targets_N.new_zeros(0, dtype=torch.bool)]
    size = rows_of_chunk(rows_NE, weight_VE)
    for start in range(0, len(rows_NE), size):
        logits_CV, own = rows_NE[start : start + size] @ weight_VE.t(), targets_N[start : start + size]
        losses.append(torch.nn.functional.cross_entropy(logits_CV.float(), own, reduction="none"))
        is_right.append(logits_CV.argmax(-1) == own)
    return torch.cat(losses), torch.cat(is_right)


def _learned_rows(hidden_BSE: Tensor, targets_BS: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(places among the B S, hidden states, targets) of the learned tokens."""
    targets = targets_BS.reshape(-1)
    places_N = (targets != NO_TARGET).nonzero()[:, 0]
    return places_N, hidden_BSE.reshape(-1, hidden_BSE.shape[-1]).index_select(0, places_N), targets[places_N]


def _through(model: Any, batch: Batch, criterion: Any) -> Any:
    return model(
        batch.tokens,
        batch.positions,
        batch.document_ids,
        document_starts=batch.document_starts,
        targets_BS=batch.targets,
        criterion=criterion,
    )
