"""The evidence of a release: every fact that its documents state and its gate compares, as plain values.

Read once from the run (`gather`), written as `evidence.json` into the release, and read again by whoever verifies it:
documents are functions of it and of the answers alone. No path and no host of the machines that trained stands in it.
What was not measured is None, or "not measured".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import orjson
import pydantic

from clapas.recipe.errors import UserError
from clapas.recipe.typed import Section
from clapas.release.layout import EVIDENCE


class StepTotals(Section):
    """What a step of a build took in and gave out, in documents and UTF-8 bytes; `counts`: what else it counted."""

    name: str
    documents_in: int
    documents_out: int
    bytes_in: int
    bytes_out: int
    changed: int
    reasons: dict[str, int]
    counts: dict[str, int]
    options: dict[str, Any]


class ShardFacts(Section):
    """A shard of training data; hashes of its tokens and index, None for bare shards, of which nobody knows."""

    path: str
    bin_sha256: str | None
    idx_sha256: str | None
    documents: int
    tokens: int


class Domains(Section):
    """Where a crawled source's training documents come from. hosts: how many internet domains. text_bytes: of all
    documents with an address. top: the largest tenth of the domains, with the bytes of their text, largest first."""

    hosts: int
    text_bytes: int
    top: tuple[tuple[str, int], ...]


class SourceFacts(Section):
    """A source of training data.

    documents, tokens, text_bytes: of its training split that could be read (without what was removed).
    tokens_read: by the run, repetitions counted; they sum to the run's tokens. contains: `personal`, `health`.
    steps: the counts of this source's documents, step by step; empty where the build kept none by source.
    domains: of a crawled source, None of others. listing: of local files, a hash of their names and sizes.
    """

    name: str
    licence: str
    revision: str | None
    date: str | None
    url: str | None
    origin: str | None
    sha256: str | None
    domain: str | None
    language: str | None
    caveats: tuple[str, ...]
    contains: tuple[str, ...]
    documents: int
    tokens: int
    text_bytes: int | None
    tokens_read: int
    shards: tuple[ShardFacts, ...]
    steps: tuple[StepTotals, ...]
    domains: Domains | None = None
    listing: str | None = None


class DataFacts(Section):
    """A corpus, as a run read it. of: the run's name and whether it is this run, one that it branched from, or one that
    trained the model that it began with. removed_before, removed_since: documents removed before and since that run.
    chat_template: SHA-256 of the template that made examples of conversations, None where none did.
    """

    of: str
    relation: Literal["this", "branch", "base"]
    name: str
    manifest_hash: str
    revision: int
    kind: str
    """`text`, or the kind of examples: conversations, pairs, labelled, prompts."""
    chat_template: str | None
    tokenizer_hash: str | None
    eos: int | None
    bos: int | None
    pad: int | None
    uses_bos: bool
    removed_before: int
    removed_since: int
    sources: tuple[SourceFacts, ...]
    steps: tuple[StepTotals, ...]
    tokens_read: int


class RunFacts(Section):
    """A run of ours that made a model which this one stands on, or that this one branched from.

    step: the checkpoint that was left; tokens: read until then. tokens_computed, flops, seconds, accelerator_seconds,
    energy_joules: its own work until then, without what it stood on itself, which is listed beside it: each run is
    listed once. objective: its recipe's; has_adapters: whether it trained these alone.
    """

    name: str
    identity: str
    step: int
    objective: dict[str, Any]
    has_adapters: bool
    tokens: int
    tokens_computed: int
    flops: float
    seconds: float
    accelerator_seconds: float
    energy_joules: float | None
    energy_boundary: str | None


class BaseFacts(Section):
    """A model that the run began with or learned from. folder: the name of its folder. kind: None where it is gone.

    role: its weights were the first ones, it is an adapter that the run went on with, or a teacher. seal: of its
    weights. run: where it is one of ours at hand. declared_licence: what its own card says (`license`). of: the run
    that used it: this one, or another of the lineage.
    """

    folder: str
    of: str
    role: Literal["weights", "adapter", "teacher"]
    kind: Literal["huggingface", "checkpoint"] | None
    seal: str | None
    declared_licence: str | None
    run: RunFacts | None


class Compute(Section):
    """What training took, over all segments. flops: the model's own, as the ledger counts them, repeated work included.

    flops_by_parameters: 6 x parameters that multiply x tokens computed: the second method. peak_flops: of a rank's
    device, where known. seconds: wall; accelerator_seconds: times ranks. began, ended: UTC, ISO 8601, to the second.
    """

    flops: float
    flops_by_parameters: float
    seconds: float
    accelerator_seconds: float
    segments: int
    restarts: int
    rollbacks: int
    skipped_updates: int
    checkpoints: int
    hosts: int
    ranks: tuple[int, ...]
    devices: tuple[str, ...]
    began: str
    ended: str
    energy_joules: float | None
    energy_boundary: str | None
    versions: dict[str, str]


class Loss(Section):
    """A logged training loss."""

    step: int
    loss: float


class HeldOut(Section):
    """A validation row: of a split at a step. bits_per_byte and text_bytes are None for examples."""

    step: int
    split: str
    loss: float
    tokens: int | None
    bits_per_byte: float | None
    text_bytes: int | None


class Measured(Section):
    """A recorded measurement (`clapas eval --record`) of this checkpoint. file, items: names in `evaluations/` of the
    release; figures: flat, name -> number. content: the whole record, without its items."""

    kind: str
    file: str
    sha256: str
    items: str
    items_sha256: str
    figures: dict[str, Any]
    content: dict[str, Any]


class Evidence(Section):
    """All of it. time: UTC, when it was gathered, ISO 8601 to the second: the date of every document.

    recipe: as resolved, without paths. model: the config's facts (`ModelConfig.facts`), `parameters` and
    `active_parameters` of the model as trained (before padding rows are cut). steps: of the run. tokens: that it has
    read, with those that the runs read which it branched from. objective: its name. losses: at most 400 rows, evenly
    over the run.
    """

    version: Literal[1] = 1
    clapas: str
    time: str
    run: str
    identity: str
    execution: str
    checkpoint: str
    checkpoint_seal: str
    step: int
    steps: int
    tokens: int
    tokens_computed: int
    objective: str
    adapters: dict[str, Any] | None
    recipe: dict[str, Any]
    model: dict[str, Any]
    parameters: int
    active_parameters: int
    sequence_lengths: tuple[int, ...]
    compute: Compute
    losses: tuple[Loss, ...]
    held_out: tuple[HeldOut, ...]
    data: tuple[DataFacts, ...]
    bases: tuple[BaseFacts, ...]
    stems: tuple[RunFacts, ...]
    """The runs that this one, and those that it stands on, branched from."""
    missing_stems: tuple[str, ...]
    """Runs that this one comes from, whose folder or data are gone: what they read is not known here."""
    measured: tuple[Measured, ...]
    branch: dict[str, Any] | None

    @property
    def own_data(self) -> DataFacts:
        """What this run itself read."""
        return next(data for data in self.data if data.relation == "this")

    def to_json(self) -> bytes:
        """As `evidence.json` holds it: the same evidence gives the same bytes."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_evidence(folder: Path) -> Evidence:
    """The evidence in a release's folder. Raises UserError where there is none, or it is of another version."""
    path = folder / EVIDENCE
    try:
        return Evidence.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError("no evidence here", where=path, wanted="a folder that `clapas release` wrote") from None
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"not a release's evidence: {place}: {first['msg']}", where=path) from None
