"""Kahneman-Tversky optimisation: answers good or bad by themselves (Ethayarajh et al., 2024, arXiv:2402.01306).

    desirable:    loss = w_desirable (1 - sigmoid(beta (r - KL)))
    undesirable:  loss = w_undesirable (1 - sigmoid(beta (KL - r)))

r is the answer's log-ratio to the reference. KL is how far the policy has gone: the mean log-ratio of mismatched
answers (`mismatched`), not below 0 and without gradient. TRL takes that mean over a micro-batch and all ranks; here it
is over the documents of the step, all its micro-batches and ranks, with the weights before the step: one number a step,
whatever the splits, and TRL's where a step is one micro-batch. Units are documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from clapas.loader.batch import Batch
from clapas.recipe.errors import UserError
from clapas.tune.config import Kto
from clapas.tune.mismatched import Mismatched
from clapas.tune.objective import Objective, Training
from clapas.tune.preference import answer_logps, by_sample, document_counts, score_answers
from clapas.tune.reference import Batches, Reference, longest
from clapas_data.examples import column
from clapas_data.manifest import MANIFEST, Manifest

LABEL = "label"
"""The column of the documents table that tells whether an answer is desirable."""
DOCUMENTS_AT_ONCE = 64
"""Mismatched documents of one batch when the reference is made."""


def kto(config: Kto) -> Objective:
    """The objective `kto`."""
    step = KtoStep(config)
    return Objective(step.loss, counts=document_counts, begin=step.begin, prepare=step.prepare, evaluate=step.evaluate)


class KtoStep:
    """The loss of one step at a time.

    kl: the step's. desirable, documents: how many the step has, over all ranks.
    """

    def __init__(self, config: Kto) -> None:
        self.config, self.kl, self.desirable, self.documents = config, 0.0, 0.0, 0.0
        self._reference = Reference(answer_logps, self._mismatched_batches)

    def begin(self, run: Training) -> None:
        """`Objective.begin`: labels, mismatched documents, the reference."""
        manifest = run.plan.manifest
        self._labels = torch.tensor(labels_of(manifest))
        splits = [run.plan.split]
        if run.recipe.evaluation.split in manifest.splits:
            splits.append(run.recipe.evaluation.split)
        self._mismatched = Mismatched(manifest, splits, longest(run))
        self._ranks = run.ranks
        self._reference.begin(run)

    def _mismatched_batches(self, _: Training, numbers: Sequence[int]) -> Batches:
        def make(place: int) -> Batch:
            return self._mismatched.batch(numbers[place * DOCUMENTS_AT_ONCE : (place + 1) * DOCUMENTS_AT_ONCE])

        return Batches(-(-len(numbers) // DOCUMENTS_AT_ONCE), make)

    def prepare(self, run: Training, batches: list[Batch]) -> list[Batch]:
        """`Objective.prepare`: the step's KL term, and how many of its answers are desirable."""
        self._agree(run.engine, batches)
        return batches

    @torch.no_grad()
    def _agree(self, model: Any, batches: Sequence[Batch]) -> None:
        ratios = torch.zeros((), dtype=torch.float64, device=self._ranks.device)
        desirable = documents = 0
        for batch in batches:
            assert batch.documents is not None
            numbers = batch.documents.cpu()
            mismatched = self._mismatched.batch(numbers.tolist()).to(self._ranks.device)
            ratios += (answer_logps(model, mismatched) - self._reference.mismatched(mismatched)).double().sum()
            desirable += int(self._labels[numbers].sum())
            documents += len(numbers)
        total, self.desirable, self.documents = self._ranks.sum_all([ratios.item(), float(desirable), float(documents)])
        self.kl = max(0.0, total / max(1.0, self.documents))

    def loss(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """`Objective.loss`."""
        total, losses_B, parts = self._parts(model, batch)
        shares = {"chosen": self.desirable, "rejected": self.documents - self.desirable}
        columns = {"kl": total.new_tensor(self.kl * int(document_counts(batch).sum()))}
        for name, value in parts.items():
            if share := shares[name.rpartition("/")[2]]:  # the loop divides by all documents
                columns[name] = value * (self.documents / share)
        if all(shares.values()):
            columns["rewards/margins"] = columns["rewards/chosen"] - columns["rewards/rejected"]
        return total, losses_B, columns

    def evaluate(self, model: Any, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor | int]]:
        """`Objective.evaluate`: the KL term is that of the batch, over all ranks."""
        self._agree(model, [batch])
        _, losses_B, parts = self._parts(model, batch)
        assert batch.documents is not None
        documents, desirable = len(batch.documents), int(self._labels[batch.documents.cpu()].sum())
        counts = {"chosen": desirable, "rejected": documents - desirable}
        found = {name: (value, counts[name.rpartition("/")[2]]) for name, value in parts.items()}
        kl = losses_B.new_tensor(self.kl * documents)
        return {"loss": (losses_B.sum(), documents), "kl": (kl, documents), **found}

    def _parts(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(what is minimised, each sample's loss, sums of rewards and log-probabilities by label)."""
        assert batch.documents is not None
        config, answers = self.config, score_answers(model, batch)
        ratios_N = answers.logps - self._reference.logps(batch)
        is_desirable_N = self._labels.to(batch.documents.device)[batch.documents]
        sign_N = torch.where(is_desirable_N, 1.0, -1.0)
        weight_N = torch.where(is_desirable_N, config.desirable_weight, config.undesirable_weight)
        losses_N = weight_N * (1 - torch.sigmoid(config.beta * sign_N * (ratios_N - self.kl)))
        parts = {}
        for name, mask_N in (("chosen", is_desirable_N), ("rejected", ~is_desirable_N)):
            parts[f"rewards/{name}"] = (config.beta * ratios_N.detach() * mask_N).sum()
            parts[f"logps/{name}"] = (answers.logps.detach() * mask_N).sum()
        total = losses_N.sum() + answers.balance * len(losses_N)
        return total, by_sample(losses_N, document_counts(batch)), parts


def labels_of(manifest: Manifest) -> list[bool]:
    """Whether each document is desirable, in the manifest's order. Raises UserError where nothing says so."""
    try:
        return [bool(label) for label in column(manifest, LABEL)]
    except (KeyError, OSError, ValueError):
        raise UserError(
            "these examples have no labels",
            where=manifest.folder / MANIFEST,
            found=f"a documents table without the column {LABEL!r}",
            wanted="true for an answer that is good, false for one that is not",
            way_out="clapas data chat --kind labelled",
        ) from None
