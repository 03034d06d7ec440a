"""Shards of which nobody knows, tokens that do not add up, dates that cannot be, files for machines that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.release.mutations.mutant import Case, Mutant, Values

from clapas.release.documents import bom, croissant


def _data(change: Callable[[Values], object]) -> Any:
    return lambda case: case.with_evidence(lambda values: change(values["data"][0]))


def _source(change: Callable[[Values], object]) -> Any:
    return _data(lambda data: change(data["sources"][0]))


def _counted_twice(source: Values) -> None:
    shard = source["shards"][0]
    source["shards"].append(shard)
    source.update({what: source[what] + shard[what] for what in ("documents", "tokens")})


def _one_token_more(data: Values) -> None:
    data["sources"][0]["tokens_read"] += 1


def _a_step_forgotten(case: Case) -> None:
    """Of all sums alike, which agree with each other, and not with the run's ledger."""

    def forget(values: Values) -> None:
        data = values["data"][0]
        for counts, name in ((values, "tokens"), (data, "tokens_read"), (data["sources"][0], "tokens_read")):
            counts[name] -= 1024

    case.with_evidence(forget)


def _acquired_tomorrow(case: Case) -> None:
    def change(values: Values) -> None:
        for source in values["training_content"]["sources"].values():
            source["acquired"] = ["2031-01", "2031-02"]

    case.with_answers(change)


MUTANTS = [
    Mutant("a bare shard, without hashes", 15, _source(lambda source: source["shards"][0].update(bin_sha256=None)),
           only=True),
    Mutant("a source without revision or hash", 15,
           _source(lambda source: source.update(revision=None, sha256=None, listing=None)), only=True),
    Mutant("a source whose revision moves", 15,
           _source(lambda source: source.update(revision="main", sha256=None, listing=None)), only=True),
    Mutant("a source without a licence", 15, _source(lambda source: source.update(licence=" "))),
    Mutant("a source's token too many", 15, _data(_one_token_more), only=True),
    Mutant("a shard left out", 15, _source(lambda source: source.update(shards=[]))),
    Mutant("a shard that is counted twice", 15, _source(_counted_twice)),
    Mutant("more tokens in the ledger than were read", 15,
           lambda case: case.with_evidence(lambda values: values.update(tokens=values["tokens"] + 1))),
    Mutant("a step of the ledger that no sum has", 15, _a_step_forgotten, only=True),
    Mutant("a manifest without its hash", 15, _data(lambda data: data.update(manifest_hash="b6189d32"))),
    Mutant("data acquired after the release", 15, _acquired_tomorrow),
    Mutant("Croissant metadata whose file has no hash", 15,
           lambda case: case.with_json(croissant.FILE, lambda values: values["distribution"][0].pop("sha256"))),
    Mutant("a bill of materials of no known form", 15,
           lambda case: case.with_json(bom.FILE, lambda values: values.update(bomFormat="Other"))),
]  # fmt: skip
