"""The memory of a rank by component, at the fuller of two moments: a micro-batch's backward, and the step."""

from __future__ import annotations

from dataclasses import dataclass

from clapas.plan.activations import activations_of
from clapas.plan.hardware import Device
from clapas.plan.setup import Setup
from clapas.plan.shape import Shape
from clapas.plan.states import states_of

RESERVED = 1.5e9
"""Bytes that driver, libraries and NCCL's channels take of an accelerator: 0.5 to 2 GB seen on A100 and H100."""
SLACK = 0.06
"""Of what is allocated: blocks that the allocator holds and cannot give out again (with expandable segments)."""
USABLE = 0.95
"""Of a device's memory: fuller, PyTorch's allocator frees and asks again within steps, which makes them slow."""


@dataclass(frozen=True)
class Memory:
    """Bytes of the fullest rank. components: at the fullest moment. on_host: of its share of the node's memory."""

    components: dict[str, float]
    on_host: float
    available: float

    @property
    def total(self) -> float:
        """All components."""
        return sum(self.components.values())

    @property
    def fits(self) -> bool:
        """Whether the device has room for them."""
        return self.total <= USABLE * self.available

    @property
    def share(self) -> float:
        """Of the device's memory."""
        return self.total / self.available


def memory_of(shape: Shape, setup: Setup, device: Device) -> Memory:
    """What the fullest rank of a setup holds on a device."""
    on_cpu, available = device.name == "CPU", device.memory_gb * 1e9
    states = states_of(shape, setup)
    held = activations_of(shape, setup, available, on_cpu)
    constant = {"parameters": states.parameters, "master": states.master, "moments": states.moments}
    backward = {
        "gradients": states.gradients,
        "buckets": states.buckets,
        "gathered": states.gathered,
        "activations": held.layers - held.attention,
        "attention": held.attention,
        # logits and the head's gradient are gone when the last layers' gradients are made
        "loss": max(held.loss, held.working) - held.working if held.loss < held.working else held.loss,
        "working": held.working if held.loss < held.working else 0.0,
    }
    at_step = {"gradients": states.at_step, "buckets": states.buckets if setup.zero_stage == 3 else 0.0}
    moment = backward if sum(backward.values()) >= sum(at_step.values()) else at_step
    components = {**constant, **moment}
    components["slack"] = SLACK * sum(components.values()) + (0 if on_cpu else RESERVED)
    return Memory({name: size for name, size in components.items() if size}, states.on_host, available)
