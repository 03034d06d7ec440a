"""The static meter: what a kernel becomes on each target, read back from the machine code that triton compiles offline.

    for launch in captured(TARGETS["sm_90"], lambda: operation(...)):
        print(compiled(launch))

A launch is recorded instead of run, specialised by triton's own binder as on that accelerator (divisibility by 16,
values of 1, on AMD tensors below 2 GiB), and compiled. From the binary come registers, spills, shared memory and the
width of every access to global memory; from the architecture's limits the occupancy. Needs no GPU: triton brings ptxas,
nvdisasm and LLVM. It compiles, so it needs a process without TRITON_INTERPRET.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import make_backend
from triton.runtime.jit import JITFunction, create_function_from_signature

from clapas_kernels.proof.bulk import Accesses, wide_share
from clapas_kernels.proof.interpreter import check_triton, replaced
from clapas_kernels.target import Target, assume

TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"


class CompilingError(RuntimeError):
    """This process cannot compile: it interprets."""


@dataclass(frozen=True, slots=True)
class CapturedLaunch:
    """One launch as it would reach the compiler of a target."""

    kernel: str
    target: Target
    source: ASTSource
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one kernel is on one target.

    registers: 32-bit ones of a thread. spilled: bytes of a thread that went to memory for want of registers.
    shared: bytes of a program. accesses: how many instructions of each kind and width in bits, as "load 128".
    wide: of the bytes of a lane's bulk accesses, the share that those of 128 bits move (`bulk.py`), each instruction
    counted once.
    occupancy: the share of a multiprocessor's threads that can be resident; programs: how many programs those are.
    """

    kernel: str
    target: str
    warps: int
    registers: int
    spilled: int
    shared: int
    accesses: dict[str, int]
    wide: float
    occupancy: float
    programs: int


def captured(target: Target, call: Callable[[], object]) -> list[CapturedLaunch]:
    """The launches of `call`, shaped for `target`; no kernel runs, so their outputs hold nothing.

    Raises CompilingError under TRITON_INTERPRET, UnsupportedTritonError.
    """
    check_triton()
    if not isinstance(tl.zeros, JITFunction):
        raise CompilingError("Kernels compile only where TRITON_INTERPRET is unset when Python starts: unset it.")
    launches: list[CapturedLaunch] = []
    with assume(target), _recorded(target, launches):
        call()
    return launches


