"""A draft with a model's files alone: what checks 8 to 12 are tried on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tests.release.drafts import small_answers, small_evidence

from clapas.checkpoint.reader import open_checkpoint
from clapas.release.export import export
from clapas.release.gate.check import Check, Draft, Result
from clapas.release.gate.checks import held_out_loss, loading, logits, template, tokenizer
from clapas.release.gate.gate import run_checks
from clapas.release.gate.live import LiveModel
from clapas.release.gate.stranger import Stranger

CHECKS: Sequence[Check] = tuple(module.CHECK for module in (tokenizer, template, loading, logits, held_out_loss))


def draft_of(run: Path, folder: Path, stranger: Stranger, dtype: Literal["bf16", "fp32"] = "bf16") -> Draft:
    """A run's exported weights."""
    reader = open_checkpoint(run)
    export(reader.folder, folder, dtype=dtype)
    return Draft(folder, small_evidence(run), small_answers(), LiveModel(run, reader.folder), stranger)


def results(draft: Draft) -> dict[int, Result]:
    """What checks 8 to 12 say, by number."""
    return {result.number: result for result in run_checks(draft, CHECKS)}


def blocking(draft: Draft) -> set[int]:
    """The checks that keep it in."""
    return {number for number, result in results(draft).items() if result.blocks}
