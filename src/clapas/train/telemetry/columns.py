"""The columns of metrics.jsonl, each with its unit: the table of docs/telemetry.md is made of this one.

python -m clapas.train.telemetry.columns prints it.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import Any, NamedTuple


class Column(NamedTuple):
    """key: may end in `*`, which stands for a part of the model, of the step, or a source."""

    key: str
    unit: str
    meaning: str


COLUMNS = (
    Column("step", "steps", "optimizer step, from 1"),
    Column("segment", "", "which start of the command wrote the row, from 1"),
    Column(
        "loss", "nats a token", "cross-entropy, mean over the step's target tokens; of a preference run its own, a pair"
    ),
    Column("loss/*", "nats a token", "the same by source of several, over the steps since the row before"),
    Column("reward", "", "of GRPO: the weighted sum of the rewards, mean over the step's completions"),
    Column("reward_std", "", "of GRPO: its standard deviation over the step"),
    Column("rewards/*", "", "of GRPO: each reward before its weight, mean over the step's completions"),
    Column("reward_all_equal", "share", "of GRPO's completions: those of groups whose rewards are all equal"),
    Column("completion_length", "tokens", "of GRPO: mean, the token that ends it included"),
    Column("truncated", "share", "of GRPO's completions: those cut at `objective.max_new_tokens`"),
    Column("entropy", "nats", "of GRPO: of the distribution of a completion's next token, mean over tokens"),
    Column("kl", "nats", "of GRPO with `objective.beta`: estimated divergence from the reference, mean over tokens"),
    Column("clip_ratio", "share", "of GRPO's tokens: those whose probability ratio was clipped"),
    Column("sampling_difference", "nats", "of GRPO: |log p in training - log p when sampled|, mean over tokens"),
    Column("grad_norm", "", "global L2 norm of the gradient before clipping; null where fp16 overflowed"),
    Column("grad_norm/*", "", "the same by part of the model; a tied head is part of the embedding"),
    Column("weight_norm/*", "", "L2 norm of the fp32 weights by part, every `telemetry.norms_every` steps"),
    Column("activation_rms/*", "", "root mean square of a part's outputs, every `telemetry.norms_every` steps"),
    Column("learning_rate", "", "of the parameters whose rate is not scaled"),
    Column("learning_rate/*", "", "of the parameters whose rate is scaled: `muon`, or `scaled` by muP"),
    Column("tokens", "tokens", "read by the run until this step"),
    Column(
        "tokens_per_second", "tokens/s", "over the steps since the row before, all ranks; of whole examples, no padding"
    ),
    Column("tokens_per_second_per_gpu", "tokens/s", "the same a rank: a GPU, or a process on CPUs"),
    Column("mfu", "share", "model FLOPs utilisation: what the model needs, of the peak"),
    Column("hfu", "share", "hardware FLOPs utilisation: recomputed activations count too"),
    Column("step_seconds", "s", "wall time of a step, mean since the row before"),
    Column("time/*", "s", "of a step's time, or beside it, by part; see below"),
    Column("slowest_rank", "rank", "the rank that computed longest since the row before (several ranks)"),
    Column("slowest_rank_excess", "share", "by how much longer than the median rank"),
    Column("memory_peak_bytes", "bytes", "most ever held by the fullest rank: in GPU tensors, or resident on a CPU"),
    Column("memory_reserved_bytes", "bytes", "held now by the fullest rank: by torch on a GPU, or resident on a CPU"),
    Column("loss_scale", "", "of fp16: what the loss is multiplied by before the backward"),
    Column("skipped_steps", "steps", "of this segment, without an update: fp16 overflowed, or a spike"),
    Column("energy_joules", "J", "of this segment until now, all ranks; the boundary is in the ledger"),
    Column("joules_per_token", "J/token", "since the row before"),
    Column("split", "", "a validation row: the split that was scored"),
    Column("bits_per_byte", "bits/byte", "of a validation row"),
    Column("rewards/chosen", "nats", "preference: beta times the preferred answers' log-ratio to the reference"),
    Column("rewards/rejected", "nats", "the same of the other answers"),
    Column("accuracy", "share", "of a validation row of sft: tokens of answers that were the likeliest"),
    Column("accuracy/*", "share", "the same by the assistant's turn: `turn1` to `turn4`, `turn5_on`"),
    Column("rewards/accuracies", "share", "of pairs whose preferred answer has the larger reward"),
    Column("rewards/margins", "nats", "the first less the second"),
    Column("logps/*", "nats", "log-probability of the chosen and rejected answers (orpo: mean over their tokens)"),
    Column("kl", "nats", "kto: how far the policy is from the reference, on mismatched answers"),
    Column("nll_loss", "nats a token", "orpo: cross-entropy of the chosen documents"),
    Column("log_odds_*", "nats", "orpo: log odds of chosen over rejected (`chosen`), and its log sigmoid (`ratio`)"),
)
"""In the order of a row."""


def column_of(key: str) -> Column | None:
    """The column that a row's key is of, or None for an unknown one."""
    return next((column for column in COLUMNS if fnmatchcase(key, column.key)), None)


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """A row's finite numbers, for a sink that plots them; a validation row's under `SPLIT/`."""
    prefix = f"{row['split']}/" if "split" in row else ""
    return {
        f"{prefix}{key}": value
        for key, value in row.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def columns_table() -> str:
    """The columns as a Markdown table."""
    lines = [f"| `{column.key}` | {column.unit} | {column.meaning} |\n" for column in COLUMNS]
    return "| key | unit | meaning |\n|---|---|---|\n" + "".join(lines)


if __name__ == "__main__":
    print(columns_table(), end="")
