"""`clapas verify DIR`: is this the model that was released, whole, and does it load with stock tools?"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from clapas.recipe.errors import ClapasError, UserError
from clapas.recipe.hashes import file_hash

SUMS = "SHA256SUMS"
LOAD = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, trust_remote_code=False)
wrong = {name: sorted(keys) for name, keys in info.items() if keys}
assert not wrong, f"keys: {wrong}"
tokenizer = AutoTokenizer.from_pretrained(folder)
assert len(tokenizer) <= model.config.vocab_size, "the tokenizer has more ids than the model"
with torch.no_grad():
    logits = model(**tokenizer("Le salarié a droit à", return_tensors="pt")).logits
assert torch.isfinite(logits.float()).all(), "logits are not finite"
print(sum(p.numel() for p in model.parameters()))
"""


class NotSoundError(ClapasError):
    """A release that is not what its sums say, or does not load."""


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over every file, in the form that `sha256sum -c` reads."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{file_hash(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines))


def verify(folder: Path) -> dict[str, object]:
    """Check every sum, that no file is missing or extra, and that stock transformers loads the model offline.

    Returns {"files", "loads", "parameters"}. Raises NotSoundError for the first thing wrong, UserError where `folder`
    is not a release.
    """
    return verification(check_sums(folder), check_loads(folder))


def verification(files: int, parameters: int | None) -> dict[str, object]:
    """What was verified, as plain values."""
    loads = "not run: transformers is not installed" if parameters is None else "yes"
    return {"files": files, "loads": loads, "parameters": parameters}


def check_sums(folder: Path) -> int:
    """Compare every file with SHA256SUMS. Returns how many there are."""
    path = folder / SUMS
    if not path.is_file():
        raise UserError(f"not a release: it has no {SUMS}", where=folder, wanted="a folder that `clapas release` wrote")
    wanted: dict[str, str] = {}
    for line in path.read_text().splitlines():
        digest, _, name = line.partition("  ")
        wanted[name] = digest
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {SUMS}
    for name, digest in wanted.items():
        if name not in present:
            raise NotSoundError("missing from the release", where=folder / name)
        if (found := file_hash(folder / name)) != digest:
            raise NotSoundError("altered", where=folder / name, found=f"SHA-256 {found}", wanted=digest)
    if extra := sorted(present - wanted.keys()):
        raise NotSoundError("not part of the release", where=folder / extra[0], way_out=f"remove it, or see {SUMS}")
    return len(wanted)


def check_loads(folder: Path) -> int | None:
    """Load model and tokenizer with stock transformers in a clean, offline process. Returns the parameters that it
    counts, or None where transformers is not installed."""
    if importlib.util.find_spec("transformers") is None:
        return None
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-I", "-c", LOAD, str(folder.resolve())]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise NotSoundError("stock transformers does not load it", where=folder, found=last)
    return int(result.stdout.split()[-1])


def verification_table(result: dict[str, object]) -> str:
    """The result as text."""
    return f"sound: {result['files']} files as released; loads with stock transformers: {result['loads']}"
