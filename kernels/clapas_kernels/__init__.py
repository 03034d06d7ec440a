"""Fused operations, a file each: the maths, the PyTorch reference, the Triton kernels, the operator.

Usable alone: nothing here but torch, and triton where it is installed. `use` picks an implementation, `explain` says
which one runs on this machine; `python -m clapas_kernels.proof` proves the kernels without a GPU.
"""

from clapas_kernels.dispatch import explain, use
from clapas_kernels.linear_cross_entropy import linear_cross_entropy
from clapas_kernels.rms_norm import add_rms_norm, rms_norm
from clapas_kernels.rope import packed_rope, rope
from clapas_kernels.swiglu import packed_swiglu, swiglu, swiglu_linear

__all__ = [
    "add_rms_norm",
    "explain",
    "linear_cross_entropy",
    "packed_rope",
    "packed_swiglu",
    "rms_norm",
    "rope",
    "swiglu",
    "swiglu_linear",
    "use",
]
