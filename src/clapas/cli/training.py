"""A recipe is planned and trained, and what its run did is shown."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clapas.cli.verbs import add_verb, json_option, show
from clapas.recipe.errors import EXIT_DONE


def add_verbs(verbs: Any) -> None:
    """From `clapas recipes` to `clapas report`."""
    verb = add_verb(verbs, "recipes", "list what ships: recipes and corpora", "clapas recipes", _recipes)
    json_option(verb)
    example = "clapas train demo --nproc 2 train.steps=100"
    verb = add_verb(verbs, "train", "train a recipe, or go on where its run stopped", example, _train)
    verb.add_argument("recipe", help="a recipe, or the name of a shipped one")
    verb.add_argument(
        "overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe, or files of them"
    )
    verb.add_argument("--nproc", type=int, default=1, metavar="N", help="ranks to start on this machine")
    does = "do not go on from an older checkpoint where the newest is damaged"
    verb.add_argument("--strict", action="store_true", help=does)
    example = "clapas distil mine.yaml objective.teacher=teacher --out data/teacher"
    verb = add_verb(verbs, "distil", "store what a recipe's teacher says of its data", example, _distil)
    verb.add_argument("recipe", help="a recipe whose objective is distillation, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    verb.add_argument("--out", type=Path, required=True, help="the folder, for objective.teacher; begun ones go on")
    verb.add_argument("--nproc", type=int, default=1, metavar="N", help="ranks to start on this machine")
    example = "clapas plan demo --site jean-zay --nodes 1 precision=bf16"
    verb = add_verb(verbs, "plan", "foretell memory, speed and cost of a recipe on a site", example, _plan)
    verb.add_argument("recipe", help="a recipe, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    verb.add_argument("--site", required=True, help="a site's file, or the name of a shipped one")
    verb.add_argument("--nodes", type=int, required=True, metavar="N")
    verb.add_argument("--partition", help="kind of node (default: the site's own)")
    verb.add_argument("--calibrate", type=Path, metavar="RUN", help="correct speeds by what this run measured")
    json_option(verb)
    verb = add_verb(verbs, "audit", "show the documents that a step read", "clapas audit runs/demo --step 100", _audit)
    verb.add_argument("run", type=Path, help="a run's folder")
    verb.add_argument("--step", type=int, required=True, help="which step, from 1")
    json_option(verb)
    verb = add_verb(verbs, "report", "write a run as one HTML page", "clapas report runs/demo", _report)
    verb.add_argument("run", type=Path)
    verb.add_argument("--out", type=Path, help="the page (default: RUN/report.html)")
    verb.add_argument("--plot", action="store_true", help="draw the loss in the terminal too")


def _recipes(options: argparse.Namespace) -> None:
    from clapas.recipe.listing import list_recipes, recipe_table

    show(list_recipes(), options.json, recipe_table)


def _train(options: argparse.Namespace) -> int:
    from clapas.recipe.recipe import read_recipe
    from clapas.train.local_ranks import run_ranks, under_launcher
    from clapas.train.preflight import preflight

    recipe = read_recipe(options.recipe, options.overrides)
    if not under_launcher():
        preflight(recipe, options.nproc)  # before torch is imported: a mistake is told at once
        if options.nproc > 1:
            command = ["train", str(options.recipe), *options.overrides, *["--strict"] * options.strict]
            return run_ranks(command, options.nproc, recipe.train.threads)
    from clapas.train.train import train

    return train(recipe, strict=options.strict)


def _distil(options: argparse.Namespace) -> int:
    from clapas.recipe.recipe import read_recipe
    from clapas.train.local_ranks import run_ranks, under_launcher

    recipe = read_recipe(options.recipe, options.overrides)
    if options.nproc > 1 and not under_launcher():
        command = ["distil", str(options.recipe), *options.overrides, "--out", str(options.out)]
        return run_ranks(command, options.nproc, recipe.train.threads)
    from clapas.tune.distil import distil

    distil(recipe, options.out)
    return EXIT_DONE


def _plan(options: argparse.Namespace) -> None:
    from clapas.plan.plan import plan
    from clapas.plan.show import plan_table
    from clapas.recipe.recipe import read_recipe

    recipe = read_recipe(options.recipe, options.overrides)
    chosen = {"partition": options.partition, "calibrate": options.calibrate}
    show(plan(recipe, options.site, options.nodes, **chosen), options.json, plan_table)


def _audit(options: argparse.Namespace) -> None:
    from clapas.loader.audit import audit, audit_table

    show(audit(options.run, options.step), options.json, audit_table)


def _report(options: argparse.Namespace) -> None:
    from clapas.report.page import report
    from clapas.report.terminal import loss_plot

    print(f"report: {report(options.run, options.out)}")
    if options.plot:
        print(loss_plot(options.run))
