"""Whether a model goes on word for word with what it trained on, more than with other text (Carlini et al., 2023).

A prompt of k tokens out of a document, then n tokens of greedy decoding: an exact match repeats all n. Samples of the
run's own order say which documents it has read; the same is asked of held-out documents, for phrases that everybody
writes are no memory. Greedy decoding equals a text as far as each of its tokens is the likeliest after those before
it: one pass tells how far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from clapas.checkpoint.committed import FOLDER, step_of
from clapas.evaluate.evaluate import fitting_manifest
from clapas.evaluate.probes.intervals import of_means_apart, of_share, of_shares_apart
from clapas.evaluate.probes.probe import Asked
from clapas.evaluate.token_scores import TokenScores, token_scores
from clapas.loader.plan import DataPlan
from clapas.loader.readers import TRAIN, left_out, plan_that_ran, recorded_identity
from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span
from clapas.model.operations import IGNORED
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import read_recipe
from clapas_data.manifest import Manifest

VERSION = 1
SAMPLES = 200
PROMPT_TOKENS = 50
CONTINUATION_TOKENS = 50
TRIES = 1000
"""Draws in vain, one after another, before there is taken to be no further excerpt."""
ROWS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Tokens of one document: a prompt and what follows it. shard, first: where they lie."""

    shard: int
    first: int
    tokens: tuple[int, ...]


