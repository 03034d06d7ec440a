"""What `clapas launch` was asked for: a job, a sweep, a script to look at, or ranks over ssh."""

from __future__ import annotations

import argparse
import os

from clapas.launch.job import Choices
from clapas.launch.launch import dry_run, launch
from clapas.launch.sweep import parse_sweep, sweep_recipes
from clapas.recipe.errors import EXIT_DONE, UserError
from clapas.recipe.recipe import read_recipe


def launch_command(options: argparse.Namespace) -> int:
    """Do it, and print the jobs' ids or the script. Returns the exit code."""
    for name in ("nodes", "chain"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError("not a count", where=f"--{name}", found=value, wanted="at least 1")
    base = read_recipe(options.recipe, options.overrides)
    recipes = [base]
    if options.sweep:
        recipes = sweep_recipes(options.recipe, options.overrides, parse_sweep(options.sweep))
    choices = Choices(
        nodes=options.nodes,
        partition=options.partition,
        account=options.account or os.environ.get("SBATCH_ACCOUNT"),
        qos=options.qos,
        wall=options.time,
        chain=options.chain,
        retries=options.retries,
        accept_unverified=options.accept_unverified,
    )
    if options.dry_run:
        print(dry_run(recipes, options.site, choices, options.image, base.folder), end="")
        return EXIT_DONE
    print("\n".join(launch(recipes, options.site, choices, options.image, base.folder)))
    return EXIT_DONE
