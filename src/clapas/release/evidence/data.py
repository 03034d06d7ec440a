"""The data that a run has read: sources, shards, steps and counts, of its own revision of the corpus."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from clapas.loader.readers import TRAIN, left_out, plan_that_ran, recorded_identity
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash
from clapas.recipe.recipe import Recipe
from clapas.release.evidence.domains import domains_of
from clapas.release.evidence.evidence import DataFacts, Domains, ShardFacts, SourceFacts, StepTotals
from clapas.release.evidence.public import public
from clapas.release.evidence.tokens_read import tokens_read
from clapas_data import step_record as built
from clapas_data.manifest import Manifest, open_manifest

Relation = Literal["this", "branch", "base"]


def data_facts(
    run: Path, recipe: Recipe, relation: Relation, steps: tuple[int, int], crawled: Collection[str]
) -> DataFacts:
    """What a run has read in the steps after the first of `steps`, up to the second. relation: of that run to the one
    released. crawled: the sources whose internet domains are counted.

    Raises UserError where the data are gone, or are not those that the run read.
    """
    newest = manifest_read(run, recipe)
    plan = plan_that_ran(recipe, recorded_identity(run / "recipe.yaml"), newest)
    if plan is None:
        raise UserError(
            "this corpus is not the one that the run read",
            where=recipe.data.path,
            wanted=f"the data of run {run}",
            way_out="bring back the data folder as it was when the run trained",
        )
    manifest = plan.manifest
    read = tokens_read(plan.leaving_out(left_out(run)), *steps)
    domains = domains_of(recipe.data.path, set(crawled) & set(plan.sources))
    tokenizer = manifest.tokenizer
    return DataFacts(
        of=recipe.name,
        relation=relation,
        name=manifest.name,
        manifest_hash=manifest.hash,
        revision=manifest.revision,
        kind="text" if manifest.examples is None else manifest.examples.kind,
        chat_template=manifest.examples and manifest.examples.template,
        tokenizer_hash=tokenizer and tokenizer.hash,
        eos=tokenizer and tokenizer.eos,
        bos=tokenizer and tokenizer.bos,
        pad=tokenizer and tokenizer.pad,
        uses_bos=tokenizer is not None and tokenizer.uses_bos,
        removed_before=_removed(newest, until=manifest.revision),
        removed_since=_removed(newest, since=manifest.revision),
        sources=tuple(_source(manifest, name, read[name], domains.get(name)) for name in plan.sources),
        steps=tuple(_step(step.name, step, step.options) for step in manifest.steps),
        tokens_read=sum(read.values()),
    )


def manifest_read(run: Path | str, recipe: Recipe) -> Manifest:
    """The newest manifest of the data that a run read. Raises UserError where they are gone."""
    path = recipe.data.path
    if not path.exists():
        here = (
            ""
            if path.is_absolute()
            else f", or give the command in the folder where {run} trained, not in {Path.cwd()}"
        )
        raise UserError(
            "the data that this run read are not here",
            where=run,
            found=f"no {path}",
            wanted="the folder that its recipe names (data.path)",
            way_out=f"bring the data back to {path}{here}",
        )
    return open_manifest(path)


def _removed(newest: Manifest, since: int = 0, until: float = float("inf")) -> int:
    """Documents that removals took out of a corpus after one revision, up to another."""
    removals = () if newest.removed is None else newest.removed.removals
    return sum(removal.documents for removal in removals if since < removal.revision <= until)


def _source(manifest: Manifest, name: str, read: int, domains: Domains | None) -> SourceFacts:
    source = manifest.sources[name]
    more = source.model_extra or {}
    places = [place for place in manifest.of_split(TRAIN) if manifest.shards[place].source == name]
    left = [manifest.left(place) for place in places]
    knows_bytes = all(manifest.shards[place].text_bytes is not None for place in places)
    return SourceFacts(
        name=name,
        licence=source.licence,
        revision=source.revision,
        date=source.date,
        url=source.url,
        origin=public(more.get("origin")),
        sha256=more.get("sha256"),
        listing=_listing(more),
        domain=source.domain,
        language=source.language,
        caveats=tuple(more.get("caveats", ())),
        contains=tuple(more.get("contains", ())),
        documents=sum(counts.documents for counts in left),
        tokens=sum(counts.tokens for counts in left),
        text_bytes=sum(counts.bytes for counts in left) if knows_bytes else None,
        tokens_read=read,
        domains=domains,
        shards=tuple(_shard(manifest, place) for place in places),
        steps=tuple(
            _step(step.name, step.sources[name], step.changed_options.get(name, step.options))
            for step in manifest.steps
            if name in step.sources
        ),
    )


def _listing(more: Mapping[str, Any]) -> str | None:
    """A hash of the local files that a source is: of names and sizes, or of names and contents (`clapas data chat`)."""
    files = more.get("files")
    return content_hash(files) if isinstance(files, dict) else more.get("listing")


def _shard(manifest: Manifest, place: int) -> ShardFacts:
    shard, left = manifest.shards[place], manifest.left(place)
    hashes = {"bin_sha256": shard.bin_sha256, "idx_sha256": shard.idx_sha256}
    return ShardFacts(path=shard.path, documents=left.documents, tokens=left.tokens, **hashes)


def _step(name: str, totals: built.StepTotals, options: Mapping[str, object]) -> StepTotals:
    return StepTotals(
        name=name,
        documents_in=totals.documents_in,
        documents_out=totals.documents_out,
        bytes_in=totals.bytes_in,
        bytes_out=totals.bytes_out,
        changed=totals.changed,
        reasons=totals.reasons,
        counts=totals.counts,
        options=public(dict(options)),
    )
