"""Loss and token accuracy on held-out examples: what bits per byte are for running text, for a fine-tuned model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from clapas.engine.ranks import Ranks
from clapas.evaluate.token_scores import TokenScores, token_scores
from clapas.loader.held_out import HeldOutExamples

LAST_TURN = 9
"""Later turns of the assistant's are counted together with this one."""


@torch.no_grad()
def score_examples(
    model: Callable[..., Any],
    examples: HeldOutExamples,
    *,
    device: torch.device | str = "cpu",
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """`loss` in nats a learned token, `perplexity`, `token_accuracy` (how often a learned token is the likeliest), the
    same by the assistant's turn, and the learned `tokens`. A collective where there are ranks. examples: this rank's.
    """
    sums = torch.zeros(3, LAST_TURN + 1, dtype=torch.float64, device=device)  # losses, hits, tokens
    for batch in examples:
        on_device = batch.to(device)
        found, _ = model(
            on_device.tokens,
            on_device.positions,
            on_device.document_ids,
            document_starts=on_device.document_starts,
            targets_BS=on_device.targets,
            criterion=token_scores(on_device.targets),
        )
        scores = TokenScores(*found)
        assert on_device.turns is not None
        turns_N = on_device.turns.flatten()[scores.places_N].clamp(max=LAST_TURN)
        for row, values in zip(sums, (scores.losses_N, scores.likeliest_N, torch.ones_like(turns_N)), strict=True):
            row.index_add_(0, turns_N, values.double())
    flat = sums.flatten().tolist()
    whole = torch.tensor(flat if ranks is None else ranks.sum_all(flat)).view_as(sums)
    losses, hits, tokens = whole.tolist()
    turns = {
        str(turn): _figures(losses[turn], hits[turn], tokens[turn]) for turn in range(LAST_TURN + 1) if tokens[turn]
    }
    return {**_figures(sum(losses), sum(hits), sum(tokens)), "turns": turns}


def _figures(loss_sum: float, hits: float, tokens: float) -> dict[str, Any]:
    if not tokens:
        return {"loss": None, "perplexity": None, "token_accuracy": None, "tokens": 0}
    loss = loss_sum / tokens
    known = math.exp(loss) if loss < 700 else math.inf
    return {"loss": loss, "perplexity": known, "token_accuracy": hits / tokens, "tokens": round(tokens)}


def examples_table(measured: dict[str, Any]) -> str:
    """What was measured on examples, for reading."""
    lines = [
        f"model         {measured['model']}",
        f"data          {measured['data']}, split {measured['split']}: {measured['kind']}",
        "",
        "turn  tokens  loss    perplexity  token accuracy",
    ]
    for name, row in [*measured["turns"].items(), ("all", measured)]:
        figures = f"{row['loss']:.4f}  {row['perplexity']:>10,.2f}  {row['token_accuracy']:>14.1%}"
        lines.append(f"{name:4}  {row['tokens']:>6,}  {figures}")
    left_out = {reason: count for reason, count in measured["left_out"].items() if count}
    lines += [f"{count:,} examples {reason}" for reason, count in left_out.items()]
    return "\n".join(lines)
