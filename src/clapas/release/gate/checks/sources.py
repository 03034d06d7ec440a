"""Check 15: every shard that was read is of a source that is known, and tokens read add up to what the ledger says.

The run's ledger itself is read where the release is made: the tokens that its training counted, step by step, are those
that its order of the data gives source by source.
Also that the files which name the sources for machines, Croissant metadata and bill of materials, are valid: where the
release is made. To a stranger they are signed, and check 21 renders them again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from clapas.ledger.ledger import read_ledger, sum_ledger
from clapas.recipe.errors import UserError
from clapas.release.evidence.evidence import DataFacts, ShardFacts, SourceFacts
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.live import LiveModel
from clapas.release.machine_readable import PROBLEMS

MOVING = ("main", "master", "head", "latest", "trunk", "dev")
"""Names of what is newest, which is another text tomorrow."""
SHA256 = re.compile(r"[0-9a-f]{64}")


def check_sources(draft: Draft) -> Verdict:
    """Each corpus of the lineage, its sources and their shards, and the sums over them."""
    evidence = draft.evidence
    problems = [f"{data.name}: {problem}" for data in evidence.data for problem in _data(data)]
    problems += _dates(draft)
    if (read := sum(data.tokens_read for data in evidence.data if data.relation != "base")) != evidence.tokens:
        problems.append(f"{read:,} tokens were read of the data, {evidence.tokens:,} are the run's")
    found, missing = list[str](), list[str]()
    if draft.live is not None:
        problems += _ledger(draft.live, evidence.own_data)
        found, missing = _for_machines(draft)
    if missing and not problems and not found:
        return not_run("; ".join(missing))
    shards = sum(len(source.shards) for data in evidence.data for source in data.sources)
    said = (
        f"{shards} shards, each of a source with licence, revision, hash and dates; {evidence.tokens:,} tokens read, "
        "as the ledger says"
    )
    return judged([*problems, *found], "; ".join([said, *missing]))


def _ledger(live: LiveModel, data: DataFacts) -> Iterator[str]:
    """What the run read itself, as its ledger has it; a branch's goes on from where it left its stem."""
    totals = sum_ledger(read_ledger(live.run))
    after = 0 if totals.branch is None else live.recipe.phases.tokens_after(totals.branch["step"])
    if (counted := totals.tokens - after) != data.tokens_read:
        yield f"{data.tokens_read:,} tokens were read of {data.name}, and the ledger has {counted:,}"


def _for_machines(draft: Draft) -> tuple[list[str], list[str]]:
    """What is wrong with the metadata that name the sources for machines; and what could not be looked at."""
    found, missing = list[str](), list[str]()
    for problem_of in PROBLEMS:
        try:
            if (problem := problem_of(draft.folder)) is not None:
                found.append(problem)
        except UserError as error:
            missing.append(error.what)
    return found, missing


def _data(data: DataFacts) -> Iterator[str]:
    if not SHA256.fullmatch(data.manifest_hash):
        yield f"its manifest has no hash: {data.manifest_hash!r}"
    for path, times in Counter(shard.path for source in data.sources for shard in source.shards).items():
        if times > 1:
            yield f"{path} is counted {times} times"
    for source in data.sources:
        yield from (f"{source.name}: {problem}" for problem in _source(source))
    if (total := sum(source.tokens_read for source in data.sources)) != data.tokens_read:
        yield f"{total:,} tokens were read of its sources, {data.tokens_read:,} in all"


def _source(source: SourceFacts) -> Iterator[str]:
    if not source.licence.strip():
        yield "has no licence"
    if not (_is_fixed(source.revision) or source.sha256 or source.listing):
        found = f"the revision {source.revision!r}, which moves, and no hash" if source.revision else "neither of them"
        yield f"nobody knows which text it was: wanted a revision or a hash, found {found}"
    if source.tokens_read and not source.shards:
        yield f"{source.tokens_read:,} tokens were read of no shard"
    for shard in source.shards:
        if not _is_hashed(shard):
            yield f"{shard.path} has no hashes: bare shards, of which nobody knows what they hold"
    for what in ("documents", "tokens"):
        total, said = sum(getattr(shard, what) for shard in source.shards), getattr(source, what)
        if total != said:
            yield f"{total:,} {what} in its shards, {said:,} in all"
    if source.tokens_read and not source.tokens:
        yield "tokens were read, and it has none"


def _is_fixed(revision: str | None) -> bool:
    return bool(revision) and str(revision).lower() not in MOVING


def _is_hashed(shard: ShardFacts) -> bool:
    return all(digest is not None and SHA256.fullmatch(digest) for digest in (shard.bin_sha256, shard.idx_sha256))


def _dates(draft: Draft) -> Iterator[str]:
    """When each source was acquired, which people say: within what was possible."""
    today = draft.evidence.time[:7]
    answers = draft.answers.training_content.sources
    for name in dict.fromkeys(source.name for data in draft.evidence.data for source in data.sources):
        if name not in answers:
            yield f"{name}: nobody says when it was acquired: training_content.sources.{name}"
            continue
        first, last = answers[name].acquired
        if not first <= last <= today:
            yield f"{name}: acquired from {first} to {last}, told in {today}"


CHECK = Check(15, "sources", "every shard read is of a known source; tokens add up to the ledger's", check_sources)
