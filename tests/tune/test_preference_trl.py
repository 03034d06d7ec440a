"""Losses, gradients and rewards on pairs and labelled answers equal those of the real TRL on the same batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pyarrow as pa
import pytest
import torch
from torch import nn

from clapas.engine.ranks import Ranks
from clapas.loader.batch import Batch
from clapas.loader.loader import Loader
from clapas.loader.plan import DataPlan
from clapas.model.build import build_model
from clapas.model.hf_config import to_hf_config
from clapas.model.init import initialise
from clapas.recipe.recipe import Recipe
from clapas.train.objective import BUILDERS
from clapas_data.manifest import open_manifest
from tune.examples import labelled, pairs, write_folder

MODEL = {
    "architecture": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 160,
    "vocab_size": 2048,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}
COUNT = 6

pytestmark = pytest.mark.slow  # importing trl alone takes seconds


class Ours(NamedTuple):
    """loss: of a step of one batch, a unit. norm: of its gradient. columns: means, as metrics.jsonl would have them."""

    loss: float
    norm: float
    columns: Mapping[str, float]


class Both(NamedTuple):
    """The same two models, policy and reference, as ours and as transformers'; a folder of examples; its documents."""

    policy: nn.Module
    reference: nn.Module
    hf_policy: Any
    hf_reference: Any
    folder: Path
    documents: list[tuple[list[int], list[int]]]
    tokenizer: Any


def recipe_of(folder: Path, objective: Mapping[str, Any]) -> Recipe:
    """A recipe whose one step reads the whole folder."""
    values: dict[str, Any] = {
        "name": "trl",
        "model": MODEL,
        "objective": objective,
        "data": {"path": str(folder), "sequence_length": 256},
        "train": {"steps": 1, "global_batch_size": 1},
        "schedule": {"name": "constant", "warmup_steps": 0},
    }
    samples = DataPlan.of_recipe(Recipe.model_validate(values)).stretches[0].samples[""]
    return Recipe.model_validate(values | {"train": {"steps": 1, "global_batch_size": samples}})


def both(folder: Path, tokenizer: Path) -> Both:
    """Two models that differ, and what the folder holds as (prompt, answer) of tokens."""
    import transformers

    recipe = recipe_of(folder, {"name": "dpo"})
    manifest = open_manifest(folder)
    assert manifest.tokenizer is not None
    fields = to_hf_config(
        recipe.model, eos=manifest.tokenizer.eos, bos=None, pad=manifest.tokenizer.pad, dtype="float32"
    )
    models: list[Any] = []
    for seed in (0, 1):
        own = build_model(recipe.model)
        initialise(own, seed)
        for parameter in own.parameters():
            parameter.data.mul_(1.5)  # far enough from uniform for all to matter
        theirs = cast(Any, transformers.LlamaForCausalLM(transformers.LlamaConfig(**fields)))
        theirs.load_state_dict(own.state_dict())
        models += [own, theirs]
    fast = transformers.PreTrainedTokenizerFast.from_pretrained(tokenizer)
    (batch,) = one_batch(recipe)
    assert batch.documents is not None
    documents: dict[int, tuple[list[int], list[int]]] = {}
    for place, number in enumerate(batch.documents.tolist()):
        inside = batch.segments == place
        first = int((batch.targets[inside] >= 0).int().argmax())
        tokens = batch.tokens[inside].tolist()
        documents[number] = tokens[: first + 1], tokens[first + 1 :]
    for place, number in enumerate(batch.documents.tolist()):  # the last token may be a target only
        tail = batch.targets[batch.segments == place].tolist()[-1]
        if tail >= 0:
            documents[number][1].append(tail)
    ordered = [documents[number] for number in sorted(documents)]
    return Both(models[0], models[2], models[1], models[3], folder, ordered, fast)


def one_batch(recipe: Recipe) -> list[Batch]:
    """The micro-batch of the recipe's one step."""
    with Loader.from_recipe(recipe) as loader:
        return next(iter(loader.steps()))


