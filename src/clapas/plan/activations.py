"""What a rank holds between forward and backward, by what our decoder and its kernels save. Knows no torch.

Of one token in one layer, in numbers of the computing precision (E hidden, Q queries, K keys, F feed-forward; of Q, K
and F a tensor rank's part). No checkpointing: the layer's input, both norms' outputs and the sum between them (4 E),
queries, keys, values and the attention's output (2 Q + 2 K), gate and up (2 F; their product is made again).
Selective: the input and what matrix products and fused attention made. Full: the input. On a CPU, where tests measure
this (tests/plan/test_activations.py), the attention's output is held twice, norms keep a factor, and short attention in
fp32 keeps its scores; a GPU's kernels do none of that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from clapas.plan.setup import Setup
from clapas.plan.shape import Shape

SHORT_ATTENTION = 512
"""`clapas.model.operations.SHORT_ATTENTION`: up to there a CPU in fp32 holds attention's scores."""
ROWS_OF_LOSS = 4096
SHARE_OF_LOSS = 32
"""`clapas_kernels.linear_cross_entropy`: rows of logits held at a time on a GPU, or 1/32 of its memory in logits."""
LOGITS_ON_CPU, ROWS_ON_CPU = 2**22, 256
ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})


@dataclass(frozen=True)
class Activations:
    """Bytes of one rank at the fullest moment: the end of a micro-batch's forward, and its backward.

    layers: held of all layers. attention: of these, what belongs to attention. loss: gradients of hidden states and
    head, which the fused loss makes in the forward pass, and a chunk of logits. working: a layer made again, and the
    gradients within it.
    """

    layers: float
    attention: float
    loss: float
    working: float


def activations_of(shape: Shape, setup: Setup, memory_bytes: float, on_cpu: bool = False) -> Activations:
    """Of a rank of `setup` on a device with so much memory."""
    tokens = setup.tokens_per_micro_batch
    layers = shape.num_hidden_layers / setup.pipeline
    in_flight = min(setup.pipeline, setup.accumulation)
    per_layer = held_per_token(shape, setup, on_cpu)
    whole = held_per_token(shape, replace(setup, checkpointing="none", tile=None), on_cpu)
    attention = attention_per_token(shape, setup, on_cpu)
    edges = shape.hidden_size * setup.width + 8  # the last norm's input, the tokens
    return Activations(
        layers=tokens * in_flight * (layers * per_layer + edges),
        attention=tokens * in_flight * layers * attention,
        loss=loss_bytes(shape, setup, memory_bytes, on_cpu),
        working=tokens * (whole - per_layer + gradients_per_token(shape, setup)),
    )


def held_per_token(shape: Shape, setup: Setup, on_cpu: bool = False) -> float:
    """Bytes of one token in one layer, held until its backward."""
    width, hidden = setup.width, shape.hidden_size
    norms = 8 if on_cpu else 0
    if setup.checkpointing == "full":
        return width * hidden
    attention = attention_per_token(shape, setup, on_cpu)
    if setup.checkpointing == "selective":
        feed_forward = 0 if shape.experts else 2 * shape.intermediate_size // setup.tensor
        low = shape.adapters.rank * len(shape.adapters.projections) if shape.adapters else 0
        return width * (3 * hidden + feed_forward + low) + attention
    whole = width * 4 * hidden + attention + norms + _feed_forward(shape, setup)
    return whole + width * _held_by_adapters(shape, setup, on_cpu)


def _held_by_adapters(shape: Shape, setup: Setup, on_cpu: bool) -> int:
    """Numbers of one token in one layer that adapters hold beside the rest; fewer than none where few have one.

    A frozen projection does not hold its input: those of projections without an adapter go. What B reads stays, the
    input of an adapted down_proj (elsewhere it is made again; a CPU also keeps silu of the gate), and with DoRA each
    output before its scale. In tiles nothing of the feed-forward layer stays. Fused attention keeps its output itself.
    """
    adapters = shape.adapters
    if adapters is None:
        return 0
    inside = [name for name in adapters.projections if setup.tile is None or name in ATTENTION]
    held = adapters.rank * len(inside)
    held += sum(adapters.projections[name][0] for name in inside) if adapters.dora else 0
    held += (2 if on_cpu else 1) * shape.intermediate_size if "down_proj" in inside else 0
    held -= shape.query_size if on_cpu and "o_proj" not in inside else 0
    held -= 0 if {"q_proj", "k_proj", "v_proj"} & set(inside) else shape.hidden_size
    if setup.tile is None and not shape.experts:
        held -= 0 if {"gate_proj", "up_proj"} & set(inside) else shape.hidden_size
    return held


def attention_per_token(shape: Shape, setup: Setup, on_cpu: bool = False) -> float:
    """Bytes of one token in one layer's attention, held until its backward."""
    width, tensor = setup.width, setup.tensor
    query, key, heads = (size // tensor for size in (shape.query_size, shape.key_size, shape.num_attention_heads))
    is_short = on_cpu and setup.precision == "fp32" and setup.sequence_length <= SHORT_ATTENTION
    if setup.checkpointing == "full":
        return 0
    if setup.checkpointing == "selective":
        fused = 0 if is_short else width * query + 4 * heads
        return width * (query + 2 * key) + fused
    # a GPU's fused attention writes its output where the projection reads it
    held = width * ((3 if on_cpu and not is_short else 2) * query + 2 * key)
    held += width * heads * setup.sequence_length if is_short else 4 * heads
    if shape.head_norms:
        held += width * (query + key) + (4 * (heads + key // shape.head_dim) if on_cpu else 0)
    return held


def _feed_forward(shape: Shape, setup: Setup) -> float:
    """Bytes of one token in one feed-forward layer, beside its input."""
    width = setup.width
    if shape.experts:
        chosen, wide = shape.experts_per_token, shape.experts_per_token * shape.expert_size
        rows = width * (3 * chosen * shape.hidden_size + 3 * wide)  # sorted, returned, in order; gate, up, product
        return rows + 4 * 3 * shape.experts + 24 * chosen  # the router's probabilities, weights and places
    if setup.tile is not None:
        return 0  # tiles hold their input alone, which is the norm's output
    products = 3 if setup.tensor > 1 else 2  # DeepSpeed's own projection holds its input
    return width * products * (shape.intermediate_size // setup.tensor)


def gradients_per_token(shape: Shape, setup: Setup) -> float:
    """Bytes of one token within a layer's backward: of the stream, and of gate, up, their product and its gradient."""
    wide = shape.active_width // setup.tensor
    if setup.tile is not None:
        wide = wide * min(1.0, setup.tile / max(1, setup.tokens_per_micro_batch))
    return setup.width * (2 * shape.hidden_size + 4 * wide)


def loss_bytes(shape: Shape, setup: Setup, memory_bytes: float, on_cpu: bool = False) -> float:
    """Bytes of the head's fused loss: d hidden, d weight (fp32, and in the computing precision once), and logits."""
    tokens, width = setup.tokens_per_micro_batch, setup.width
    row = width * shape.vocab_size
    rows = max(ROWS_ON_CPU, LOGITS_ON_CPU // shape.vocab_size)
    if not on_cpu:
        rows = max(ROWS_OF_LOSS, 2 ** int(max(1, memory_bytes / SHARE_OF_LOSS / row)).bit_length() // 2)
    logits = min(tokens, rows) * row
    if shape.adapters is not None:  # a frozen head has no gradient
        return tokens * width * shape.hidden_size + logits
    weight = (4 + width) * shape.head_matrix
    return tokens * width * shape.hidden_size + max(logits + 4 * shape.head_matrix, weight)
