"""How much computing a model took, counted twice, and what its ledger does not count.

The ledger adds up, batch by batch, what the model's own training needs. The second count knows nothing of batches: it
takes the matrices that are there, the tokens and the lengths of sequences (6 N D of Kaplan et al., 2020, which the
Commission's guidelines for general-purpose models, annex A.2, call the architecture-based approach, with attention).
Beside training, some objectives pass text through a model that does not learn: a reference, a teacher, or the model
itself, which writes what it then learns from. These forward passes contribute to what the model can do, and count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from clapas.release.answers import Answers
from clapas.release.evidence.evidence import Evidence
from clapas.release.stems import Part, parts
from clapas.tune.config import ObjectiveConfig

TOLERANCE = 0.30
"""By how much two counts of the same work may differ: the margin of error that the guidelines allow an estimate."""
OBJECTIVES = {
    get_args(kind.model_fields["name"].annotation)[0]: kind for kind in get_args(get_args(ObjectiveConfig)[0])
}


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations of all runs of the provider's that made the model.

    training: by the ledgers. beside: forward passes of models that did not learn, at most. unknown: runs and teachers
    of which nothing is known: the sum is then a least.
    """

    training: float
    beside: float
    unknown: tuple[str, ...]

    @property
    def total(self) -> float:
        """All of it."""
        return self.training + self.beside


def work_of(evidence: Evidence, answers: Answers) -> Work:
    """Over segments, stages, branches and the runs that trained what this one began with."""
    runs = parts(evidence)
    asked = {base.folder: answers.base_models.get(base.folder) for base in evidence.bases if base.role == "teacher"}
    sizes = [answer.parameters or 0 if answer else 0 for answer in asked.values()]
    silent = [folder for folder, size in zip(asked, sizes, strict=True) if not size]
    return Work(
        training=sum(part.flops for part in runs),
        beside=sum(_beside(part, sizes) for part in runs),
        unknown=(*evidence.missing_stems, *silent),
    )


def _beside(part: Part, teachers: list[int]) -> float:
    """Forward passes over what a run computed, of models as large as its own, and of teachers of these sizes."""
    if part.objective["name"] == "distillation":
        return sum(2.0 * size * part.tokens_computed for size in teachers)
    forward = part.flops / (2 if part.has_adapters else 3)  # frozen matrices multiply twice a token, others three times
    return forward * _passes(part.objective)


def _passes(objective: dict[str, Any]) -> int:
    """How many times what a run reads passes through a model that does not learn, at most."""
    if objective["name"] == "grpo":
        return 2 if objective["beta"] else 1  # the model writes; the reference reads
    kind = OBJECTIVES[objective["name"]]
    return kind.forward_before + kind.forward_beside


@dataclass(frozen=True, slots=True)
class Recount:
    """FLOPs between `least` and `most`: equal where all positions of a run are alike."""

    least: float
    most: float

    def agrees(self, flops: float) -> bool:
        """Whether another count lies within the tolerance of this one."""
        return self.least * (1 - TOLERANCE) <= flops <= self.most * (1 + TOLERANCE)


def recount(evidence: Evidence, multiplying: float) -> Recount:
    """The second count, of the released run. multiplying: numbers in the matrices that multiply for one token.

    Of text that is packed, the head multiplies at positions with a target alone, and rows are as long as they are:
    the least leaves out the head and attention.
    """
    model, objective = evidence.model, evidence.recipe["objective"]
    passes = 4 if evidence.adapters is not None else 6
    of_position = 12 * model["num_hidden_layers"] * model["num_attention_heads"] * model["head_dim"]
    shortest, longest = min(evidence.sequence_lengths), max(evidence.sequence_lengths)
    if evidence.own_data.kind == "text":
        least = passes * multiplying + of_position * shortest
    else:
        least = passes * (multiplying - model["vocab_size"] * model["hidden_size"])
    most = passes * multiplying + of_position * (longest + objective.get("max_new_tokens", 0))
    return Recount(least * evidence.tokens_computed, most * evidence.tokens_computed)