def ours(models: Both, objective: Mapping[str, Any], tmp_path: Path) -> Ours:
    """A step of ours: the reference computed by the reference model, the loss by the policy."""
    recipe = recipe_of(models.folder, objective)
    (batch,) = one_batch(recipe)
    made = BUILDERS[objective["name"]](recipe)
    run = SimpleNamespace(
        recipe=recipe,
        ranks=Ranks(0, 1, torch.device("cpu")),
        engine=models.reference,
        plan=DataPlan.of_recipe(recipe),
        step=0,
        is_first=True,
        identity="x",
        path=tmp_path,
        heart=SimpleNamespace(beside=lambda function: function),
        record=lambda *_, **__: None,
    )
    if made.begin is not None:
        made.begin(cast(Any, run))
    run.engine = models.policy
    if made.prepare is not None:
        made.prepare(cast(Any, run), [batch])
    total, losses_B, columns = made.loss(models.policy, batch)
    units = int(made.counts(batch).sum())
    assert losses_B.sum().item() == pytest.approx(total.item(), rel=1e-6)
    models.policy.zero_grad()
    (total / units).backward()
    return Ours(total.item() / units, norm_of(models.policy), {k: v.item() / units for k, v in columns.items()})


def norm_of(model: nn.Module) -> float:
    """The gradient's global L2 norm."""
    return float(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm())


@pytest.fixture(scope="module")
def on_pairs(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Pairs, as `clapas data chat --kind pairs` would write them."""
    folder = tmp_path_factory.mktemp("trl") / "pairs"
    write_folder(folder, test_data / "tokenizer", pairs(COUNT), kind="pairs")
    return both(folder, test_data / "tokenizer")


@pytest.fixture(scope="module")
def on_labelled(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Answers with a label each."""
    folder = tmp_path_factory.mktemp("trl") / "labelled"
    texts, values = labelled(COUNT)
    write_folder(folder, test_data / "tokenizer", texts, kind="labelled", columns={"label": pa.bool_()}, values=values)
    models = both(folder, test_data / "tokenizer")
    models.policy.load_state_dict(models.reference.state_dict())
    (batch,) = one_batch(recipe_of(folder, {"name": "kto"}))
    loss, _ = models.policy(batch.tokens, batch.positions, batch.document_ids, targets_BS=batch.targets)
    (loss / batch.target_count).backward()
    with torch.no_grad():
        for parameter in models.policy.parameters():
            assert parameter.grad is not None
            parameter -= 0.05 * parameter.grad
    models.hf_policy.load_state_dict(models.policy.state_dict())
    return models


def trl_step(trainer: Any, batch: Any) -> tuple[float, float, dict[str, float]]:
    """(loss, the gradient's norm, logged means) of a batch."""
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    kept = trainer._metrics["train"] if hasattr(trainer, "_metrics") else trainer._stored_metrics["train"]
    return loss.item(), norm_of(trainer.model), {key: float(values[-1]) for key, values in kept.items()}


def dpo_rows(models: Both) -> list[dict[str, Any]]:
    """The pairs as rows that TRL takes as tokenized."""
    chosen, rejected = models.documents[0::2], models.documents[1::2]
    return [
        {"prompt_ids": good[0], "chosen_ids": good[1], "rejected_ids": bad[1]}
        for good, bad in zip(chosen, rejected, strict=True)
    ]


def compare(found: Ours, theirs: tuple[float, float, dict[str, float]], columns: tuple[str, ...]) -> None:
    """Loss, gradient and columns agree."""
    loss, norm, logged = theirs
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert found.norm == pytest.approx(norm, rel=1e-4)
    for name in columns:
        assert found.columns[name] == pytest.approx(logged[name], rel=1e-4, abs=1e-5), name


REWARDS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")


@pytest.mark.parametrize(("name", "loss_type", "beta"), [("dpo", "sigmoid", 0.1), ("ipo", "ipo", 0.3)])
def test_dpo_and_ipo_equal_trl(on_pairs: Both, tmp_path: Path, name: str, loss_type: str, beta: float) -> None:
    """One batch of all pairs, a reference that differs from the policy."""
    trainer = dpo_trainer(on_pairs, tmp_path, loss_type=[loss_type], beta=beta)
    theirs = trl_step(trainer, trainer.data_collator(dpo_rows(on_pairs)))
    found = ours(on_pairs, {"name": name, "beta": beta}, tmp_path)
    compare(found, theirs, (*REWARDS, "rewards/accuracies"))


def test_label_smoothing_equals_trl(on_pairs: Both, tmp_path: Path) -> None:
    """TRL smooths its losses `aot` alone, which on one pair at a time is DPO's."""
    trainer = dpo_trainer(on_pairs, tmp_path, loss_type=["aot"], beta=0.1, label_smoothing=0.2)
    losses = [trl_step(trainer, trainer.data_collator([row]))[0] for row in dpo_rows(on_pairs)]
    found = ours(on_pairs, {"name": "dpo", "beta": 0.1, "label_smoothing": 0.2}, tmp_path)
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def dpo_trainer(models: Both, out: Path, **options: Any) -> Any:
    """TRL's trainer around the models; its batches are made of our tokens, for it would tokenize by itself."""
    from datasets import Dataset
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    config = DPOConfig(
        output_dir=str(out / "trl"), report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False, **options
    )
    return DPOTrainer(
        model=models.hf_policy,
        ref_model=models.hf_reference,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=models.tokenizer,
    )


def test_kto_equals_trl(on_labelled: Both, tmp_path: Path) -> None:
    """One batch of all answers, so that TRL's rotation and ours pair the same, and KL is over the same.

    The policy has learned a little of them: KL is above 0.
    """
    from datasets import Dataset
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer

    labels = [values["label"] for values in labelled(COUNT)[1]]
    rows = [
        {"prompt_ids": prompt, "completion_ids": answer, "label": label}
        for (prompt, answer), label in zip(on_labelled.documents, labels, strict=True)
    ]
    options: dict[str, float] = {"beta": 0.2, "desirable_weight": 1.3, "undesirable_weight": 0.7}
    config = KTOConfig(
        output_dir=str(tmp_path / "trl"),
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=COUNT,
        **cast(Any, options),
    )
    trainer = KTOTrainer(
        model=on_labelled.hf_policy,
        ref_model=on_labelled.hf_reference,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "a", "completion": "b", "label": True}] * COUNT),
        processing_class=on_labelled.tokenizer,
    )
    rotated = [row | {"KL_completion_ids": rows[place - 1]["completion_ids"]} for place, row in enumerate(rows)]
    theirs = trl_step(trainer, trainer.data_collator(rotated))
    found = ours(on_labelled, {"name": "kto", **options}, tmp_path)
    compare(found, theirs, (*REWARDS, "kl"))
    assert theirs[2]["kl"] > 0


