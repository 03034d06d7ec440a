"""`clapas release RUN`: the model with all that a stranger needs to use and check it, in one folder that appears whole.

In order: the export, what goes with it (GGUF, intermediate revisions), the evidence, the documents, the gate, the
signature. A draft that the gate keeps in leaves nothing behind but the gate's word.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clapas import __version__
from clapas.checkpoint.reader import CheckpointReader, open_checkpoint
from clapas.evaluate.record import EVALUATIONS
from clapas.recipe.errors import UserError
from clapas.recipe.recipe import Recipe
from clapas.release.answers import Answers
from clapas.release.documents.all import render_all
from clapas.release.documents.facts import Facts, facts_of
from clapas.release.evidence.evidence import Evidence
from clapas.release.evidence.gather import gather
from clapas.release.export import SHARD_BYTES, Precision, export
from clapas.release.gate.all_checks import BEFORE_SEALING, SEALED, UPLOADED
from clapas.release.gate.check import Draft, Result
from clapas.release.gate.gate import RefusedError, results_json, run_checks
from clapas.release.gate.live import LiveModel
from clapas.release.gate.stranger import Stranger
from clapas.release.gguf.about import about_release
from clapas.release.gguf.write import write_ggufs
from clapas.release.keys import load_private_key, public_pem
from clapas.release.layout import ANSWERS, EVIDENCE, PUBLIC_KEY, RESULTS, REVISIONS
from clapas.release.licences.texts import check_weights_licence
from clapas.release.out_folder import out_folder, refuse_to_replace
from clapas.release.revisions import dress_revisions, export_revisions, find_revisions
from clapas.release.signature import Keyless, LocalKey, seal, signed_by
from clapas.release.sums import Digests
from clapas.train.run_folder import read_run_recipe


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a release is to hold. signer: who signs. dtype: of the weights. shard_bytes: most bytes of a file of them.
    gguf: quantisations beside them. revisions: steps of intermediate checkpoints."""

    signer: LocalKey | Keyless
    dtype: Precision = "bf16"
    shard_bytes: int = SHARD_BYTES
    gguf: tuple[str, ...] = ()
    revisions: tuple[int, ...] = ()


def release(run: Path, out: Path, answers: Answers, wishes: Wishes) -> dict[str, Any]:
    """Write a finished run as the folder `out`; returns what its release.json says.

    Raises UserError where the run is not finished, a licence is none that weights may have, the key is no key, or `out`
    holds anything; RefusedError, with every check's result, where the gate keeps it in.
    """
    refuse_to_replace(out)
    check_weights_licence(answers.model.licence, answers.place("model.licence"))
    if isinstance(wishes.signer, LocalKey):
        load_private_key(wishes.signer.path)
    with Stranger() as stranger, out_folder(out) as folder:  # it imports transformers meanwhile
        draft = draft_release(run, folder, answers, wishes, stranger)
        results = run_checks(draft, BEFORE_SEALING)
        if any(result.blocks for result in results):
            raise RefusedError(results, run)
        return seal_draft(draft, results, wishes.signer)


def draft_release(run: Path, folder: Path, answers: Answers, wishes: Wishes, stranger: Stranger) -> Draft:
    """All of a release but its signature, in a new folder. Raises UserError where the run is not finished."""
    recipe = read_run_recipe(run)
    reader, checkpoints = _finished(run, recipe), find_revisions(run, wishes.revisions)
    crawled = [name for name, source in answers.training_content.sources.items() if source.kind == "crawled"]
    evidence = gather(run, reader, crawled=crawled)
    folder.mkdir(exist_ok=True)
    _export(run, reader, folder, evidence, answers, wishes)
    names = export_revisions(folder, run, recipe, checkpoints, wishes.dtype, wishes.shard_bytes)
    digests = Digests()
    facts = write_documents(folder, evidence, answers, digests, wishes.signer)
    dress_revisions(folder, names, evidence, answers.model.name, answers.model.licence)
    live = LiveModel(run, reader.folder)
    return Draft(folder, evidence, answers, live, stranger, wishes.gguf, tuple(names), digests=digests, facts=facts)


def _finished(run: Path, recipe: Recipe) -> CheckpointReader:
    """The run's last checkpoint. Raises UserError where the run goes on."""
    reader = open_checkpoint(run)
    if reader.step != recipe.total_steps:
        found, wanted = f"step {reader.step}", f"step {recipe.total_steps}"
        raise UserError("this run is not finished", where=run, found=found, wanted=wanted, way_out="`clapas train`")
    return reader


def _export(
    run: Path, reader: CheckpointReader, folder: Path, evidence: Evidence, answers: Answers, wishes: Wishes
) -> None:
    """Weights and tokenizer, their GGUF, and what was measured, with every answer behind it."""
    export(reader.folder, folder, dtype=wishes.dtype, shard_bytes=wishes.shard_bytes)
    write_ggufs(folder, wishes.gguf, about_release(evidence, answers))
    if evidence.measured:
        (folder / EVALUATIONS).mkdir()
    for measured in evidence.measured:
        (folder / EVALUATIONS / measured.file).write_bytes(_pretty(measured.content))
        shutil.copyfile(run / EVALUATIONS / measured.items, folder / EVALUATIONS / measured.items)


def write_documents(
    folder: Path, evidence: Evidence, answers: Answers, digests: Digests, signer: LocalKey | Keyless
) -> Facts:
    """The evidence, the answers, and all that follows from them and from the files that are there, whose facts it
    returns."""
    if isinstance(signer, LocalKey):
        (folder / PUBLIC_KEY).write_bytes(public_pem(load_private_key(signer.path)))
    (folder / EVIDENCE).write_bytes(evidence.to_json())
    (folder / ANSWERS).write_text(answers.to_yaml(), encoding="utf-8")
    facts = facts_of(folder, evidence, answers, digests, signed_by(signer))
    for name, content in render_all(facts).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return facts


def seal_draft(draft: Draft, results: Sequence[Result], signer: LocalKey | Keyless) -> dict[str, Any]:
    """Sign, check the signature on a copy, say so in release.json, and sign that too; weights are read once."""
    name = draft.answers.model.name
    for revision in draft.revisions:
        seal(draft.folder / REVISIONS / revision, draft.digests, signer, f"{name}, {revision}")
    _write_results(draft, results)
    seal(draft.folder, draft.digests, signer, name)
    results = (*results, *run_checks(draft, (SEALED, UPLOADED)))
    said = _write_results(draft, results)
    seal(draft.folder, draft.digests, signer, name)
    results = (*results, *run_checks(draft, (SEALED,)))
    if any(result.blocks for result in results):
        raise RefusedError(tuple(results), draft.evidence.run)
    return said


def _write_results(draft: Draft, results: Sequence[Result]) -> dict[str, Any]:
    """release.json: what was released, and each check's result."""
    said = {
        "version": 1,
        "clapas": __version__,
        "name": draft.answers.model.name,
        "model_version": draft.answers.model.version,
        "time": draft.evidence.time,
        "run": draft.evidence.run,
        "identity": draft.evidence.identity,
        "checkpoint": draft.evidence.checkpoint,
        "checkpoint_seal": draft.evidence.checkpoint_seal,
        "revisions": list(draft.revisions),
        "checks": results_json(results),
    }
    (draft.folder / RESULTS).write_bytes(_pretty(said))
    return said


def _pretty(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
