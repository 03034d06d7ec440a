"""What `clapas launch` was asked for: a job, a sweep, a script to look at, or ranks over ssh."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from clapas.launch.hosts import read_hosts, run_on_hosts
from clapas.launch.job import Choices
from clapas.launch.launch import dry_run, keep_what_runs, launch
from clapas.launch.records import next_folder
from clapas.launch.sweep import parse_sweep, sweep_recipes
from clapas.recipe.errors import EXIT_DONE, UserError
from clapas.recipe.recipe import Recipe, read_recipe
from clapas.train.preflight import preflight

ONLY_SLURM = ("partition", "account", "qos", "time", "chain", "sweep", "image", "accept_unverified", "dry_run")
"""Options that mean something to a queue alone."""


def launch_command(options: argparse.Namespace) -> int:
    """Do it, and print the jobs' ids or the script. Returns the exit code."""
    for name, least in (("nodes", 1), ("chain", 1), ("retries", 0)):
        if (value := getattr(options, name)) is not None and value < least:
            raise UserError("not a count", where=f"--{name}", found=value, wanted=f"at least {least}")
    base = read_recipe(options.recipe, options.overrides)
    if options.hosts is not None:
        return _on_hosts(options, base)
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
        image=_image(options.image),
        accept_unverified=options.accept_unverified or options.dry_run,  # the script names what is not verified
    )
    if options.dry_run:
        print(dry_run(recipes, options.site, choices, base.folder), end="")
        return EXIT_DONE
    print("\n".join(launch(recipes, options.site, choices, base.folder)))
    return EXIT_DONE


def _image(given: str | None) -> str | None:
    """A container's image by its absolute path; where it is not a file, its address (docker://…) as given."""
    return given if given is None or "://" in given else str(Path(given).absolute())


def _on_hosts(options: argparse.Namespace, recipe: Recipe) -> int:
    """Ranks over ssh. Raises UserError where an option is Slurm's."""
    given = [name for name in ONLY_SLURM if getattr(options, name) not in (None, False)]
    if given or options.nodes != 1:
        option = (given or ["nodes"])[0].replace("_", "-")
        raise UserError("there is no Slurm behind --hosts", where=f"--{option}", way_out="leave it out")
    hosts = read_hosts(options.hosts)
    preflight(recipe, len(hosts) * hosts[0].ranks)
    folder = next_folder(recipe.folder)
    keep_what_runs(folder, [recipe])
    return run_on_hosts(hosts, ["train", str(folder / "recipe.yaml")], recipe.train.threads)
