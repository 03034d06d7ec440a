"""How long a step takes: products, attention, what only moves memory, and collectives, some of them hidden.

Each part is counted (operations, bytes) and divided by what the hardware sheet says. What the sheet cannot say, how
much of it training code reaches, is a handful of constants, fitted to published runs (`clapas.plan.published`): no
constant is of one device, one model or one source. Knows no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from clapas.plan.hardware import Device
from clapas.plan.setup import BYTES, Setup
from clapas.plan.shape import Shape


@dataclass(frozen=True)
class Constants:
    """What training code reaches of what hardware can.

    products: of the best matrix product's rate. attention: the same, of fused attention.
    traffic: memory traffic of fused code over the least there is. eager: of code that is not fused, over that of fused.
    links: of a link's rate. overlap: the share of communication, where it is shorter, that is hidden behind computing.
    tensor: the rate of products on a tensor-parallel rank, for each doubling of tensor ranks.
    """

    products: float
    attention: float
    traffic: float
    eager: float
    links: float
    overlap: float
    tensor: float


CONSTANTS = Constants(
    products=0.865, attention=0.3375, traffic=1.69, eager=2.68, links=0.824, overlap=0.477, tensor=0.939
)
"""As `python -m clapas.plan.published --fit` finds them."""
LAUNCH_SECONDS = 0.5e-3
"""In which a host hands a layer's forward and backward to an accelerator: about 75 operations at 5 to 10 microseconds
in PyTorch without a compiler. Assumed, not fitted: only small models and micro-batches are so short."""
CHECKED_DEVICES = frozenset({"H100", "H200", "A100 80GB", "A100 40GB"})
"""Devices of the published runs: speeds on others rest on the hardware sheet alone."""


@dataclass(frozen=True)
class Style:
    """How code computes: ours by default; in others' runs as published.

    recompute: share of the layers' forward made again; None: as checkpointing says. shard: ranks over which
    parameters are cut at ZeRO-3, 0: all peers. unfused_attention: scores go through memory.
    """

    fused: bool = True
    recompute: float | None = None
    shard: int = 0
    unfused_attention: bool = False


OURS = Style()


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimizer step. communication: all of it; exposed: what is not hidden behind computing.

    bubble: waiting of pipeline stages. launching: the accelerator waits for its host.
    """

    products: float
    attention: float
    memory: float
    optimizer: float
    communication: float
    exposed: float
    bubble: float = 0.0
    launching: float = 0.0

    @property
    def total(self) -> float:
        """The whole step."""
        computing = self.products + self.attention + self.memory + self.optimizer
        return computing + self.launching + self.exposed + self.bubble


def step_time(
    shape: Shape,
    setup: Setup,
    device: Device,
    node_gbit_per_second: float,
    style: Style = OURS,
    constants: Constants = CONSTANTS,
) -> StepTime:
    """One step of a setup on a device, with so fast a network between nodes. The device must have its precision."""
    peak = device.peak_flops(setup.precision)
    assert peak is not None, device.name
    rate = peak * device.achievable
    bandwidth = device.memory_gb_per_second * 1e9
    tokens = setup.tokens_per_micro_batch
    recompute = style.recompute
    if recompute is None:
        recompute = 1.0 if setup.checkpointing == "full" else 0.0
    moved_again = 1.0 if setup.checkpointing == "selective" else recompute
    layers = shape.num_hidden_layers / setup.pipeline
    micro_batches = setup.accumulation
    # a pipeline's last stage has the head, and the others wait for it: spread, as the largest part of it is
    head = shape.head_matrix / setup.pipeline
    passes, adapters = (3, 0) if shape.adapters is None else (2, shape.adapters.elements)  # frozen: no own gradient
    flops = layers * (2 * shape.layer_matrix / setup.tensor) * (passes + recompute) + 2 * passes * head
    flops += layers * 2 * adapters * (3 + recompute)
    doublings = (setup.tensor - 1).bit_length()
    products = tokens * flops / (rate * constants.products * constants.tensor**doublings)
    causal = 2 * shape.query_size / setup.tensor * setup.sequence_length * layers  # half of the scores are needed
    attention = tokens * causal * (3.5 + recompute) / (rate * constants.attention)
    memory = tokens * _traffic(shape, setup, style, layers, moved_again) * constants.traffic / bandwidth
    if not style.fused:
        memory *= constants.eager
    if style.unfused_attention:
        scores = shape.num_attention_heads / setup.tensor * setup.sequence_length * layers
        memory += tokens * scores * setup.width * (12 + 4 * recompute) / bandwidth
    host = 0.0 if device.name == "CPU" else layers * LAUNCH_SECONDS * (3 + recompute) / 3
    if shape.adapters is not None:  # ten operations more for each of a layer's seven projections
        host *= 1 + len(shape.adapters.projections) / 7
    launching = max(0.0, host - (products + attention + memory))
    compute = micro_batches * (products + attention + memory + launching)
    communication = _communication(shape, setup, device, node_gbit_per_second, style) / constants.links
    within = micro_batches * _tensor_communication(shape, setup, device, recompute) / constants.links
    hidden = constants.overlap * min(compute, communication)
    return StepTime(
        products=micro_batches * products,
        attention=micro_batches * attention,
        memory=micro_batches * memory,
        optimizer=_optimizer(shape, setup, bandwidth),
        communication=communication + within,
        exposed=communication - hidden + within,
        launching=micro_batches * launching,
        bubble=(compute + within) * (setup.pipeline - 1) / micro_batches,
    )


