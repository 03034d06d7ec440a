"""What a rank holds, against real DeepSpeed engines on real gloo ranks: tensor by tensor, to 2 %."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clapas.engine import deepspeed_config
from clapas.plan import states
from clapas.plan.setup import setup_of
from clapas.plan.shape import shape_of
from clapas.plan.states import states_of
from clapas.recipe.recipe import Recipe
from commands import python_ranks

MODEL = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 192,
    "vocab_size": 64,
    "max_position_embeddings": 64,
}
TOLERANCE = 0.02
RANKS = """
import gc, json, sys
import torch
import clapas.engine.deepspeed_config
from clapas.engine.engine import import_deepspeed
from clapas.engine.layout import layout_of
from clapas.engine.ranks import start_ranks, stop_ranks
from clapas.engine.slots import slots
from clapas.recipe.recipe import Recipe
from clapas.model.lora import add_adapters
from clapas.train.train import build_engine, initial_model

def build(recipe):
    model = initial_model(recipe)
    if recipe.lora is not None:
        add_adapters(model, recipe.lora, 0)
    return model

def live(engine=None):
    # every tensor's storage; a gradient has no Python object until somebody asks for it
    found = {}
    gradients = [] if engine is None else [p.grad for p in engine.deepspeed.module.parameters() if p.grad is not None]
    for thing in [*gradients, *gc.get_objects()]:
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = (storage.nbytes(), thing)
    return found

def held(engine, before):
    # gloo's threads let go of what they sent when they take up the next: one for each of them
    for _ in range(4):
        torch.distributed.barrier()
    gc.collect()
    return sum(size for place, (size, _) in live(engine).items() if place not in before)

def size(tensors):
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())

torch.set_num_threads(1)
ranks, cases, measured = start_ranks(), json.loads(sys.argv[1]), []
clapas.engine.deepspeed_config.BUCKET = int(sys.argv[2])
import_deepspeed()
gc.collect()
gc.freeze()  # a million objects of libraries, which need not be looked through each time
for case in cases:
    recipe = Recipe.model_validate(case)
    gc.collect()
    before = live()
    engine = build_engine(recipe, ranks.arranged(layout_of(recipe, ranks.size)), build=build)
    micro = recipe.train.micro_batch_size
    accumulation = recipe.train.global_batch_size // ranks.size // micro
    tokens = torch.randint(0, recipe.model.vocab_size, (micro, recipe.data.sequence_length))
    between, at_step = 0, []
    engine.base_optimizer.register_step_pre_hook(lambda *_: at_step.append(held(engine, before)))
    for step in range(2):
        engine.set_batch(recipe.train.global_batch_size, accumulation)
        for number in range(accumulation):
            loss, losses = engine(tokens, targets_BS=tokens)
            engine.backward(loss, 100.0)
            del loss, losses
            if step == 1 and number == 0:
                between = held(engine, before)
        if step == 1:
            at_step.clear()
        engine.step(1e-3)
    module = engine.deepspeed.module
    parameters = [getattr(p, "ds_tensor", p.data) for p in module.parameters()]
    own = {t.untyped_storage().data_ptr() for t in parameters}
    masters = [s.owner for s in slots(engine.deepspeed) if s.owner.untyped_storage().data_ptr() not in own]
    states = engine.base_optimizer.state.values()
    moments = [t for state in states for t in state.values() if torch.is_tensor(t) and t.numel() > 1]
    measured.append({
        "parameters": size(parameters), "master": size(masters), "moments": size(moments),
        "between": between, "at_step": max(at_step),
    })
    engine.deepspeed.destroy()
    del engine, module, states, parameters, masters, moments, before
torch.distributed.barrier()
print(json.dumps(measured))
stop_ranks()
"""


def with_adapters(ranks: int, precision: str, stage: int) -> dict[str, Any]:
    """The same with adapters, on a base of random weights."""
    return recipe(ranks, precision, stage) | {"lora": {"rank": 8, "dora": True}}


def recipe(ranks: int, precision: str, stage: int) -> dict[str, Any]:
    """Two micro-batches of two samples a rank and step; one where DeepSpeed cannot accumulate."""
    micro_batches = 1 if stage == 0 and precision != "fp32" else 2
    return {
        "name": "x",
        "model": MODEL,
        "data": {"path": "x", "sequence_length": 16},
        "train": {"steps": 2, "global_batch_size": 2 * micro_batches * ranks, "micro_batch_size": 2},
        "precision": precision,
        "parallel": {"zero_stage": stage},
    }


def check(
    ranks: int,
    cases: list[tuple[str, int]],
    folder: Path,
    bucket: int,
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[int, str, int], dict[str, Any]] = recipe,
) -> None:
    """Start the ranks once, measure every case, compare the fullest rank. made: a recipe of ranks and case."""
    recipes = [made(ranks, *case) for case in cases]
    ended = python_ranks(RANKS, [json.dumps(recipes), bucket], ranks=ranks, meeting=folder / "meeting")
    assert not any(process.returncode for process in ended), "\n".join(process.stderr[-3000:] for process in ended)
    monkeypatch.setattr(states, "BUCKET", bucket)
    of_ranks = [json.loads(process.stdout.splitlines()[-1]) for process in ended]
    for number, (precision, stage) in enumerate(cases):
        model = Recipe.model_validate(recipes[number])
        planned = states_of(shape_of(model), setup_of(model, ranks, ranks))
        constant = planned.parameters + planned.master + planned.moments
        # between two micro-batches a CPU's engine has nothing on its way, but keeps the buffer itself in places
        keeps_bucket = stage == 3 or (precision == "fp32" and stage == 1 and bucket < shape_of(model).trained_size)
        kept = 4 * min(bucket, shape_of(model).trained_size) if keeps_bucket else 0
        wanted = {
            "parameters": planned.parameters,
            "master": planned.master,
            "moments": planned.moments,
            "between": constant + planned.gradients + kept,
            "at_step": constant + planned.at_step + (kept if stage == 3 else 0),
        }
        measured = {name: max(found[number][name] for found in of_ranks) for name in wanted}
        assert measured == pytest.approx(wanted, rel=TOLERANCE), f"{precision}, ZeRO-{stage}, {ranks} ranks"


STAGES = [(precision, stage) for precision in ("fp32", "bf16") for stage in range(4)]


SMALL_BUCKET = 15_000
"""Elements: a bucket that is smaller than the model, as for every real one, and larger than its largest parameter."""


@pytest.mark.slow
def test_states_of_two_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZeRO-2 and 3 in bf16, which large models train with."""
    check(2, [("bf16", 2), ("bf16", 3)], tmp_path, SMALL_BUCKET, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "bucket"), [(1, SMALL_BUCKET), (2, SMALL_BUCKET), (4, SMALL_BUCKET), (2, states.BUCKET)]
)
def test_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: int, bucket: int) -> None:
    """Every stage in both precisions; also where the whole model fits a bucket."""
    check(ranks, STAGES, tmp_path, bucket, monkeypatch)


@pytest.mark.slow
def test_states_of_adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen base takes its own bytes and nothing else; at ZeRO-3 it is shared."""
    check(2, STAGES, tmp_path, SMALL_BUCKET, monkeypatch, with_adapters)


def test_constants_are_the_engines() -> None:
    """The planner knows no engine: what it assumes of it is compared here."""
    assert deepspeed_config.BUCKET == states.BUCKET
    assert deepspeed_config.LIVE == states.LIVE
