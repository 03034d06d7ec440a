"""What the reference model says of every document that a run reads: computed once, stored, read on every resume.

The reference of a preference run is the policy as it begins (with LoRA: the base, of which the adapters have not yet
changed anything), so no second model is ever held. Before the first step all ranks share one pass over the documents
that the run will read and those that it validates on; RUN/reference.safetensors appears whole or not at all:

    documents   (M,) int64    numbers among all of the manifest's documents
    logps       (M,) float32  log-probability of each one's answer
    mismatched  (M,) float32  the same of the answer that KTO sets against another's prompt

Its metadata hold the run's identity, the SHA-256 of these bytes and the length at which mismatched answers were cut. A
run that gets further stages has another identity and the same reference, so the file of any of its segments is its own.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from clapas.checkpoint.committed import committed_checkpoints
from clapas.ledger.ledger import read_ledger
from clapas.loader.batch import Batch, collate, pad_token, read_examples, shortest_length
from clapas.loader.shard_pool import ShardPool
from clapas.loader.stream import Span
from clapas.recipe.errors import ClapasError, UserError
from clapas.recipe.files import atomic_write
from clapas.tune.objective import Training
from clapas.tune.read_by_run import documents_of, spans_of_held_out, spans_of_run

FILE = "reference.safetensors"
SOUND = "sound"

Score = Callable[[Any, Batch], Tensor]
"""(model, batch) -> (N,), of each document."""
Tables = dict[str, np.ndarray]


class Batches(NamedTuple):
    """So many batches, each made when asked for by its number."""

    total: int
    make: Callable[[int], Batch]


Mismatched = Callable[[Training, Sequence[int]], Batches]
"""(run, documents' numbers) -> the same documents, each with another's answer."""


class Reference:
    """The reference's log-probabilities, by document. `begin` makes or reads them.

    score: how a batch's documents are scored. mismatched: what KTO's second table is of.
    """

    def __init__(self, score: Score, mismatched: Mismatched | None = None) -> None:
        self._score, self._mismatched = score, mismatched
        self._tables: dict[str, Tensor] = {}

    def logps(self, batch: Batch) -> Tensor:
        """(N,): of the batch's documents."""
        return self._of("logps", batch)

    def mismatched(self, batch: Batch) -> Tensor:
        """(N,): of the batch's documents, each with another's answer."""
        return self._of("mismatched", batch)

    def _of(self, table: str, batch: Batch) -> Tensor:
        assert batch.documents is not None
        return self._tables[table][batch.documents]

    def begin(self, run: Training) -> None:
        """Read the run's tables, or make and store them before the first step. Collective.

        Raises UserError where a run that has trained already lacks them.
        """
        samples = [*spans_of_run(run), *spans_of_held_out(run)]
        pool, path = ShardPool(run.plan.manifest), run.path / FILE
        numbers = np.unique([number for spans in samples for number in documents_of(pool, spans)])
        has_trained = run.step > 0 and bool(committed_checkpoints(run.path / "checkpoints"))
        state = run.ranks.broadcast(_state(run, path, numbers, has_trained=has_trained) if run.is_first else None)
        if state == SOUND:
            content = load(path.read_bytes())
        else:
            if run.ranks.sum(float(has_trained)):
                with run.ranks.said_once():
                    raise _lost(path, state or "")
            content = self._make(run, samples, numbers)
        size = sum(shard.documents for shard in run.plan.manifest.shards)
        for name in content.keys() - {"documents"}:
            table = torch.full((size,), float("nan"))  # what is not covered spoils the loss: it cannot pass unseen
            table[torch.from_numpy(content["documents"])] = torch.from_numpy(content[name])
            self._tables[name] = table.to(run.ranks.device)

    def _make(self, run: Training, samples: list[list[Span]], numbers: np.ndarray) -> Tables:
        began = time.perf_counter()
        passes = {"logps": packs(run, samples)}
        if self._mismatched is not None:
            passes["mismatched"] = self._mismatched(run, numbers.tolist())
        found = {name: self._pass(run, batches)[numbers].astype(np.float32) for name, batches in passes.items()}
        content = {"documents": numbers, **found}
        error = None
        if run.is_first:
            try:
                atomic_write(run.path / FILE, _sealed(content, run.identity, longest(run)))
            except OSError as problem:
                error = f"{run.path / FILE}: cannot write the reference: {problem.strerror}"
        if agreed := run.ranks.agree_on_error(error):
            raise ClapasError(agreed)
        run.record("reference", documents=len(numbers), seconds=round(time.perf_counter() - began, 3), file=FILE)
        return content

    @torch.no_grad()
    def _pass(self, run: Training, batches: Batches) -> np.ndarray:
        """(all documents,) float64: the ranks share the batches, and all learn of all."""
        manifest, ranks = run.plan.manifest, run.ranks
        table = np.zeros(sum(shard.documents for shard in manifest.shards))
        nothing = collate([read_examples(ShardPool(manifest), [])], 1, pad_token(manifest))
        model = run.heart.beside(run.engine)
        for first in range(0, batches.total, ranks.data_size):
            place = first + ranks.data_rank
            batch = batches.make(place) if place < batches.total else nothing  # all call the model equally often
            values_N = self._score(model, batch.to(ranks.device))
            assert batch.documents is not None
            table[batch.documents.numpy()] = values_N.double().cpu().numpy()
        return np.array(ranks.sum_all(table.tolist()))


def packs(run: Training, samples: list[list[Span]]) -> Batches:
    """Samples in batches of `evaluation.batch_size`, of like lengths: little padding."""
    ordered = sorted(samples, key=lambda spans: sum(span.stop - span.start for span in spans))
    size = run.recipe.evaluation.batch_size
    most = max(run.recipe.data.sequence_length, longest(run))
    pool, pad = ShardPool(run.plan.manifest), pad_token(run.plan.manifest)

    def make(number: int) -> Batch:
        read = [read_examples(pool, spans) for spans in ordered[number * size : (number + 1) * size]]
        return collate(read, shortest_length(read, most), pad)

    return Batches(-(-len(ordered) // size), make)


def longest(run: Training) -> int:
    """The longest sequence of any phase of a run: what mismatched documents are cut to."""
    return max(phase.sequence_length for phase in run.plan.phases)


def _state(run: Training, path: Path, numbers: np.ndarray, *, has_trained: bool) -> str:
    """`SOUND`, or what is wrong with a stored reference. has_trained: the run goes on after a checkpoint of its own,
    which the start has found to be of this run, whatever stages it has got since."""
    if not path.is_file():
        return "it is not there"
    try:
        metadata, content = _metadata(path), load(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        return f"it cannot be read: {error}"
    if metadata.get("sha256") != _digest(content):
        return "its bytes are not those that were written"
    if metadata.get("identity") not in {run.identity, *(_identities_before(run) if has_trained else ())}:
        return "it is of another run"
    if metadata["identity"] != run.identity and "mismatched" in content:
        cut = metadata.get("longest")
        if cut != str(longest(run)):
            return f"mismatched answers were cut at {cut} tokens, and a stage now reads {longest(run)}"
    missing = len(np.setdiff1d(numbers, content["documents"]))
    return f"it lacks {missing:,} documents that the run will read" if missing else SOUND


def _identities_before(run: Training) -> set[str]:
    """Those that the run had in its segments: with every stage that is added it gets another."""
    return {event["identity"] for event in read_ledger(run.path) if event["event"] == "segment_start"}


def _lost(path: Path, found: str) -> UserError:
    return UserError(
        "the reference log-probabilities of this run are needed, and its weights are no longer those that made them",
        where=path,
        found=found,
        wanted="the file that the run's first segment wrote",
        way_out="bring it back from a copy; or make it again: start the same recipe, of the same length, in another "
        "run_dir, stop it (Ctrl-C) after its first step, and copy its reference.safetensors here",
    )


def _sealed(content: Mapping[str, np.ndarray], identity: str, cut: int) -> bytes:
    return save(dict(content), metadata={"identity": identity, "longest": str(cut), "sha256": _digest(content)})


def _digest(content: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(content):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(content[name]).tobytes())
    return digest.hexdigest()


def _metadata(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return header.get("__metadata__", {})
