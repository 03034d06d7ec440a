"""Sums of small numbers in French as prompts, and a toy to learn: completions of even tokens."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tune.examples import write_folder

TOYS = '''
def even(completion_ids, **_):
    """The share of even tokens."""
    return [sum(token % 2 == 0 for token in ids) / len(ids) for ids in completion_ids]
'''
TOY = [
    "objective.name=grpo",
    "objective.group_size=4",
    "objective.max_new_tokens=12",
    "objective.rewards=[{name: function, function: 'toys:even'}]",
    "data.sequence_length=64",
    "train.global_batch_size=4",
    "schedule={name: constant, warmup_steps: 0}",
    "optimizer.lr=1e-2",
    "checkpoint.every=2",
]
"""Overrides of the test recipe, run where `toys` is."""


def write_prompts(folder: Path, tokenizer: Path) -> Path:
    """36 prompts with their answers, and beside the folder the module `toys`. Returns the folder."""
    pairs = [(one, other) for one in range(6) for other in range(6)]
    write_folder(
        folder,
        tokenizer,
        [((f"Combien font {one} + {other} ?", ""),) for one, other in pairs],
        kind="prompts",
        columns={"answer": pa.string()},
        values=[{"answer": str(one + other)} for one, other in pairs],
    )
    (folder.parent / "toys.py").write_text(TOYS)
    return folder