def _traffic(shape: Shape, setup: Setup, style: Style, layers: float, moved_again: float) -> float:
    """Least bytes of memory traffic of one token's forward and backward, beside matrix products.

    Norms, residual sums, rotary positions and the gated unit as `clapas_kernels` counts them, in bf16: 36 E + 8 (Q + K)
    + 18 F, a third of it forward; the loss 10 bytes for each logit.
    """
    scale = setup.width / 2
    wide = shape.active_width * (18 if shape.gated else 10) / setup.tensor
    turned = 8 * (shape.query_size + shape.key_size) / setup.tensor
    layer = scale * (36 * shape.hidden_size + turned + wide)
    if shape.adapters is not None:  # A reads x, B adds to the output; their gradients read both again, and add to dx
        sizes = shape.adapters.projections.values()
        layer += setup.width * sum(5 * inputs + 4 * outputs for outputs, inputs in sizes)
    return layers * layer * (1 + moved_again / 3) + scale * 10 * shape.vocab_size / setup.pipeline


def _optimizer(shape: Shape, setup: Setup, bandwidth: float) -> float:
    """Seconds of clipping and AdamW: gradients read twice, three fp32 numbers read and written, the weight written."""
    elements = shape.trained_size / (setup.tensor * setup.pipeline)
    owned = elements if setup.zero_stage == 0 else elements / setup.peers
    host = 5.0 if setup.offload else 1.0  # a host's memory, and the way there and back
    return host * owned * 34 / bandwidth


def _communication(shape: Shape, setup: Setup, device: Device, node_gbit_per_second: float, style: Style) -> float:
    """Seconds of a step's collectives over data-parallel ranks at the links' full rates."""
    trained = shape.trained_size / (setup.tensor * setup.pipeline)
    elements = shape.size / (setup.tensor * setup.pipeline) if setup.zero_stage == 3 else trained
    weights = elements * setup.width * (0.5 if setup.quantized_weights else 1)
    gradients = trained * (0.5 if setup.quantized_gradients else BYTES[setup.reduce_precision])
    peers, micro_batches = setup.peers, setup.accumulation

    def one(size: float, ranks: int) -> float:
        return collective(size, ranks, setup, device, node_gbit_per_second)

    if setup.zero_stage == 3:
        shard = style.shard or peers
        backward = setup.hpz if setup.hpz > 1 else shard
        seconds = micro_batches * (one(weights, shard) + one(weights, backward) + one(gradients, shard))
        if shard < peers:  # the shards' gradients are summed over the groups
            seconds += 2 * gradients / shard * setup.ranks_per_node / (node_gbit_per_second / 8 * 1e9)
        return seconds
    if setup.zero_stage == 0:
        return 2 * one(gradients, peers)
    reductions = micro_batches if setup.zero_stage == 2 else 1
    # DeepSpeed 1 in bf16 reduces to all, 2 to the owner
    per_reduction = 2 if setup.zero_stage == 1 and setup.precision == "bf16" else 1
    return reductions * per_reduction * one(gradients, peers) + one(weights, peers)


def collective(size: float, ranks: int, setup: Setup, device: Device, node_gbit_per_second: float) -> float:
    """Seconds in which every rank gets (or gives) `size` bytes, of which it has its share already.

    Within a node each rank takes them over its link; between nodes each node takes them once.
    """
    if ranks == 1:
        return 0.0
    # ranks of one tensor or sequence group are neighbours, so that those of a data group are spread
    local = max(1, min(ranks, setup.ranks_per_node // setup.tensor))
    seconds = size * (local - 1) / local / (device.link_gb_per_second * 1e9)
    if ranks > local:
        nodes = -(-ranks // local)
        groups = min(setup.tensor, setup.ranks_per_node)  # as many at the same time, over the same network
        seconds = max(seconds, groups * size * (nodes - 1) / nodes / (node_gbit_per_second / 8 * 1e9))
    return seconds


def _tensor_communication(shape: Shape, setup: Setup, device: Device, recompute: float) -> float:
    """Seconds of a micro-batch's collectives within its layers: nothing hides them.

    Tensor ranks sum the stream twice forward and twice backward; sequence ranks trade queries, keys, values and outputs
    for heads and back, in both passes.
    """
    link = device.link_gb_per_second * 1e9
    layers, tokens, width = shape.num_hidden_layers / setup.pipeline, setup.tokens_per_micro_batch, setup.width
    seconds = 0.0
    if setup.tensor > 1:
        sums = 4 + 2 * recompute
        seconds += sums * 2 * (setup.tensor - 1) / setup.tensor * tokens * shape.hidden_size * width / link
    if setup.sequence > 1:
        traded = (2 * shape.query_size + 2 * shape.key_size) * (setup.sequence - 1) / setup.sequence
        seconds += (2 + recompute) * traded / setup.tensor * tokens * width / link
    return layers * seconds
