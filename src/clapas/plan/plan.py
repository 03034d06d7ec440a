"""`clapas plan`: what a recipe needs on a site, what it will do there, and in which layouts. No GPU, no torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from clapas.ledger.ledger import read_ledger
from clapas.plan.as_written import as_written
from clapas.plan.cost import Saving, cost_of, states_on_disk
from clapas.plan.hardware import Device, device_named
from clapas.plan.overrides import overrides_of
from clapas.plan.search import Candidate, Needs, candidate, needs_of, search, smallest_that_fits
from clapas.plan.setup import Setup, setup_of
from clapas.plan.shape import Shape, shape_of
from clapas.plan.site import Partition, Site, read_site
from clapas.plan.speed import CHECKED_DEVICES
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe


class NoLayoutError(UserError):
    """A recipe fits in no layout, or its batch cannot be shared in any."""


SHOWN = 5
"""Layouts proposed."""
FORWARD = 1 / 3
"""Of a step: its forward pass."""


def plan(
    recipe: Recipe, site: str, nodes: int, *, partition: str | None = None, calibrate: Path | None = None
) -> dict[str, Any]:
    """The plan of a recipe on so many nodes of a site, ready for JSON.

    calibrate: a run whose measured speed, against what was foretold for it, corrects the plan's.
    Raises UserError on an unknown site or device, on a precision that the device does not have, on what fits nowhere.
    """
    if nodes < 1:
        raise UserError("no nodes to plan for", where="--nodes", found=nodes, wanted="1 or more")
    where = read_site(site)
    part = where.partition(partition)
    part_name = next(name for name, one in where.partitions.items() if one is part)
    device = device_named(part.device, where=f"{site}: device")
    check_precision(recipe, device)
    ranks, node_gbit = nodes * part.gpus_per_node, part.network_gbit_per_node or device.node_gbit_per_second
    shape = shape_of(recipe)
    own, needs = setup_of(recipe, ranks, part.gpus_per_node), needs_of(recipe)
    factor, measured = _calibration(calibrate, device)
    context = _Context(recipe, where, part, device, shape, factor)
    written = as_written(recipe, own, shape, device, node_gbit, part.memory_gb_per_node)
    found = search(shape, own, needs, device, node_gbit)
    fitting = [one for one in found if one.problem is None]
    if not fitting and written.problem is None:
        fitting = [written]
    if not fitting:
        raise _fits_nowhere(context, own, needs, found, nodes)
    return {
        "recipe": recipe.name,
        "parameters": shape.size,
        "trained_parameters": shape.trained_size,
        "tokens": recipe.phases.tokens_after(recipe.total_steps),
        "site": where.name,
        "partition": part_name,
        "device": device.name,
        "nodes": nodes,
        "gpus": ranks,
        "precision": recipe.precision,
        "grid_gco2e_per_kwh": where.energy.grid_gco2e_per_kwh,
        "pue": where.energy.pue,
        "unverified": [key for key in where.unverified() if key in (f"partitions.{part_name}", "energy")],
        "is_checked_device": device.name in CHECKED_DEVICES,
        "calibrated": measured,
        "as_written": {"problem": written.problem, **(context.own_facts(written) if written.memory else {})},
        "layouts": [context.own_facts(one) if one is written else context.facts(one) for one in fitting[:SHOWN]],
        "others": [context.other(one, fitting[0]) for one in [*fitting[SHOWN:], *(o for o in found if o.problem)]],
    }


def check_precision(recipe: Recipe, device: Device) -> None:
    """Raises UserError where the device does not compute in the recipe's precision."""
    if device.peak_flops(recipe.precision) is None:
        raise UserError(
            f"{device.name} has no {recipe.precision}",
            where=recipe.place("precision"),
            found=f"precision: {recipe.precision}",
            wanted="fp16, which scales its loss, or fp32; or nodes of another kind (--partition)",
            way_out="precision=fp16",
        )


