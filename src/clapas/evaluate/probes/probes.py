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
    """`probes`: name -> version, what it was asked with, `figures`; `items`: every answer, by probe; `not_run`: of
    `all`, name -> why not, such as memorisation where no data are named or known. Raises UserError otherwise.
    """
    functions: dict[str, Callable[[Asked], dict[str, Any]]] = {
        "memorisation": partial(probe_memorisation, data=data),
        "bias": probe_bias,
        "toxicity": probe_toxicity,
        "refusal": probe_refusal,
    }
    assert asked.template is not None or not asked.chat  # refused here, where there is none
    found, not_run = dict[str, dict[str, Any]](), dict[str, str]()
    for name in chosen_probes(names):
        try:
            found[name] = functions[name](asked)
        except UserError as error:
            if name in names or data is not None:
                raise
            not_run[name] = f"{error.where}: {error.what}" if error.where else error.what
    items = {name: probe.pop("items") for name, probe in found.items()}
    common = {"chat": asked.chat, "seeds": {"probe": asked.seed}, "note": SMALL}
    return {"probes": found, "not_run": not_run, **common, "items": items}


def chosen_probes(names: Sequence[str]) -> list[str]:
    """The probes of these names, each once. Raises UserError for an unknown one."""
    for name in names:
        if name not in (*PROBES, ALL):
            raise UserError("no such probe", where="--probe", found=name, wanted=", ".join((*PROBES, ALL)))
    return list(PROBES) if ALL in names else list(dict.fromkeys(names))


def probes_table(measured: dict[str, Any]) -> str:
    """What `run_probes` returned, for reading."""
    lines = [line for name, probe in measured["probes"].items() for line in LINES[name](probe["figures"])]
    lines += [f"not run: {name}: {why}" for name, why in measured["not_run"].items()]
    return "\n".join([*lines, f"({measured['note']})"])