def test_orpo_equals_trl(on_pairs: Both, tmp_path: Path) -> None:
    """TRL keeps ORPO as an experiment."""
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    config = ORPOConfig(
        output_dir=str(tmp_path / "trl"), report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False, beta=0.4
    )
    trainer = ORPOTrainer(
        model=on_pairs.hf_policy,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=on_pairs.tokenizer,
    )
    batch: dict[str, Any] = {}
    for name, side in (("chosen", on_pairs.documents[0::2]), ("rejected", on_pairs.documents[1::2])):
        width = max(len(prompt) + len(answer) for prompt, answer in side)
        padded = [prompt + answer + [0] * (width - len(prompt) - len(answer)) for prompt, answer in side]
        labels = [
            [-100] * len(prompt) + answer + [-100] * (width - len(prompt) - len(answer)) for prompt, answer in side
        ]
        batch[f"{name}_input_ids"] = torch.tensor(padded)
        batch[f"{name}_labels"] = torch.tensor(labels)
        sizes = torch.tensor([len(prompt) + len(answer) for prompt, answer in side])
        batch[f"{name}_attention_mask"] = (torch.arange(width)[None] < sizes[:, None]).long()
    theirs = trl_step(trainer, batch)
    found = ours(on_pairs, {"name": "orpo", "beta": 0.4}, tmp_path)
    compare(found, theirs, (*REWARDS, "rewards/accuracies", "nll_loss", "log_odds_ratio", "log_odds_chosen"))
