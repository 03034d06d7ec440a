"""Which of a kernel's accesses to global memory are bulk, by what a program moves at once in triton's own code.

Machine code tells how wide an instruction is, and not what it is for: a label or a scale a row is loaded 8 or 4 bytes
wide, and no width would be better. Triton's code for a target (TTGIR) tells of each access the tensor that a program
moves. One of up to a cache line is *small*: it costs that line however many lanes fetch it. All others are bulk.

    share of bulk accesses that are wide = wide / (wide + narrow that no small access accounts for),

in bytes of a lane. A small access accounts for one instruction of its kind and width at most, so that narrow bulk
accesses cannot hide behind it. On AMD what all lanes share may be loaded by the scalar unit, in instructions that are
not counted as accesses: there a scalar accounts for one only where all bytes of bulk loads are seen to be loaded wide.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

CACHE_LINE = 128
"""Bytes, of NVIDIA's L1 and L2 and of CDNA's L2."""
WIDEST = 128
"""Bits of the widest access of one lane: NVIDIA's .128, AMD's dwordx4."""

Accesses = Counter[tuple[str, int]]
"""How many instructions of a kind ("load", "store", "atomic") and a width in bits there are."""

_ACCESS = re.compile(
    r"(tt\.load|tt\.store|amdg\.buffer_load\w*|amdg\.buffer_store|ttg\.async_copy_global_to_local|amdg\.async_\w*copy\w*)"
    r" .*? : (.*?)(?: loc\(.*)?$",
    re.MULTILINE,
)
_TENSOR = re.compile(r"tensor<((?:\d+x)+)")
_ELEMENT = re.compile(r"!tt\.ptr<(\w+)")


@dataclass(frozen=True, slots=True)
class Moved:
    """What one access of TTGIR moves for a program. bits: of an element."""

    kind: str
    elements: int
    bits: int

    @property
    def is_small(self) -> bool:
        """Whether it fits a cache line."""
        return self.elements * self.bits <= CACHE_LINE * 8

    @property
    def is_scalar_load(self) -> bool:
        """Whether CDNA's scalar unit can load it: it has no loads of less than 32 bits."""
        return self.kind == "load" and self.elements == 1 and self.bits >= 32


def moved(ttgir: str) -> Iterator[Moved]:
    """The accesses to global memory, in the order of the code."""
    for operation, types in _ACCESS.findall(ttgir):
        element, shape = _ELEMENT.search(types), _TENSOR.search(types)
        if element is None:
            raise ValueError(f"clapas_kernels/proof/bulk.py does not know this access of TTGIR: {operation} : {types}")
        elements = math.prod(int(size) for size in shape[1].split("x")[:-1]) if shape else 1
        yield Moved("store" if "store" in operation else "load", elements, _bits(element[1]))


def _bits(element: str) -> int:
    """Of i64, f32, bf16, f8E4M3FN, ..."""
    size = re.match(r"[a-z]+(\d+)", element)
    assert size is not None, element
    return max(8, int(size[1]))


def wide_share(ttgir: str, accesses: Accesses, threads: int, has_scalar_unit: bool) -> float:
    """Of the bytes that a lane's bulk accesses move, the share that those of 128 bits do; 1 where there are none.

    accesses: of the machine code. threads: of a program.
    """
    of_program = list(moved(ttgir))
    small = [access for access in of_program if access.is_small]
    loaded = sum(x.elements * x.bits for x in of_program if x.kind == "load" and not x.is_small) / threads
    if has_scalar_unit and accesses["load", WIDEST] * WIDEST < loaded:
        small = [access for access in small if not access.is_scalar_load]
    narrow = Counter({access: count for access, count in accesses.items() if access[1] != WIDEST})
    narrow -= Counter((access.kind, access.bits) for access in small)
    wide = sum(count for (_, width), count in accesses.items() if width == WIDEST) * WIDEST
    bulk = wide + sum(width * count for (_, width), count in narrow.items())
    return wide / bulk if bulk else 1.0
