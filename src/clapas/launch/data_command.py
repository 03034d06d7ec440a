"""What `clapas data build --slurm` was asked for: jobs, or their scripts to look at."""

from __future__ import annotations

import argparse
import os
import sys

from clapas.launch.data_array import Wanted, dry_run, submit_build
from clapas.launch.job import Choices
from clapas.recipe.errors import UserError

TASKS = 100
"""Elements of an array, where nobody says."""


def slurm_build(options: argparse.Namespace) -> None:
    """Submit, and print the jobs' ids; or print the scripts."""
    tasks = TASKS if options.tasks is None else options.tasks
    if tasks < 1:
        raise UserError("not a count", where="--tasks", found=tasks, wanted="at least 1")
    if options.workers is not None:
        raise UserError("--workers is for this machine", where="--slurm", way_out="--tasks N: elements of an array")
    choices = Choices(
        nodes=1,
        partition=options.partition,
        account=options.account or os.environ.get("SBATCH_ACCOUNT"),
        qos=options.qos,
        wall=options.time,
        accept_unverified=options.accept_unverified or options.dry_run,  # the scripts name what is not verified
    )
    wanted = Wanted(options.corpus, options.out, options.tokenizer, options.overrides, tasks)
    if options.dry_run:
        print(dry_run(wanted, options.slurm, choices), end="")
        return
    jobs = submit_build(wanted, options.slurm, choices)
    if jobs:
        print("\n".join(jobs))
        print(f"{len(jobs)} jobs; `clapas data status {options.out}` shows how far they are", file=sys.stderr)
