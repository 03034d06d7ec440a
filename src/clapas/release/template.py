"""A blank `release.yaml` for a run: every question that only people can answer, its sources and base models named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from clapas.evaluate.record import EVALUATIONS
from clapas.recipe.recipe import Recipe
from clapas.release.evaluation_sets import is_ours, set_of
from clapas.release.evidence.data import manifest_read
from clapas.release.evidence.lineage import Begun, begun_with, branches, is_run
from clapas.train.run_folder import read_run_recipe

FILE = Path(__file__).with_name("release.template.yaml")
SOURCE = """    {name}:
      kind:                 # public | licensed | private | crawled | user | synthetic | other
      description: {{fr: "", en: ""}}
      acquired: ["", ""]    # AAAA-MM, AAAA-MM
      large:                # true: plus de 3 % des données publiques / over 3 % of all public data
      licence_basis: {{fr: "", en: ""}}   # où la licence {licence} est dite / where it is said
      attribution:
"""
HEALTH = """
health:                     # une source contient des données de santé / a source contains health data
  legal_basis: {fr: "", en: ""}
  authorisation: {fr: "", en: ""}
  deidentification: {fr: "", en: ""}
  not_a_medical_device:     # true: ce modèle n'est pas un dispositif médical
"""
MODEL = """  {name}:
    name:
    revision:
    url:
    licence:                # SPDX
    attribution:
    summary: null           # son propre résumé, une adresse / its own summary, an address
    training_flops: null    # inconnu / unknown
"""
EVALUATION_SET = """  {name}:
    name:
    url:
    licence:                # SPDX
    attribution:
"""
TEACHER = "    parameters:             # qui multiplient, par unité / that multiply for one token\n"


def template(run: Path) -> str:
    """The text of the file. Raises UserError where `run` is no run, or its data are gone."""
    recipe = read_run_recipe(run)
    sources: dict[str, str] = {}
    health, models = False, dict[str, bool]()
    for ran, begun in _lineage(run, recipe):
        manifest = manifest_read(ran.name, ran)
        for name, source in manifest.sources.items():
            sources[name] = source.licence
            health |= "health" in (source.model_extra or {}).get("contains", ())
        for model in begun:
            if model.run is None or model.role == "teacher":
                models[model.name] = models.get(model.name, False) or model.role == "teacher"
    more = HEALTH if health else ""
    if models:
        asked = (MODEL.format(name=name) + TEACHER * is_teacher for name, is_teacher in models.items())
        more += "\nbase_models:\n" + "".join(asked)
    if sets := _sets_of_others(run):
        more += "\nevaluation_sets:           # dont les questions vont dans evaluations/ / whose questions go there\n"
        more += "".join(EVALUATION_SET.format(name=name) for name in sets)
    named = "".join(SOURCE.format(name=name, licence=licence) for name, licence in sorted(sources.items()))
    return FILE.read_text(encoding="utf-8").replace("{sources}\n", named).replace("{more}", more)


def _sets_of_others(run: Path) -> list[str]:
    """The tasks that were recorded of a run and do not ship with Clapas; of a group of them, its name."""
    tasks, groups = set[str](), set[str]()
    for path in sorted((run / EVALUATIONS).glob("*-tasks.json")):
        measured = orjson.loads(path.read_bytes())
        tasks |= {task for task in measured["tasks"] if not is_ours(task)}
        groups |= set(measured["groups"])
    return sorted({set_of(task, groups) or task for task in tasks})


def _lineage(run: Path, recipe: Recipe) -> Iterator[tuple[Recipe, list[Begun]]]:
    """The recipes of a run and of all that it comes from, where at hand, with the models that they began with."""
    waiting, seen = [(run, recipe)], set[Path]()
    while waiting:
        for ancestor in branches(*waiting.pop(), step=0):
            if isinstance(ancestor, str) or ancestor.run.resolve() in seen:
                continue
            seen.add(ancestor.run.resolve())
            begun = list(begun_with(ancestor.recipe))
            yield ancestor.recipe, begun
            waiting += [(model.run, read_run_recipe(model.run)) for model in begun if model.run and is_run(model.run)]
