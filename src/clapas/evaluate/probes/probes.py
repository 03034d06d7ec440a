"""Which probes there are, and all that are asked for, one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from clapas.evaluate.probes.bias import bias_lines, probe_bias
from clapas.evaluate.probes.memorisation import memorisation_lines, probe_memorisation
from clapas.evaluate.probes.names import ALL, PROBES
from clapas.evaluate.probes.probe import Asked
from clapas.evaluate.probes.refusal import probe_refusal, refusal_lines
from clapas.evaluate.probes.toxicity import probe_toxicity, toxicity_lines
from clapas.recipe.errors import UserError

LINES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "memorisation": memorisation_lines,
    "bias": bias_lines,
    "toxicity": toxicity_lines,
    "refusal": refusal_lines,
}
SMALL = "small sets of our own: what they show is there, what they do not show may be there all the same"


def run_probes(names: Sequence[str], asked: Asked, data: Path | None = None) -> dict[str, Any]:
    """`probes`: name -> version, what it was asked with, `figures`; `items`: every answer, by probe."""
    functions: dict[str, Callable[[Asked], dict[str, Any]]] = {
        "memorisation": partial(probe_memorisation, data=data),
        "bias": probe_bias,
        "toxicity": probe_toxicity,
        "refusal": probe_refusal,
    }
    found = {name: functions[name](asked) for name in chosen_probes(names)}
    items = {name: probe.pop("items") for name, probe in found.items()}
    return {"probes": found, "chat": asked.chat, "seeds": {"probe": asked.seed}, "note": SMALL, "items": items}


def chosen_probes(names: Sequence[str]) -> list[str]:
    """The probes of these names, each once. Raises UserError for an unknown one."""
    for name in names:
        if name not in (*PROBES, ALL):
            raise UserError("no such probe", where="--probe", found=name, wanted=", ".join((*PROBES, ALL)))
    return list(PROBES) if ALL in names else list(dict.fromkeys(names))


def probes_table(measured: dict[str, Any]) -> str:
    """What `run_probes` returned, for reading."""
    lines = [line for name, probe in measured["probes"].items() for line in LINES[name](probe["figures"])]
    return "\n".join([*lines, f"({measured['note']})"])
