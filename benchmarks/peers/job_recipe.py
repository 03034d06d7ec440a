"""A job as a recipe of Clapas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from job import Job

from clapas.recipe.recipe import Recipe

LR, BETAS, WEIGHT_DECAY, CLIPPING = 1e-3, (0.9, 0.95), 0.1, 1.0
WITHOUT_END = 1_000_000  # steps: a side is ended from outside


def recipe_of(job: Job) -> Recipe:
    """What a user would write for this job: all the rest is as it comes."""
    shape = job.shape
    values: dict[str, Any] = {
        "name": "benchmark",
        "run_dir": f"{job.scratch}/run",
        "model": {
            "hidden_size": shape.hidden_size,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "intermediate_size": shape.intermediate_size,
            "vocab_size": shape.vocab_size,
            "max_position_embeddings": job.sequence_length,
            "tie_word_embeddings": True,
        },
        "data": {"path": str(Path(job.tokens).parent), "sequence_length": job.sequence_length},
        "optimizer": {"lr": LR, "betas": BETAS, "weight_decay": WEIGHT_DECAY, "gradient_clipping": CLIPPING},
        "schedule": {"name": "constant"},
        "train": {"steps": WITHOUT_END, "global_batch_size": job.batch, "threads": job.threads},
        "parallel": {"zero_stage": job.zero_stage},
        "precision": job.precision,
        "checkpoint": {"every": WITHOUT_END},
    }
    if job.compile:
        values["compute"] = {"compile": True}
    return Recipe.model_validate(values)
