"""Who teaches: which model, known by a seal of its weights, and what it says of a batch.

A teacher is frozen, whole on every rank, and outside DeepSpeed: it reads what the student reads, with the same document
masks and positions, and its logits are made in chunks of rows of which the likeliest tokens are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clapas.checkpoint.committed import COMMITTED
from clapas.checkpoint.reader import find_checkpoint
from clapas.evaluate.load import check_vocabulary, is_hf_folder, load
from clapas.loader.batch import NO_TARGET, Batch
from clapas.model.decoder import CausalLM
from clapas.model.seal import seal_of
from clapas.model.source_config import CONFIG, Source
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash, file_hash
from clapas.recipe.recipe import Recipe
from clapas.tune.config import Distillation
from clapas.tune.divergence import Told, told_by
from clapas.tune.rows_in_chunks import HELD, ROWS_AT_LEAST
from clapas_data.encode import open_tokenizer
from clapas_data.manifest import Manifest, TokenizerRecord
from clapas_kernels.linear_cross_entropy import rows_of_chunk

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Found:
    """A teacher on disk. folder: of its weights; of a run, its newest sound checkpoint. seal: see `find_teacher`."""

    folder: Path
    seal: str


def find_teacher(path: Path, where: str, run: Path) -> Found:
    """The teacher in a folder. Raises UserError, about the recipe's key `where`, where there is none.

    run: the folder of the run that asks, which may remember the files' hashes.

    The seal of a checkpoint is what its COMMITTED says; of a Hugging Face folder, the hash of its config and of every
    byte of its weights.
    """
    if not path.is_dir():
        wanted = "a Hugging Face folder, a run, a checkpoint, or what `clapas distil` stored"
        raise UserError("no such teacher", where=where, found=path, wanted=wanted)
    if not is_hf_folder(path):
        folder = find_checkpoint(path)
        return Found(folder, (folder / COMMITTED).read_text().strip())
    weights = seal_of(Source("huggingface", path), run)
    return Found(path, content_hash({"config": file_hash(path / CONFIG), "weights": weights}))


def check_same_tokenizer(recipe: Recipe, found: Found, manifest: Manifest) -> TokenizerRecord:
    """The tokenizer that made the data. Raises UserError where the teacher has another: it names other tokens."""
    data = manifest.tokenizer
    where = recipe.place("objective.teacher")
    if data is None:
        raise UserError(
            "nothing is known of the tokenizer of these shards, so nobody can tell whether it is the teacher's",
            where=recipe.data.path,
            way_out="build the data with the teacher's tokenizer: `clapas data build … --tokenizer TEACHER`",
        )
    kind = "huggingface" if is_hf_folder(found.folder) else "checkpoint"
    folder = Source(kind, found.folder).tokenizer()
    if folder is None:
        raise UserError(
            "the teacher's tokenizer is not where it should be, so nobody can tell whether it is the data's",
            where=where,
            found=found.folder,
            wanted="tokenizer.json and tokenizer_config.json beside its weights, or beside its run's data",
        )
    teacher = open_tokenizer(folder).record
    if teacher.hash != data.hash:
        raise UserError(
            "the teacher has another tokenizer than the data: its tokens are not the student's",
            where=where,
            found=f"{teacher.describe()} in {folder}",
            wanted=data.describe(),
            way_out="build the data with the teacher's tokenizer: `clapas data build … --tokenizer TEACHER`",
        )
    return data


def check_top_k(recipe: Recipe, objective: Distillation, tokenizer: TokenizerRecord) -> None:
    """Raise UserError where the vocabulary has fewer tokens than are asked for."""
    if objective.top_k > tokenizer.vocab_size:
        raise UserError(
            "objective.top_k: more tokens than there are",
            where=recipe.place("objective.top_k"),
            found=objective.top_k,
            wanted=f"at most {tokenizer.vocab_size}, the tokenizer's",
        )


class Teacher:
    """A frozen model that says what comes next.

    vocab_size: the tokenizer's ids; rows of the head beyond them are padding. top_k, temperature: as the recipe's.
    """

    def __init__(self, model: CausalLM, vocab_size: int, top_k: int, temperature: float) -> None:
        self.model, self.vocab_size, self.top_k, self.temperature = model, vocab_size, top_k, temperature

    @classmethod
    def of_recipe(cls, recipe: Recipe, objective: Distillation, device: torch.device) -> Teacher:
        """The recipe's teacher, on a device, in the precision that the student computes in."""
        found = find_teacher(objective.teacher, recipe.place("objective.teacher"), recipe.folder)
        loaded = load(found.folder, dtype=DTYPES.get(recipe.precision, torch.bfloat16), device=device)
        check_vocabulary(loaded.model.config, loaded.special, found.folder)
        loaded.model.requires_grad_(False)
        return cls(loaded.model, loaded.special.vocab_size, objective.top_k, objective.temperature)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.model.lm_head.weight.device

    @torch.no_grad()
    def say(self, batch: Batch) -> Told:
        """Of each of the batch's targets in row-major order. batch: on the teacher's device."""
        is_target_BS = batch.targets != NO_TARGET

        def criterion(hidden_BSE: Tensor, weight_VE: Tensor) -> Told:
            return self._of_rows(hidden_BSE[is_target_BS], weight_VE[: self.vocab_size])

        told, _ = self.model(
            batch.tokens,
            batch.positions,
            batch.document_ids,
            document_starts=batch.document_starts,
            targets_BS=batch.targets,
            criterion=criterion,
        )
        return told

    def _of_rows(self, hidden_NE: Tensor, weight_VE: Tensor) -> Told:
        rows = max(ROWS_AT_LEAST, rows_of_chunk(hidden_NE, weight_VE) // HELD)
        told = [
            told_by(hidden_NE[start : start + rows] @ weight_VE.t(), self.top_k, self.temperature)
            for start in range(0, max(1, len(hidden_NE)), rows)
        ]
        return Told(*(torch.cat(parts) for parts in zip(*told, strict=True)))
