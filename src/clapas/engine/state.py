"""The engine's state as fragments, and back: what ties DeepSpeed's layouts to the checkpoint format.

Every rank contributes the pieces that it alone steps, so nothing is gathered and no rank holds more than its share.
Reading takes slices, so the ranks and the ZeRO stage may differ from those that wrote.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clapas.checkpoint.format import MASTER, Fragment, Snapshot
from clapas.checkpoint.reader import CheckpointReader
from clapas.engine.slots import Slot, aliases, prepare_to_read, refresh_parameters, slots
from clapas.engine.tensor_parallel import shard_of
from clapas.model.source import WeightSource
from clapas.recipe.errors import UserError

if TYPE_CHECKING:
    from clapas.engine.engine import Engine

COUNTERS = ("global_steps", "global_samples", "micro_steps", "skipped_steps")


def capture(engine: Engine) -> tuple[Snapshot, dict[str, Any]]:
    """This rank's part of the state, and DeepSpeed's counters. Call it between two steps, on every rank."""
    inner = engine.deepspeed
    assert inner.micro_steps % inner.gradient_accumulation_steps() == 0, "a step is under way"
    prepare_to_read(inner)
    saved = (_fragment(slot, engine) for slot in slots(inner) if engine.saves(slot.name))
    fragments = [fragment for fragment in saved if fragment is not None]
    counters = {name: int(getattr(inner, name)) for name in COUNTERS}
    training: dict[str, Any] = {"counters": counters}
    if engine.loss_scale:
        training["loss_scale"] = engine.loss_scale.state
    tied = {name: first for name, first in aliases(inner.module).items() if engine.saves(first)}
    return Snapshot(fragments, tied, random_states()), training


def _fragment(slot: Slot, engine: Engine) -> Fragment | None:
    """What this rank writes of a slot: all of it, or of what its peers hold too, its share."""
    ranks = engine.ranks
    if slot.on_all_tensor_ranks and ranks.place.tensor > 0:
        return None
    low, high = 0, slot.length
    if slot.replicated:
        low, high = (slot.length * (ranks.peer_rank + more) // ranks.peer_size for more in (0, 1))
    if low >= high:
        return None
    state = engine.base_optimizer.state.get(slot.owner, {})
    moments = {key: value for key, value in state.items() if torch.is_tensor(value) and value.shape == slot.owner.shape}
    scalars = {key: float(value) for key, value in state.items() if key not in moments}
    owners = {MASTER: slot.owner, **moments}
    at = slice(slot.start + low, slot.start + high)
    states = {key: tensor.detach().reshape(-1)[at] for key, tensor in owners.items()}
    return Fragment(slot.name, slot.shape, slot.offset + low, states, scalars, slot.part)


@torch.no_grad()
def restore(engine: Engine, reader: CheckpointReader) -> None:
    """Bring the engine to a checkpoint's state, bit for bit. Call it on every rank, before the first step.

    Raises UserError where the checkpoint's parameters are not the model's.
    """
    inner = engine.deepspeed
    _check_parameters(engine, reader)
    prepare_to_read(inner)
    for held in _by_owner(engine, engine.saves):
        _restore_owner(engine, reader, held)
    refresh_parameters(inner)
    for name, value in reader.manifest.training["counters"].items():
        setattr(inner, name, value)
    if engine.loss_scale:
        engine.loss_scale.restore(reader.manifest.training["loss_scale"])
    inner.micro_steps = inner.global_steps * inner.gradient_accumulation_steps()
    inner.global_steps_since_load = 0
    saved_rng = reader.rng(engine.ranks.rank, engine.ranks.size)
    if saved_rng is None:
        seed_random_states(reader.recipe["seed"], reader.step, engine.ranks.rank)
    else:
        set_random_states(saved_rng)


@torch.no_grad()
def load_weights(
    engine: Engine, source: WeightSource, own: Collection[str] = (), elsewhere: Collection[str] = ()
) -> None:
    """Give the model a source's weights, each rank its own slices. Call it on every rank, before the first step.

    own: parameters that the source does not have: they stay as they were built. elsewhere: those of the source that
    the model holds in another form than a parameter. The masters are the source's weights
    as stored; the optimizer's states are left alone. Raises UserError where the other parameters are not the source's.
    """
    inner = engine.deepspeed
    shapes = {name: shape for name, shape in _shapes(inner.module).items() if name not in own}
    stored = {name: source.shape(name) for name in source.names() if name not in elsewhere}
    check_shapes("the weights are", source.folder, stored, shapes)
    prepare_to_read(inner)
    for held in _by_owner(engine, lambda name: True):
        owner = held[0].owner.detach()
        places = [(slot, owner.view(-1)[slot.start : slot.start + slot.length]) for slot in held if slot.length]
        kept = [(place, place.clone()) for slot, place in places if slot.name in own]
        owner.zero_()  # padding, too
        for place, values in kept:
            place.copy_(values)
        for slot, place in places:
            if slot.name not in own:
                source.read_into(slot.name, slot.offset, place, slot.part)
    refresh_parameters(inner)


def _by_owner(engine: Engine, takes: Callable[[str], bool]) -> list[list[Slot]]:
    """The slots of each tensor that the optimizer owns, and of each frozen parameter. takes: of which names."""
    by_owner: dict[int, list[Slot]] = defaultdict(list)
    for slot in slots(engine.deepspeed):
        if takes(slot.name):
            by_owner[id(slot.owner)].append(slot)
    return list(by_owner.values())


def _shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Each parameter's full shape, however it is cut among the ranks."""
    shapes = {}
    for name, parameter in module.named_parameters():
        shard = shard_of(parameter, rank=0)
        shapes[name] = tuple(shard.shape) if shard else tuple(getattr(parameter, "ds_shape", parameter.shape))
    return shapes


