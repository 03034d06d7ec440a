"""Computing counted a second time, and what stands beside training: every objective."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.release.drafts import answer_values, small_answers, small_evidence
from tests.tune.every_kind import run_all, settings, write_folders

from clapas.release.ai_act import Verdicts, verdicts
from clapas.release.answers import Answers
from clapas.release.evidence.evidence import BaseFacts, Evidence, RunFacts
from clapas.release.training_compute import TOLERANCE, Recount, recount, work_of

SEVERAL = ("sft", "sft, LoRA", "dpo", "dpo, LoRA", "kto", "distillation", "grpo", "grpo, LoRA")
"""Kinds of training: one of each way in which batches are made."""


@pytest.fixture(scope="module")
def evidence(trained_run: Path) -> Evidence:
    """Of the tests' finished run."""
    return small_evidence(trained_run)


def with_objective(evidence: Evidence, objective: dict[str, Any], adapters: bool = False) -> Evidence:
    """The same run, as if it had minimised something else."""
    recipe = {**evidence.recipe, "objective": objective}
    return evidence.model_copy(update={"recipe": recipe, "adapters": {"rank": 8} if adapters else None})


def stem(evidence: Evidence, identity: str, flops: float) -> RunFacts:
    """A run before this one."""
    return RunFacts(
        name=identity, identity=identity, step=10, objective={"name": "language_modelling"}, has_adapters=False,
        tokens=1000, tokens_computed=1000, flops=flops, seconds=1.0, accelerator_seconds=2.0, energy_joules=None,
        energy_boundary=None,
    )  # fmt: skip


def base(role: Any, run: RunFacts | None, folder: str = "base") -> BaseFacts:
    """A model that the run used."""
    return BaseFacts(
        folder=folder, of="this", role=role, kind="checkpoint", seal="0" * 64, declared_licence=None, run=run
    )


def test_the_ledger_and_the_architecture_agree_on_a_real_run(evidence: Evidence) -> None:
    """Two counts, made of different things: batches as they came, and matrices times tokens."""
    again = recount(evidence, evidence.active_parameters)
    assert again.agrees(evidence.compute.flops)
    assert not again.agrees(evidence.compute.flops * 2)
    assert not again.agrees(evidence.compute.flops / 2)


def test_attention_of_long_texts_is_in_the_second_count(evidence: Evidence) -> None:
    """Where sequences are long, 6 N D alone is far too little: both counts must know attention."""
    long = evidence.model_copy(update={"sequence_lengths": (100_000,)})
    simple = 6 * evidence.active_parameters * evidence.tokens_computed
    assert recount(long, evidence.active_parameters).least > 2 * simple


def test_frozen_matrices_multiply_four_times(evidence: Evidence) -> None:
    """LoRA: no gradient of its own for what does not learn."""
    short = evidence.model_copy(update={"sequence_lengths": (0,)})
    adapters = with_objective(short, short.recipe["objective"], adapters=True)
    assert recount(adapters, 900).most / recount(short, 900).most == pytest.approx(4 / 6)


def test_packed_examples_have_a_range(evidence: Evidence) -> None:
    """The head multiplies where something is learned, and nobody counted these positions a second time."""
    data = tuple(facts.model_copy(update={"kind": "conversations"}) for facts in evidence.data)
    again = recount(evidence.model_copy(update={"data": data}), evidence.active_parameters)
    assert again.least < again.most


def test_a_range_is_widened_by_the_tolerance() -> None:
    """30 % below the least, 30 % above the most."""
    again = Recount(100.0, 200.0)
    assert again.agrees(100 * (1 - TOLERANCE))
    assert again.agrees(200 * (1 + TOLERANCE))
    assert not again.agrees(69.0)
    assert not again.agrees(261.0)


