"""What a rank holds of parameters, gradients, masters and moments, as our engine runs DeepSpeed.

Not the textbook's (Rajbhandari et al., 2020, section 3): DeepSpeed 0.19.8 holds more in places, which was measured
tensor by tensor (tests/plan/test_states.py) and is said at each case. Knows no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from clapas.plan.setup import BYTES, Setup
from clapas.plan.shape import Parameter, Shape

BUCKET = 250_000_000
"""Elements reduced or gathered at once: `clapas.engine.deepspeed_config.BUCKET`."""
LIVE = 1_000_000_000
"""Elements that ZeRO-3 holds gathered at once: `clapas.engine.deepspeed_config.LIVE`."""
DENSE_BUCKET = 500_000_000
"""Elements that DeepSpeed reduces at once where ZeRO does not: its default."""

BYTES_IN_4_BITS = 0.516
"""Of a number in 4 bits: with a scale in 8 bits for each 64, and one in fp32 for each 256 of these (`model.nf4`)."""


@dataclass(frozen=True)
class States:
    """Bytes of one rank, the fullest.

    gradients: held while another micro-batch computes. at_step: held when the optimizer steps, gradients included.
    buckets: what collectives work in. gathered: of ZeRO-3's parameters, whole. on_host: in the node's memory.
    """

    parameters: float
    gradients: float
    at_step: float
    master: float
    moments: float
    buckets: float
    gathered: float
    on_host: float


def states_of(shape: Shape, setup: Setup) -> States:
    """The states of the fullest rank."""
    parameters = [Parameter(elements // setup.pipeline, group) for elements, group in shape.parameters(setup.tensor)]
    trained = [Parameter(size // setup.pipeline, group) for size, group in shape.trained(setup.tensor)]
    every = parameters if shape.adapters is None else [*parameters, *trained]
    whole, elements = (sum(parameter.elements for parameter in some) for some in (every, trained))
    share = _share(trained, setup)
    width = setup.width
    held = float(whole if setup.zero_stage < 3 else _share(every, setup))
    if shape.adapters is not None and shape.adapters.in_4_bits:  # never at ZeRO-3
        held -= shape.num_hidden_layers * shape.adapters.adapted * (1 - BYTES_IN_4_BITS / width)
    gradients, at_step = _gradients(trained, setup)
    if setup.zero_stage == 0:
        master = 0 if setup.precision == "fp32" else 4 * elements
        moments = 4 * setup.moments * elements
    else:
        master, moments = 4 * share, 4 * setup.moments * share
    on_host = 0.0
    if setup.offload:
        partition = 4.0 * share  # the gradients of its masters go there too
        on_host, master, moments = master + moments + partition, 0, 0
        gradients, at_step = max(0.0, gradients - partition), max(0.0, at_step - 2 * partition)
    parameter_bytes = width * held + (width * whole / setup.hpz if setup.hpz > 1 else 0)
    if setup.offload_parameters:
        on_host, parameter_bytes = on_host + parameter_bytes, 0
    return States(
        parameters=parameter_bytes,
        gradients=gradients,
        at_step=at_step,
        master=master,
        moments=moments,
        buckets=_buckets(elements, setup),
        gathered=width * min(whole, LIVE) if setup.zero_stage == 3 and setup.peers > 1 else 0,
        on_host=on_host,
    )


def _share(parameters: list[Parameter], setup: Setup) -> int:
    """Elements of the masters of one rank: ZeRO-3 cuts each parameter, ZeRO-1 and 2 each group of the optimizer."""
    peers = setup.peers
    if setup.zero_stage == 0:
        return sum(parameter.elements for parameter in parameters)
    if setup.zero_stage == 3:
        return sum(-(-parameter.elements // peers) for parameter in parameters)
    return sum(_group_shares(parameters, peers))


def _group_shares(parameters: list[Parameter], peers: int) -> list[int]:
    """Elements of one rank's partition of each group."""
    sums: dict[str, int] = {}
    for parameter in parameters:
        sums[parameter.group] = sums.get(parameter.group, 0) + parameter.elements
    return [-(-total // peers) for total in sums.values()]


def _gradients(parameters: list[Parameter], setup: Setup) -> tuple[float, float]:
    """Bytes of gradients (while another micro-batch computes, when the optimizer steps)."""
    elements = sum(parameter.elements for parameter in parameters)
    share, stage = 4.0 * _share(parameters, setup), setup.zero_stage
    if stage == 0:
        if setup.precision == "fp32":
            return 4.0 * elements, 4.0 * elements
        return 2.0 * elements, 6.0 * elements  # the masters' fp32 gradients beside those of 16 bits
    if stage == 3:
        return share, 2 * share  # flat copies of the sub-groups, for the step
    if setup.precision == "bf16" and stage == 1:
        return 6.0 * elements, 6.0 * elements  # BF16_Optimizer sums whole fp32 gradients, and those of 16 bits stay
    if setup.precision != "fp32":
        whole = stage == 1 and setup.accumulation > 1
        return (4.0 * elements if whole else share), share
    touched = 4.0 * _touched(parameters, setup.peers)
    while_computing = 4.0 * elements if stage == 1 and setup.accumulation > 1 else touched
    return while_computing, touched


def _touched(parameters: list[Parameter], peers: int) -> int:
    """Most elements of whole parameters of which a rank's partition holds some: in fp32 DeepSpeed keeps these."""
    counts = [0] * (peers + 1)  # differences along the ranks
    for group in {parameter.group for parameter in parameters}:
        sizes = [parameter.elements for parameter in parameters if parameter.group == group]
        partition = -(-sum(sizes) // peers)
        for end, size in zip(accumulate(sizes), sizes, strict=True):
            counts[(end - size) // partition] += size
            counts[min(peers - 1, (end - 1) // partition) + 1] -= size
    return max(list(accumulate(counts))[:peers])


def _buckets(elements: int, setup: Setup) -> float:
    """Bytes in which gradients wait for their reduction, and are reduced."""
    if setup.peers == 1 and setup.zero_stage < 3:
        return 0.0
    reduce_width = BYTES[setup.reduce_precision]
    if setup.zero_stage == 0 or (setup.zero_stage == 1 and setup.precision == "bf16"):
        return reduce_width * min(elements, DENSE_BUCKET)
    bucket = min(elements, BUCKET)
    if setup.zero_stage == 3:
        return reduce_width * bucket
    waiting = (2 if elements > BUCKET else 1) * setup.width * bucket  # two by turns, on a GPU's second stream
    return waiting + (reduce_width * bucket if reduce_width != setup.width else 0)