def _check_parameters(engine: Engine, reader: CheckpointReader) -> None:
    """Names and shapes of what the model saves are those stored."""
    shapes = {name: shape for name, shape in _shapes(engine.deepspeed.module).items() if engine.saves(name)}
    stored = {name: tuple(record.shape) for name, record in reader.manifest.parameters.items()}
    check_shapes("the checkpoint is", reader.folder, stored, shapes)


def check_shapes(
    what: str, where: Path, found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Raises UserError for the first parameter, by name, that is on one side alone or of another shape there."""
    for name in sorted(wanted.keys() | found.keys()):
        if found.get(name) != wanted.get(name):
            raise UserError(
                f"{what} another model's: {name}",
                where=where,
                found=f"shape {found.get(name, 'not there')}",
                wanted=f"shape {wanted.get(name, 'not there')}",
            )


def _restore_owner(engine: Engine, reader: CheckpointReader, held: list[Slot]) -> None:
    """Fill one of the optimizer's tensors and its moments from the slots that lie in it; padding becomes zero.

    What was frozen when the checkpoint was written has no moments there: they begin at zero.
    """
    owner = held[0].owner
    held = [slot for slot in held if slot.length]
    state = engine.base_optimizer.state[owner]
    state.clear()
    owner.detach().zero_()
    trains = owner.requires_grad
    scalars: dict[str, float] = {}
    for slot in held:
        record = reader.manifest.parameters[slot.name]
        for key in record.states if trains else (MASTER,):
            if key != MASTER and key not in state:
                state[key] = torch.zeros_like(owner, requires_grad=False)
            tensor = owner.detach() if key == MASTER else state[key]
            out = tensor.view(-1)[slot.start : slot.start + slot.length]
            reader.read_into(slot.name, key, slot.offset, out, slot.part)
        scalars = scalars or record.scalars
    for key, value in scalars.items() if trains else ():  # torch's AdamW: a step count an owner; beside it if fused
        fused = any(group.get("fused") for group in engine.base_optimizer.param_groups)
        state[key] = torch.tensor(value, device=owner.device if fused else "cpu")
    if not state:
        engine.base_optimizer.state.pop(owner)


def random_states() -> dict[str, torch.Tensor]:
    """This process's generators (torch, CUDA, numpy, python) as tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    assert name == "MT19937"
    version, internal, gauss_next = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy.keys": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
        "numpy.rest": torch.tensor([position, has_gauss, gauss], dtype=torch.float64),
        "python.keys": torch.tensor([version, *internal], dtype=torch.int64),
        "python.gauss": torch.tensor([] if gauss_next is None else [gauss_next], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict[str, torch.Tensor]) -> None:
    """Put the generators back as `random_states` found them."""
    torch.set_rng_state(states["torch"])
    position, has_gauss, gauss = states["numpy.rest"].tolist()
    keys = states["numpy.keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), gauss))
    version, *internal = states["python.keys"].tolist()
    gauss_next = states["python.gauss"].tolist()
    random.setstate((version, tuple(internal), gauss_next[0] if gauss_next else None))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def seed_random_states(seed: int, step: int, rank: int) -> None:
    """Seed the generators of a rank for a start at `step`: the rule when the number of ranks has changed."""
    words = np.random.SeedSequence([seed, step, rank]).generate_state(2)
    torch.manual_seed(int(words[0]))
    np.random.seed(int(words[1]))
    random.seed(int(words[0]) << 32 | int(words[1]))
