"""The ways of storing weights in a GGUF that we write, and which tensor is stored in which. No torch.

K-quants are not among them: the `gguf` package cannot write them, llama.cpp's own `llama-quantize` makes them of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from clapas.recipe.errors import UserError

Kind = Literal["F32", "BF16", "Q8_0", "Q4_0"]
"""A tensor's type, as GGUF names it."""
BLOCK = 32
"""Elements of a row that share a scale in Q8_0 and Q4_0."""
ENDS = ("token_embd.weight", "output.weight")
"""What a token enters and leaves by."""
ROUTER = ".ffn_gate_inp."
"""Part of the name of what chooses a token's experts: llama.cpp keeps it in F32."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """name: in the file's name. matrices: the type of most of the weights. ends: of ENDS, which suffer most.

    file_type: `general.file_type`, by which programs name the whole (llama.cpp's `llama_ftype`).
    """

    name: str
    matrices: Kind
    ends: Kind
    file_type: int


QUANTISATIONS = {
    quantisation.name: quantisation
    for quantisation in (
        Quantisation("f32", "F32", "F32", 0),
        Quantisation("bf16", "BF16", "BF16", 32),
        Quantisation("q8_0", "Q8_0", "Q8_0", 7),
        Quantisation("q4_0", "Q4_0", "Q8_0", 2),
    )
}


def read_names(text: str) -> tuple[str, ...]:
    """The quantisations in `f32,q8_0`, each once. Raises UserError for one that we do not write."""
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    for name in names:
        if name not in QUANTISATIONS:
            way_out = "write f32 or bf16 and make others of that with llama.cpp's `llama-quantize` (docs/gguf.md)"
            wanted = f"some of {', '.join(QUANTISATIONS)}, with commas between"
            raise UserError(
                "not a quantisation that we write", where="--gguf", found=name, wanted=wanted, way_out=way_out
            )
    return names


def kind_of(quantisation: Quantisation, name: str, shape: Sequence[int]) -> Kind:
    """What a tensor is stored in. name: in the GGUF. shape: rows last but one, columns last.

    Vectors (norms, biases) and routers are F32, as llama.cpp wants them. Where a row is no multiple of BLOCK, the whole
    tensor is BF16 instead of blocks, in which nothing is lost of an export in bf16.
    """
    if len(shape) < 2 or ROUTER in name:
        return "F32"
    kind = quantisation.ends if name in ENDS else quantisation.matrices
    return "BF16" if kind in ("Q8_0", "Q4_0") and shape[-1] % BLOCK else kind


def fell_back(quantisation: Quantisation, name: str, shape: Sequence[int], kind: Kind) -> bool:
    """Whether a tensor could not be stored as the quantisation has it."""
    return kind == "BF16" and quantisation.matrices != "BF16" and len(shape) > 1
