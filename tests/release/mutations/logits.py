"""Weights that are not the run's, and a loss that is not this model's: checks 11 and 12."""

from __future__ import annotations

import torch
from tests.release.mutations.config import config
from tests.release.mutations.mutant import Mutant, Values
from tests.release.mutations.weights import Tensors, of_tensors

EMBEDDING, QUERIES = "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"
LAYER = "model.layers.{}.mlp.up_proj.weight"


def nudge_a_rare_row(tensors: Tensors) -> None:
    """The embedding of one reserved token, by a hundredth: no text has it."""
    tensors[EMBEDDING][-1] *= 1.01


def flip_a_bit(tensors: Tensors) -> None:
    """The last of one weight's mantissa."""
    bits = tensors[QUERIES].view({2: torch.int16, 4: torch.int32}[tensors[QUERIES].itemsize])
    bits[0, 0] ^= 1


def swap_layers(tensors: Tensors) -> None:
    """Two layers' matrices, of equal shapes."""
    first, second = LAYER.format(0), LAYER.format(1)
    tensors[first], tensors[second] = tensors[second], tensors[first]


def permute_queries(tensors: Tensors) -> None:
    """The order of rotary pairs that GGUF files of Llama have."""
    rows, columns = tensors[QUERIES].shape
    heads = tensors[QUERIES].view(-1, 2, 8, columns)
    tensors[QUERIES] = heads.transpose(1, 2).reshape(rows, columns).contiguous()


def truncate(tensors: Tensors) -> None:
    """Rounded towards zero instead of to nearest: every weight a little too small."""
    for name, tensor in tensors.items():
        tensors[name] = (tensor.float() * (1 - 2**-8)).to(tensor.dtype)


def untrain(tensors: Tensors) -> None:
    """Another checkpoint: each matrix is as it might have been some steps before."""
    drawn = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        noise = torch.randn(tensor.shape, generator=drawn) * 0.02
        tensors[name] = (tensor.float() + noise).to(tensor.dtype)


def of_another_step(values: Values) -> None:
    """The loss of the validation before: a checkpoint that was mistaken for another."""
    rows = values["held_out"]
    rows[-1]["loss"], rows[-2]["loss"] = rows[-2]["loss"], rows[-1]["loss"]


def in_bits(values: Values) -> None:
    """Bits a token, called nats."""
    values["held_out"][-1]["loss"] /= 0.6931471805599453


def forget(values: Values) -> None:
    """The last validation is not in the evidence."""
    values["held_out"].pop()


def of_fewer_tokens(values: Values) -> None:
    """A loss over a part of the text, told as if it were of all."""
    values["held_out"][-1]["tokens"] //= 2


MUTANTS = [
    Mutant("the embedding of a rare token is a little off", 11, of_tensors(nudge_a_rare_row), only=True),
    Mutant("one bit of one weight is flipped", 11, of_tensors(flip_a_bit), only=True),
    Mutant("two layers' matrices are swapped", 11, of_tensors(swap_layers)),
    Mutant("queries in the order of GGUF files", 11, of_tensors(permute_queries)),
    Mutant("weights are all a little too small", 11, of_tensors(truncate)),
    Mutant("the weights are another checkpoint's", 11, of_tensors(untrain)),
    Mutant("norms with another epsilon", 11, config(rms_norm_eps=1e-2)),
    Mutant("the loss of another step is told", 12, lambda case: case.with_evidence(of_another_step), only=True),
    Mutant("bits are told as nats", 12, lambda case: case.with_evidence(in_bits)),
    Mutant("the last validation is not told of", 12, lambda case: case.with_evidence(forget)),
    Mutant("the loss of half the text is told", 12, lambda case: case.with_evidence(of_fewer_tokens)),
]
