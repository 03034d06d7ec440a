"""Runs on a machine's queue: sent, watched, ended, and what would make one fail."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clapas.cli.verbs import add_verb, json_option, show


def add_verbs(verbs: Any) -> None:
    """From `clapas launch` to `clapas doctor`."""
    _add_launch(verbs)
    verb = add_verb(verbs, "status", "show a launched run: jobs, steps, attempts", "clapas status runs/demo", _status)
    verb.add_argument("run", type=Path)
    json_option(verb)
    verb = add_verb(verbs, "cancel", "end a launched run, which saves first", "clapas cancel runs/demo", _cancel)
    verb.add_argument("run", type=Path)
    verb.add_argument("--now", action="store_true", help="do not wait for a save: the last checkpoint stands")
    verb = add_verb(verbs, "logs", "show what a launched run's jobs print", "clapas logs runs/demo -f", _logs)
    verb.add_argument("run", type=Path)
    verb.add_argument("-f", "--follow", action="store_true", help="until no job is left in the queue")
    example = "clapas doctor demo --site jean-zay --nodes 4"
    verb = add_verb(verbs, "doctor", "find what would make a run fail", example, _doctor)
    verb.add_argument("recipe", nargs="?", help="what would run: a recipe, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    verb.add_argument("--site", help="where: a site's file, or the name of a shipped one")
    verb.add_argument("--partition", help="the site's partition (default: the site's own default)")
    verb.add_argument("--nodes", type=int, metavar="N", help="of the site (default: 1)")
    does = "also start a job of two nodes or more: clocks, ports, all-reduce bandwidth (with --site, or in a job)"
    verb.add_argument("--probe", action="store_true", help=does)
    verb.add_argument("--hours", type=float, help="how long the run takes (default: as its own steps say, or the plan)")
    json_option(verb)


def _add_launch(verbs: Any) -> None:
    example = "clapas launch mine.yaml --site jean-zay --account xxx@h100 --nodes 4 --time 20:00:00 --dry-run"
    verb = add_verb(verbs, "launch", "send a recipe to a machine's queue", example, _launch)
    verb.add_argument("recipe", help="a recipe, or the name of a shipped one")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key.sub=value", help="overrides of the recipe")
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument("--site", help="a site's file, or the name of a shipped one: jean-zay, adastra, meso-lr, local")
    where.add_argument("--hosts", type=Path, metavar="FILE", help="without Slurm: a host a line, reached by ssh")
    verb.add_argument("--nodes", type=int, default=1, metavar="N")
    verb.add_argument(
        "--partition", metavar="KIND", help="a kind of node, as the site's file calls it (default: its own)"
    )
    verb.add_argument("--account", help="who is charged (default: $SBATCH_ACCOUNT)")
    verb.add_argument("--qos", help="default: the first of the site's that takes the job")
    verb.add_argument("--time", metavar="HH:MM:SS", help="wall time (default: the most that the QoS gives)")
    verb.add_argument("--chain", type=int, metavar="N", help="N jobs, one after another, instead of one that requeues")
    verb.add_argument("--sweep", metavar="key=a,b,c", help="a run for each value, as a job array")
    verb.add_argument("--retries", type=int, default=5, metavar="N", help="failed attempts before it gives up (5)")
    verb.add_argument("--image", metavar="FILE", help="a container that the ranks run in")
    does = "use facts of the site that nobody has read at its own pages"
    verb.add_argument("--accept-unverified", action="store_true", help=does)
    verb.add_argument("--dry-run", action="store_true", help="print the batch script, and submit nothing")


def _launch(options: argparse.Namespace) -> int:
    from clapas.launch.command import launch_command

    return launch_command(options)


def _status(options: argparse.Namespace) -> None:
    from clapas.launch.status import status, status_table

    show(status(options.run), options.json, status_table)


def _cancel(options: argparse.Namespace) -> None:
    from clapas.launch.status import cancel

    print("\n".join(cancel(options.run, now=options.now)))


def _logs(options: argparse.Namespace) -> None:
    from clapas.launch.status import print_logs

    print_logs(options.run, follow=options.follow)


def _doctor(options: argparse.Namespace) -> int:
    from clapas.launch.doctor.doctor import doctor
    from clapas.launch.doctor.finding import case_of, exit_code, findings_json, findings_table

    named = {name: getattr(options, name) for name in ("site", "partition", "nodes", "hours")}
    findings = doctor(case_of(options.recipe, options.overrides, **named), probe=options.probe)
    show(findings_json(findings), options.json, findings_table)
    return exit_code(findings)
