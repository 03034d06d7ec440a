"""A small run of every kind of training, with and without adapters: what the tests of all of them share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from clapas.checkpoint.reader import open_checkpoint
from commands import python_ranks
from tune.examples import conversations, labelled, pairs, write_folder
from tune.grpo.toy import TOYS

EXAMPLES, SAMPLES = 24, 4
"""In a folder, and in a step: none is read twice in six steps."""
DATA = {"sft": "conversations", "distillation": "conversations", "grpo": "prompts", "kto": "labelled"}
"""Objective -> its folder, where that is not the one of pairs."""
OPTIONS = {
    "distillation": ["objective.teacher=teacher", "objective.alpha=0.5"],
    "grpo": [
        "data.sequence_length=64",
        "objective.group_size=2",
        "objective.max_new_tokens=8",
        "objective.rewards=[{name: function, function: 'toys:even'}]",
    ],
}
OBJECTIVES = ("sft", "dpo", "ipo", "kto", "orpo", "distillation", "grpo")
KINDS = [f"{objective}{lora}" for objective in OBJECTIVES for lora in ("", ", LoRA")]
OTHER = {"sft": "objective.neftune_alpha=5", "distillation": "objective.alpha=0.6", "grpo": "objective.group_size=4"}
"""Objective -> what would make another run of it, where that is not another beta."""

RUNS = """
import json, os, signal, sys
from pathlib import Path
from clapas.recipe.errors import ClapasError
from clapas.recipe.recipe import read_recipe
from clapas.train.callbacks.base import Callback
from clapas.train.train import train

class Stop(Callback):
    def __init__(self, after):
        self.after = after

    def on_step(self, run):
        if run.step == self.after and run.ranks.rank == run.ranks.size - 1:
            os.kill(os.getpid(), signal.SIGTERM)  # the scheduler tells one rank

sys.path.insert(0, os.getcwd())  # for `toys`
name, jobs = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
ended = []
for number, (settings, stop_after) in enumerate(jobs):
    os.environ["CLAPAS_RENDEZVOUS"] = f"file://{os.getcwd()}/meeting-{name}-{number}"
    try:
        ended.append(train(read_recipe("test", settings), [Stop(stop_after)]))
    except ClapasError as error:
        ended.append(str(error))
print("ENDED", json.dumps(ended))
"""
"""Several runs one after another in the same processes: starting them costs more than training."""


def write_folders(folder: Path, tokenizer: Path) -> None:
    """What every kind reads."""
    texts, labels = labelled(EXAMPLES)
    write_folder(folder / "pairs", tokenizer, pairs(EXAMPLES), kind="pairs")
    write_folder(folder / "conversations", tokenizer, conversations(EXAMPLES))
    columns = {"label": pa.bool_()}
    write_folder(folder / "labelled", tokenizer, texts, kind="labelled", columns=columns, values=labels)
    prompts = [((f"Combien font {number} + 1 ?", ""),) for number in range(EXAMPLES)]
    write_folder(folder / "prompts", tokenizer, prompts, kind="prompts")
    (folder / "toys.py").write_text(TOYS)


def settings(kind: str, run: str, *more: str) -> list[str]:
    """The overrides of the test recipe that make a run of a kind."""
    objective, _, adapters = kind.partition(", ")
    return [
        f"objective.name={objective}",
        *OPTIONS.get(objective, []),
        f"data.path={DATA.get(objective, 'pairs')}",
        "data.packing=none",
        "model={from: base}",
        f"run_dir={run}",
        *(["lora.rank=4"] if adapters else []),
        f"train.global_batch_size={SAMPLES}",
        "train.steps=4",
        "schedule={name: constant, warmup_steps: 0}",
        "optimizer.lr=3e-3",
        "checkpoint.every=100",
        "evaluation.every=100",
        *more,
    ]


def run_all(folder: Path, name: str, jobs: list[tuple[list[str], int]], ranks: int = 1) -> list[int | str]:
    """Train each (settings, the step after which it is asked to stop; 0 for none). Its exit code, or the refusal."""
    (folder / f"{name}.json").write_text(json.dumps(jobs))
    found = python_ranks(RUNS, [name, f"{name}.json"], ranks=ranks, meeting=folder / "meeting", timeout=900)
    assert [one.returncode for one in found] == [0] * ranks, found[0].stderr + found[-1].stderr
    return json.loads(found[0].stdout.split("ENDED")[1])


def learned(run: Path) -> list[dict[str, Any]]:
    """What each step learned: its row without what a clock or a meter says."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = ("step", "loss", "grad_norm", "reward", "kl", "divergence", "rewards/margins")
    return [{name: row[name] for name in names if name in row} for row in rows if "grad_norm" in row]


def weights(run: Path) -> dict[str, bytes]:
    """Every tensor of a run's newest checkpoint, to the bit."""
    reader = open_checkpoint(run)
    read = reader.weights("raw")
    return {name: read(name).numpy().tobytes() for name in reader.names()}


def events(run: Path) -> list[dict[str, Any]]:
    """The ledger."""
    return [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