class _Context:
    """What all layouts of a plan share."""

    def __init__(
        self, recipe: Recipe, site: Site, partition: Partition, device: Device, shape: Shape, factor: float
    ) -> None:
        self.recipe, self.site, self.partition, self.device = recipe, site, partition, device
        self.shape, self.factor = shape, factor

    def facts(self, one: Candidate) -> dict[str, Any]:
        """A layout as the plan shows it."""
        assert one.memory is not None
        assert one.time is not None
        objective = self.recipe.objective
        seconds = one.time.total / self.factor * (1 + objective.forward_beside * FORWARD)
        setup, steps = one.setup, self.recipe.total_steps
        rate = setup.tokens_per_step / seconds / setup.ranks
        peak = self.device.peak_flops(setup.precision)
        assert peak is not None
        checkpoint = self.recipe.checkpoint
        saving = Saving(checkpoint.every, states_on_disk(checkpoint, steps), checkpoint.asynchronous)
        # stages may have shorter sequences: the whole run as if all its tokens were read at the longest's speed
        total_steps = max(1, round(self.recipe.phases.tokens_after(steps) / setup.tokens_per_step))
        before = objective.forward_before * FORWARD / (1 + objective.forward_beside * FORWARD)
        total_steps += round(before * total_steps)  # as if each document were read once: an epoch has no less
        cost = cost_of(self.shape, setup, self.device, self.site.energy, seconds, total_steps, saving)
        return {
            "overrides": overrides_of(setup, self.recipe),
            "tokens_per_second_per_gpu": rate,
            "mfu": rate * self.shape.flops_per_token(setup.sequence_length) / peak,
            "step_seconds": seconds,
            "forward_passes": [objective.forward_before, objective.forward_beside],
            "step_parts": {name: value / self.factor for name, value in asdict(one.time).items()},
            "memory_bytes": one.memory.total,
            "memory_available_bytes": one.memory.available,
            "memory_components": one.memory.components,
            "host_bytes": one.memory.on_host,
            **asdict(cost),
        }

    def own_facts(self, written: Candidate) -> dict[str, Any]:
        """Those of the recipe as written, whose stages may have micro-batches that no one override says."""
        facts, own = self.facts(written), written.setup
        setups = [setup_of(self.recipe, own.ranks, own.ranks_per_node, phase=phase) for phase in self.recipe.phases]
        if len({setup.micro_batch for setup in setups}) > 1:
            facts["overrides"] = [one for one in facts["overrides"] if "micro_batch_size" not in one]
        return facts

    def other(self, one: Candidate, best: Candidate) -> dict[str, Any]:
        """A layout that is not shown, with the reason."""
        slower, problem = None, one.problem
        if problem is None:
            slower = 1 - one.tokens_per_second_per_gpu / best.tokens_per_second_per_gpu
            problem = f"fits, and is {slower:.0%} slower than the first"
        return {"overrides": overrides_of(one.setup, self.recipe), "problem": problem, "slower": slower}


def _fits_nowhere(context: _Context, own: Setup, needs: Needs, found: list[Candidate], nodes: int) -> NoLayoutError:
    """What to tell where no layout does: that the ranks cannot share a batch, or what the thriftiest lacks."""
    recipe, device, count = context.recipe, context.device, f"{nodes} node{'s' * (nodes > 1)}"
    judged = [one for one in found if one.memory]
    if not judged:
        ranks = own.ranks
        uneven = [batch for batch in needs.batches if batch % ranks]
        is_trains = uneven[:1] == [recipe.train.global_batch_size]
        larger = f"train.global_batch_size={-(-uneven[0] // ranks) * ranks}, or " if is_trains else ""
        return NoLayoutError(
            f"{recipe.name} cannot be shared by {ranks} ranks",
            where=recipe.place("train.global_batch_size"),
            found=found[0].problem,
            wanted=f"a multiple of {ranks} samples in a step, or fewer ranks",
            way_out=f"{larger}fewer --nodes",
        )
    least = min(judged, key=lambda one: one.memory.share if one.memory else 0.0)
    return NoLayoutError(
        f"{recipe.name} fits nowhere on {count} of {context.site.name} ({device.name})",
        where=recipe.place("model"),
        found=f"the thriftiest layout, {' '.join(overrides_of(least.setup, recipe))}, {least.problem}",
        wanted=f"the smallest layout that would: {smallest_that_fits(context.shape, own, needs, device)}",
        way_out="more --nodes, a smaller model, or parallel.offload=cpu",
    )


def _calibration(run: Path | None, device: Device) -> tuple[float, dict[str, Any] | None]:
    """(measured over foretold speed, what the run's ledger says of it)."""
    if run is None:
        return 1.0, None
    events = [event for event in read_ledger(run) if event["event"] == "plan"]
    if not events:
        raise UserError(
            "the run says nothing of its plan",
            where=run,
            wanted="a `plan` line in its ledger, which `clapas train` writes at the end of a segment",
            way_out="train it to its end, for 20 steps at the least",
        )
    event = events[-1]
    if event["device"] != device.name:
        raise UserError(
            "a run calibrates plans for its own device only",
            where=run,
            found=f"measured on {event['device']}, planned for {device.name}",
            wanted=f"a run on {device.name}",
        )
    keys = ("device", "tokens_per_second_per_gpu", "foretold_tokens_per_second_per_gpu")
    ratio = event["tokens_per_second_per_gpu"] / event["foretold_tokens_per_second_per_gpu"]
    return ratio, {"run": str(run), "factor": ratio, **{key: event[key] for key in keys}}


def foretell(recipe: Recipe, ranks: int, ranks_per_node: int, device: Device) -> dict[str, float]:
    """Of a recipe as written, on so many ranks: tokens a second of one, MFU, bytes of the fullest."""
    setup, shape = setup_of(recipe, ranks, ranks_per_node), shape_of(recipe)
    one = candidate(shape, setup, device, device.node_gbit_per_second)
    peak = device.peak_flops(recipe.precision)
    assert one.memory is not None
    assert peak is not None
    rate = one.tokens_per_second_per_gpu
    return {
        "foretold_tokens_per_second_per_gpu": rate,
        "foretold_mfu": rate * shape.flops_per_token(setup.sequence_length) / peak,
        "foretold_memory_bytes": one.memory.total,
    }
