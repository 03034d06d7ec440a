"""The start of a run as its ranks make it together: the first one looks at the files, and tells the others.

Checking a corpus opens or looks at three files a shard. Of 20,000 shards on 512 ranks that is 30 million questions to
the file server, all at once; asked by one rank, it is 60,000.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson

from clapas.engine.ranks import Ranks
from clapas.loader.mix import warnings
from clapas.loader.plan import DataPlan
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.train.adapters import with_adapter_seal
from clapas.train.branch import with_seal
from clapas.train.first_weights import with_first_weights
from clapas.train.preflight import preflight
from clapas.tune.config import Distillation
from clapas.tune.distillation import with_teacher
from clapas_data.manifest import Manifest


def preflight_together(recipe: Recipe, ranks: Ranks) -> tuple[Recipe, DataPlan]:
    """`with_seal`, `with_first_weights`, `with_adapter_seal` and `preflight`, done by rank 0.

    Raises their UserError on all ranks alike. Collective.
    """
    told, error, plan = None, None, None
    if ranks.rank == 0:
        try:
            recipe = with_adapter_seal(with_first_weights(with_seal(recipe)))
            plan = preflight(recipe, ranks.size)
            recipe = with_teacher(recipe, plan)
        except UserError as problem:
            error = str(problem)
        else:
            told = _told(recipe, plan.manifest) if ranks.size > 1 else None
            for warning in warnings(plan):
                print(f"warning: {warning}", file=sys.stderr)
    if agreed := ranks.agree_on_error(error):
        raise UserError(agreed)
    told = ranks.broadcast(told)
    if plan is None:
        recipe, manifest = _heard(told or "", recipe)
        plan = DataPlan.of_recipe(recipe, manifest)
    return recipe, plan


def _told(recipe: Recipe, manifest: Manifest) -> str:
    seal, model = recipe.branch.seal if recipe.branch else None, recipe.model
    adapter = recipe.lora.seal if recipe.lora else None
    teacher = recipe.objective.seal if isinstance(recipe.objective, Distillation) else None
    facts = {"seal": seal, "adapter": adapter, "teacher": teacher}
    facts |= {"from": model.from_ and str(model.from_), "from_seal": model.from_seal}
    return orjson.dumps({**facts, "manifest": manifest.model_dump(mode="json")}).decode()


def _heard(told: str, recipe: Recipe) -> tuple[Recipe, Manifest]:
    facts = orjson.loads(told)
    manifest = Manifest.model_validate(facts["manifest"]).placed(recipe.data.path)
    changes: dict[str, Any] = {}
    if recipe.branch is not None:
        changes["branch"] = recipe.branch.model_copy(update={"seal": facts["seal"]})
    if recipe.model.from_ is not None:
        first = {"from_": Path(facts["from"]), "from_seal": facts["from_seal"]}
        changes["model"] = recipe.model.model_copy(update=first)
    if recipe.lora is not None:
        changes["lora"] = recipe.lora.model_copy(update={"seal": facts["adapter"]})
    if isinstance(recipe.objective, Distillation):
        changes["objective"] = recipe.objective.model_copy(update={"seal": facts["teacher"]})
    return recipe.model_copy(update=changes), manifest