def probe_memorisation(asked: Asked, data: Path | None = None) -> dict[str, Any]:
    """Of training and of held-out documents: `exact`, the share of continuations repeated to the last token, with its
    interval, and `prefix`, the mean share of a continuation before its first other token; and both differences.

    Raises UserError where no document is long enough, or nothing is held out.
    """
    manifest = fitting_manifest(asked.loaded, data)
    prompt = min(PROMPT_TOKENS, asked.longest // 2)
    length = prompt + min(CONTINUATION_TOKENS, asked.longest - prompt)
    read, how, was_read = _read_of(asked, manifest)
    drawn = {
        "training": _excerpts(manifest, read, length, np.random.default_rng([asked.seed, 0]), TRAIN),
        "held_out": _excerpts(
            manifest, _any_document(manifest, "heldout"), length, np.random.default_rng([asked.seed, 1]), "heldout"
        ),
    }
    items = {
        name: [
            {"shard": manifest.shards[own.shard].path, "first": own.first, "repeated": repeated}
            for own, repeated in zip(excerpts, _repeated(asked, excerpts, prompt), strict=True)
        ]
        for name, excerpts in drawn.items()
    }
    n = length - prompt
    figures = {name: _figures([item["repeated"] for item in own], n) for name, own in items.items()}
    return {
        "version": VERSION,
        "data": str(manifest.folder),
        "manifest": was_read.hash,
        "drawn": {"prompt_tokens": prompt, "continuation_tokens": n, "training": how},
        "figures": {**figures, "difference": _apart(items, n)},
        "items": [{"split": name, **item} for name, own in items.items() for item in own],
    }


Draw = Callable[[np.random.Generator], list[Span]]
"""Parts of documents, of which an excerpt may be taken."""


def _read_of(asked: Asked, manifest: Manifest) -> tuple[Draw, str, Manifest]:
    """Draws from what the run has read until this checkpoint, and the revision of the data that it read, of which
    documents may have been removed since; of a model without its run, from the training split."""
    source = asked.loaded.source
    run = source.parent.parent
    if FOLDER.fullmatch(source.name) is None or not (run / "recipe.yaml").is_file():
        return _any_document(manifest, TRAIN), "documents of the training split", manifest
    recipe = read_recipe(run / "recipe.yaml")
    plan = plan_that_ran(recipe, recorded_identity(run / "recipe.yaml"), manifest)
    if plan is None:
        how = "documents of the training split: these are not the data of the run"
        return _any_document(manifest, TRAIN), how, manifest
    draw = _from_plan(plan.leaving_out(left_out(run)), step_of(source))
    return draw, "documents in samples that the run has read", plan.manifest


def _from_plan(plan: DataPlan, steps: int) -> Draw:
    pool = ShardPool(plan.manifest)

    def draw(generator: np.random.Generator) -> list[Span]:
        interval = plan.interval(int(generator.integers(1, steps + 1)))
        index = interval[int(generator.integers(len(interval)))]
        return [part for span in plan.spans(index) for part in _documents_in(pool, span)]

    return draw


def _any_document(manifest: Manifest, split: str) -> Draw:
    pool = ShardPool(manifest)
    places = manifest.of_split(split)
    documents = np.cumsum([manifest.shards[place].documents for place in places])

    def draw(generator: np.random.Generator) -> list[Span]:
        number = int(generator.integers(documents[-1]))
        which = int(np.searchsorted(documents, number, side="right"))
        place = places[which]
        shard = pool[place]
        own = number - int(documents[which]) + manifest.shards[place].documents
        span = Span(place, shard.document_start(own), shard.document_start(own + 1))
        holes = manifest.holes.get(manifest.shards[place].path)
        is_there = holes is None or any(holes.rest(span.start, span.stop))
        return list(_documents_in(pool, span)) if is_there else []

    return draw


def _documents_in(pool: ShardPool, span: Span) -> Iterator[Span]:
    """The parts of documents in a span, without the EOS that ends each."""
    shard = pool[span.shard]
    starts = [span.start, *shard.document_starts(span.start + 1, span.stop).tolist(), span.stop]
    for start, stop in pairwise(starts):
        ends = shard.document_start(shard.document_at(start) + 1)
        yield Span(span.shard, start, stop - 1 if stop == ends else stop)


def _excerpts(manifest: Manifest, draw: Draw, length: int, generator: np.random.Generator, split: str) -> list[Excerpt]:
    """SAMPLES of them, or as many different ones as there are."""
    pool = ShardPool(manifest)
    found: dict[tuple[int, int], Excerpt] = {}
    in_vain = 0
    while len(found) < SAMPLES and in_vain < TRIES:
        in_vain += 1
        parts = [part for part in draw(generator) if part.stop - part.start >= length]
        if not parts:
            continue
        part = parts[int(generator.integers(len(parts)))]
        first = part.start + int(generator.integers(part.stop - part.start - length + 1))
        if (part.shard, first) not in found:
            tokens = pool[part.shard].read(first, first + length).tolist()
            found[part.shard, first] = Excerpt(part.shard, first, tuple(tokens))
            in_vain = 0
    if not found:
        raise UserError(
            f"no document of split {split} is long enough to ask for its continuation",
            where=manifest.folder,
            wanted=f"{length} tokens in a row of one document",
        )
    return list(found.values())


@torch.no_grad()
def _repeated(asked: Asked, excerpts: list[Excerpt], prompt: int) -> list[int]:
    """How many tokens of each continuation greedy decoding gives before it gives another."""
    told = [0.0] * len(excerpts)
    rank, world = (0, 1) if asked.ranks is None else (asked.ranks.data_rank, asked.ranks.data_size)
    for start in range(rank * ROWS_AT_ONCE, len(excerpts), world * ROWS_AT_ONCE):
        batch = excerpts[start : start + ROWS_AT_ONCE]
        tokens_BS = torch.tensor([excerpt.tokens for excerpt in batch], device=asked.loaded.device)
        targets_BS = tokens_BS[:, 1:].clone()
        targets_BS[:, : prompt - 1] = IGNORED
        found, _ = asked.loaded.model(tokens_BS[:, :-1], targets_BS=targets_BS, criterion=token_scores(targets_BS))
        scores = TokenScores(*found)
        likeliest_BS = scores.likeliest_N.view(len(batch), -1)
        told[start : start + len(batch)] = likeliest_BS.long().cumprod(1).sum(1).tolist()
    return [round(value) for value in (told if asked.ranks is None else asked.ranks.sum_all(told))]


def _figures(repeated: list[int], n: int) -> dict[str, Any]:
    hits = sum(value == n for value in repeated)
    return {
        "excerpts": len(repeated),
        "exact": hits / len(repeated),
        "interval": of_share(hits, len(repeated)),
        "prefix": fmean(repeated) / n,
    }


def _apart(items: dict[str, list[dict[str, Any]]], n: int) -> dict[str, Any]:
    ours, theirs = ([item["repeated"] for item in items[name]] for name in ("training", "held_out"))
    hits, other_hits = (sum(value == n for value in values) for values in (ours, theirs))
    exact = of_shares_apart(hits, len(ours), other_hits, len(theirs))
    prefix = of_means_apart([value / n for value in ours], [value / n for value in theirs])
    return {
        "exact": hits / len(ours) - other_hits / len(theirs),
        "interval": exact,
        "prefix": (fmean(ours) - fmean(theirs)) / n,
        "prefix_interval": prefix,
        "is_shown": exact[0] > 0 or prefix[0] > 0,
    }


def memorisation_lines(figures: dict[str, Any]) -> list[str]:
    """The figures, for reading."""
    lines = []
    for name in ("training", "held_out"):
        own = figures[name]
        low, high = own["interval"]
        lines.append(
            f"memorisation: of {own['excerpts']} excerpts of {name.replace('_', '-')} documents {own['exact']:.1%} "
            f"({low:.1%} to {high:.1%}) are repeated word for word, on average {own['prefix']:.1%} of their tokens"
        )
    apart = figures["difference"]
    low, high = apart["interval"]
    verdict = "shown" if apart["is_shown"] else "not shown"
    return [*lines, f"  difference  {apart['exact']:+.1%} ({low:+.1%} to {high:+.1%}): memorisation is {verdict}"]