@contextmanager
def _recorded(target: Target, launches: list[CapturedLaunch]) -> Iterator[None]:
    gpu = _gpu(target)
    backend = make_backend(gpu)

    def run(function: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        bind = create_function_from_signature(function.signature, function.params, backend)
        bound, specialization, options = bind(*args, **kwargs)
        _, signature, constexprs, attributes = function._pack_args(backend, kwargs, bound, specialization, options)
        source = ASTSource(function, signature, constexprs, attributes)
        launches.append(CapturedLaunch(function.__name__, target, source, options))

    with replaced(JITFunction, run=run):
        yield


def _gpu(target: Target) -> GPUTarget:
    architecture = int(target.name.removeprefix("sm_")) if target.backend == "cuda" else target.name
    return GPUTarget(target.backend, architecture, target.warp_size)


def compiled(launch: CapturedLaunch) -> Compiled:
    """Compile one launch, and read the binary. Raises what triton raises where the target cannot have it."""
    binary = triton.compile(launch.source, target=_gpu(launch.target), options=launch.options)
    read = _read_cuda if launch.target.backend == "cuda" else _read_hip
    registers, spilled, shared, accesses = read(binary)
    warps = binary.metadata.num_warps
    programs = _LIMITS[launch.target.name].programs(registers, shared, warps)
    return Compiled(
        kernel=launch.kernel,
        target=launch.target.name,
        warps=warps,
        registers=registers,
        spilled=spilled,
        shared=shared,
        accesses={f"{kind} {width}": count for (kind, width), count in sorted(accesses.items())},
        wide=wide_share(binary.asm["ttgir"], accesses, warps * launch.target.warp_size, launch.target.backend == "hip"),
        occupancy=programs * warps / _LIMITS[launch.target.name].warps,
        programs=programs,
    )


# The machine code


def _tool(name: str, *arguments: str) -> str:
    return subprocess.run([TOOLS / name, *arguments], capture_output=True, text=True, check=True).stdout


def _read_cuda(binary: Any) -> tuple[int, int, int, Accesses]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        usage = _tool("cuobjdump", "--dump-resource-usage", file.name)
        machine_code = _tool("cuobjdump", "-sass", file.name)
    used = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    return used["REG"], used["STACK"] + used["LOCAL"], binary.metadata.shared, _cuda_accesses(machine_code)


_CUDA_KINDS = {"LDG": "load", "LDGSTS": "load", "STG": "store", "RED": "atomic", "REDG": "atomic", "ATOMG": "atomic"}


def _cuda_accesses(machine_code: str) -> Accesses:
    """LDG.E.128 and the like; without a width it is 32 bits."""
    accesses: Accesses = Counter()
    for name, modifiers in re.findall(r"\b(LDG|LDGSTS|STG|REDG?|ATOMG)\.([A-Z0-9_.]+)", machine_code):
        width = re.search(r"\b[US]?(128|64|32|16|8)\b", modifiers.replace("_", ".").replace(".", " "))
        accesses[_CUDA_KINDS[name], int(width[1]) if width else 32] += 1
    return accesses


_HIP_WIDTHS = {"dwordx4": 128, "dwordx3": 96, "dwordx2": 64, "dword": 32, "b128": 128, "b96": 96, "b64": 64, "b32": 32}


def _read_hip(binary: Any) -> tuple[int, int, int, Accesses]:
    assembly = binary.asm["amdgcn"]

    def metadata(name: str) -> int:
        return max(map(int, re.findall(rf"\.{name}:\s+(\d+)", assembly)), default=0)

    shared = max(binary.metadata.shared, metadata("group_segment_fixed_size"))
    return metadata("vgpr_count"), metadata("private_segment_fixed_size"), shared, _hip_accesses(assembly)


def _hip_accesses(assembly: str) -> Accesses:
    """Without those of a spilled register, behind which LLVM writes "Folded Spill" and "Folded Reload"."""
    accesses: Accesses = Counter()
    pattern = r"^\s+(?:global|buffer|flat)_(load|store|atomic)_(\w+)(?!.*Folded)"
    for kind, what in re.findall(pattern, assembly, re.MULTILINE):
        words = what.split("_")
        widths = [_HIP_WIDTHS[word] for word in words if word in _HIP_WIDTHS]
        narrow = 8 if "byte" in what else 16 if "short" in what else 32
        accesses[kind, widths[0] if widths else narrow] += 1
    return accesses


# Occupancy


@dataclass(frozen=True, slots=True)
class _CudaLimits:
    """Of a streaming multiprocessor (CUDA C++ Programming Guide, table of technical specifications)."""

    shared: int
    warps: int = 64
    blocks: int = 32
    registers: int = 65_536
    shared_reserved: int = 1024
    """Bytes that the system takes of each block's."""
    granule: int = 256
    """Registers are given to a warp in multiples of this."""

    def programs(self, registers: int, shared: int, warps: int) -> int:
        of_warp = -(-registers * 32 // self.granule) * self.granule
        by_registers = self.registers // of_warp // warps
        return min(self.warps // warps, self.blocks, by_registers, self.shared // (shared + self.shared_reserved))


@dataclass(frozen=True, slots=True)
class _HipLimits:
    """Of a compute unit (AMD CDNA 2 and CDNA 3 instruction set guides): four SIMDs of eight waves."""

    shared: int = 64 << 10
    simds: int = 4
    waves: int = 8
    registers: int = 512
    """Of a lane and SIMD, shared by vector and accumulation registers."""
    granule: int = 8

    @property
    def warps(self) -> int:
        return self.simds * self.waves

    def programs(self, registers: int, shared: int, warps: int) -> int:
        of_wave = max(self.granule, -(-registers // self.granule) * self.granule)
        slots = min(self.waves, self.registers // of_wave) * self.simds
        return min(slots // warps, self.shared // shared if shared else slots)


_LIMITS: dict[str, _CudaLimits | _HipLimits] = {
    "sm_80": _CudaLimits(shared=164 << 10),
    "sm_90": _CudaLimits(shared=228 << 10),
    "sm_100": _CudaLimits(shared=228 << 10),
    "gfx90a": _HipLimits(),
    "gfx942": _HipLimits(),
}
