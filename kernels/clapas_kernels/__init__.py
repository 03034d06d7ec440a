"""Fused operations, a file each: the maths, the PyTorch reference, the Triton kernels, the operator.

Usable alone: nothing here but torch, and triton where it is installed. `use` picks an implementation, `explain` says
which one runs on this machine; `python -m clapas_kernels.proof` proves the kernels without a GPU.
"""

from clapas_kernels.adamw import adamw_step
from clapas_kernels.attention import Documents, attention
from clapas_kernels.cross_entropy import cross_entropy
from clapas_kernels.dispatch import explain, use
from clapas_kernels.fp8 import dequantise, fp8_quantise, fp8_quantise_both, fp8_quantise_rows, fp8_quantise_tiles
from clapas_kernels.fp8_fused import fp8_add_rms_norm, fp8_swiglu
from clapas_kernels.fp8_linear import AmaxHistory, LinearAmax, fp8_linear
from clapas_kernels.linear_cross_entropy import linear_cross_entropy
from clapas_kernels.newton_schulz import orthogonalise
from clapas_kernels.qk_norm_rope import packed_qk_norm_rope, qk_norm_rope
from clapas_kernels.rms_norm import add_rms_norm, rms_norm
from clapas_kernels.rope import packed_rope, rope
from clapas_kernels.swiglu import packed_swiglu, swiglu, swiglu_linear

__all__ = [
    "AmaxHistory",
    "Documents",
    "LinearAmax",
    "adamw_step",
    "add_rms_norm",
    "attention",
    "cross_entropy",
    "dequantise",
    "explain",
    "fp8_add_rms_norm",
    "fp8_linear",
    "fp8_quantise",
    "fp8_quantise_both",
    "fp8_quantise_rows",
    "fp8_quantise_tiles",
    "fp8_swiglu",
    "linear_cross_entropy",
    "orthogonalise",
    "packed_qk_norm_rope",
    "packed_rope",
    "packed_swiglu",
    "qk_norm_rope",
    "rms_norm",
    "rope",
    "swiglu",
    "swiglu_linear",
    "use",
]