@pytest.mark.parametrize(
    ("objective", "adapters", "share"),
    [
        ({"name": "language_modelling"}, False, 0.0),
        ({"name": "sft"}, False, 0.0),
        ({"name": "orpo"}, False, 0.0),
        ({"name": "dpo"}, False, 1 / 3),
        ({"name": "dpo"}, True, 1 / 2),
        ({"name": "kto"}, False, 3 / 3),
        ({"name": "grpo", "beta": 0.0}, False, 1 / 3),
        ({"name": "grpo", "beta": 0.1}, False, 2 / 3),
    ],
)
def test_passes_of_models_that_do_not_learn_count(
    evidence: Evidence, objective: dict[str, Any], adapters: bool, share: float
) -> None:
    """A forward pass is a third of training, half of it with adapters; references read, policies write."""
    work = work_of(with_objective(evidence, objective, adapters), small_answers())
    assert work.beside == pytest.approx(share * evidence.compute.flops)
    assert work.total == pytest.approx((1 + share) * evidence.compute.flops)


def test_a_teacher_counts_as_large_as_people_say(evidence: Evidence) -> None:
    """2 operations a parameter and token; where nobody says how large it is, the sum is a least."""
    distilled = with_objective(evidence, {"name": "distillation"}).model_copy(
        update={"bases": (base("teacher", None, "teacher"),)}
    )
    values = answer_values()
    teacher = {
        "name": "T", "revision": "1", "url": "https://t.example", "licence": "MIT", "attribution": "T",
        "summary": None, "training_flops": None, "parameters": 5_000_000,
    }  # fmt: skip
    said = Answers.model_validate({**values, "base_models": {"teacher": teacher}})
    assert work_of(distilled, said).beside == 2 * 5e6 * evidence.tokens_computed
    assert work_of(distilled, small_answers()).unknown == ("teacher",)


def test_each_run_of_the_lineage_counts_once(evidence: Evidence) -> None:
    """A branch, and a base that is the same run; a teacher's own training is not this model's."""
    first, second = stem(evidence, "a", 1e9), stem(evidence, "b", 2e9)
    with_stems = evidence.model_copy(
        update={
            "stems": (first,),
            "bases": (base("weights", first), base("weights", second), base("teacher", stem(evidence, "c", 4e9))),
        }
    )
    assert work_of(with_stems, small_answers()).training == pytest.approx(evidence.compute.flops + 3e9)


def test_a_run_that_is_gone_makes_the_sum_a_least(evidence: Evidence) -> None:
    """What it took is not known here."""
    gone = evidence.model_copy(update={"missing_stems": ("first",)})
    assert work_of(gone, small_answers()).unknown == ("first",)


@pytest.mark.slow
def test_both_counts_agree_on_every_kind_of_training(
    test_data: Path, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real runs of each kind of objective, with and without adapters, in batches of their own lengths."""
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path, test_data / "tokenizer")
    for name in ("base", "teacher"):
        (tmp_path / name).symlink_to(trained_run)
    run_all(tmp_path, "counts", [(settings(kind, f"runs/{place}"), 0) for place, kind in enumerate(SEVERAL)])
    for place, kind in enumerate(SEVERAL):
        found = small_evidence(tmp_path / f"runs/{place}")
        again = recount(found, found.active_parameters)
        assert again.agrees(found.compute.flops), (kind, again, found.compute.flops)
        assert "weights" in {base.role for base in found.bases}
        assert work_of(found, small_answers()).training > found.compute.flops, "the base's own training counts"


def test_who_goes_on_with_an_adapter_modifies_the_model_that_it_is_on(evidence: Evidence) -> None:
    """A third of the base's compute counts; the adapter's, a thousandth, is in the sum, and is not known to be all."""
    values, facts = answer_values(), evidence.model_copy(
        update={"bases": (base("weights", None, "lucie"), base("adapter", None, "chat"))}
    )  # fmt: skip
    own = work_of(facts, small_answers()).total

    def said(base_flops: float, adapter_flops: float | None) -> Verdicts:
        known = {"revision": "1", "url": "https://l.example", "licence": "MIT", "attribution": "L", "summary": None}
        asked = {"lucie": ("Lucie", base_flops), "chat": ("Chat", adapter_flops)}
        firsts = {folder: {"name": name, **known, "training_flops": flops} for folder, (name, flops) in asked.items()}
        return verdicts(facts, Answers.model_validate({**values, "base_models": firsts}))

    found = said(10 * own, own / 100)
    assert found.becomes_provider is False
    assert [each.name for each in found.modified] == ["Lucie"]
    assert found.total == pytest.approx(11.01 * own)
    assert not found.is_least
    assert said(10 * own, None).is_least
    assert said(2 * own, own / 100).becomes_provider
