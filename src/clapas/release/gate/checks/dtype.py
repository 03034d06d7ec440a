"""Check 3: the weights have one type, and both fields of `config.json` that readers look for it in say so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.reading import Unreadable, read_model
from clapas.release.layout import CONFIG

NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
"""safetensors' name of a type -> `config.json`'s."""
FIELDS = ("dtype", "torch_dtype")
"""transformers 5's, and that of all before it and of most other readers."""


def check_dtype(draft: Draft) -> Verdict:
    """The tensors' types, and both fields."""
    model = read_model(draft.folder)
    if isinstance(model, Unreadable):
        return not_run(model.why)
    config, tensors = model
    if not tensors:
        return not_run("the files of weights hold no tensor")
    stored = sorted({NAMES.get(tensor.dtype, tensor.dtype) for tensor in tensors.values()})
    return judged(_problems(config, stored), f"{len(tensors)} tensors and {CONFIG}: {stored[0]}")


def _problems(config: dict[str, Any], stored: list[str]) -> Iterator[str]:
    if len(stored) > 1:
        yield f"the weights are of several types: {', '.join(stored)}"
    for field in FIELDS:
        if config.get(field) not in stored:
            yield f"{CONFIG} says {field} {config.get(field)!r}, and the weights are {', '.join(stored)}"


CHECK = Check(3, "dtype", "weights and both fields of config.json have one type", check_dtype)
