"""Supervised fine-tuning: what is learned, alike however examples are packed, split, stopped and gone on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from clapas.loader.batch import NO_TARGET, Batch, Sample, collate
from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.init import initialise
from clapas.tune.neftune import Neftune
from clapas.tune.sft import evaluate, learned_loss
from clapas_data.chat.build import chat
from commands import Clapas

SIZES: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 128,
}  # fmt: skip
EOS, PAD = 2, 0


@pytest.fixture
def model() -> CausalLM:
    """A tiny decoder in fp64."""
    made = CausalLM(ModelConfig(**SIZES))
    initialise(made, 0, {})
    return made.double()


def conversation(number: int) -> Sample:
    """A conversation of two or three turns, parts of which are learned."""
    random = np.random.default_rng(number)
    pieces, turns = [], []
    for turn in range(1, 3 + number % 2):
        for learned, length in ((0, random.integers(3, 9)), (turn, random.integers(2, 8))):
            pieces.append(random.integers(3, 300, length))
            turns.append(np.full(length, learned, np.uint8))
    tokens = np.append(np.concatenate(pieces), EOS)
    starts = np.zeros(len(tokens), bool)
    starts[0] = True
    learned = np.append(np.concatenate(turns), 0).astype(np.uint8)
    return Sample(tokens, starts, documents=np.array([number]), turns=learned)


def packed(samples: list[Sample]) -> Sample:
    """Several as one sample."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(sample, name) for sample in samples])

    return Sample(joined("tokens"), joined("starts"), documents=joined("documents"), turns=joined("turns"))


def batches() -> tuple[Batch, Batch]:
    """The same six conversations: one a row, and three a row."""
    single = [conversation(number) for number in range(6)]
    return collate(single, 64, PAD), collate([packed(single[:3]), packed(single[3:])], 127, PAD)


def gradients(model: CausalLM, batch: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    """(loss, gradients) of a batch."""
    model.zero_grad()
    loss, losses_B = learned_loss(model, batch)
    loss.backward()
    assert losses_B.sum().item() == pytest.approx(loss.item())
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_the_loss_is_the_cross_entropy_of_the_answers(model: CausalLM) -> None:
    """By the logits, conversation by conversation; nothing else has a gradient."""
    unpacked, _ = batches()
    wanted = torch.zeros((), dtype=torch.float64)
    for number in range(6):
        sample = conversation(number)
        logits = model(torch.from_numpy(sample.tokens)[None, :-1])[0]
        assert sample.turns is not None
        targets = torch.from_numpy(np.where(sample.turns[1:] > 0, sample.tokens[1:], NO_TARGET))
        wanted = wanted + F.cross_entropy(logits, targets, reduction="sum")
    model.zero_grad()
    wanted.backward()
    by_logits = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    loss, found = gradients(model, unpacked)
    assert loss == pytest.approx(wanted.item(), rel=1e-12)
    for name, gradient in by_logits.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


def test_packed_and_unpacked_have_the_same_loss_and_gradients(model: CausalLM) -> None:
    """Several turns, masks and positions of their own: no conversation sees its neighbour."""
    unpacked, three_a_row = batches()
    assert three_a_row.target_count == unpacked.target_count
    loss, wanted = gradients(model, unpacked)
    packed_loss, found = gradients(model, three_a_row)
    assert packed_loss == pytest.approx(loss, rel=1e-12)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)


def test_a_batch_of_which_nothing_is_learned_has_gradients_of_zero(model: CausalLM) -> None:
    """Every rank runs its backward pass."""
    sample = conversation(0)
    assert sample.turns is not None
    nothing = Sample(sample.tokens, sample.starts, documents=sample.documents, turns=np.zeros_like(sample.turns))
    loss, found = gradients(model, collate([nothing], 64, PAD))
    assert loss == 0
    assert all(not gradient.any() for gradient in found.values())


def test_accuracy_by_turn(model: CausalLM) -> None:
    """Counted by hand from the logits, packed."""
    _, batch = batches()
    with torch.no_grad():
        logits = model(batch.tokens, batch.positions, batch.document_ids)
        found = {name: (float(value), float(count)) for name, (value, count) in evaluate(model, batch).items()}
    is_right = (logits.argmax(-1) == batch.targets) & (batch.targets != NO_TARGET)
    assert batch.turns is not None
    for name, turn in (("accuracy/turn1", 1), ("accuracy/turn2", 2), ("accuracy/turn3", 3), ("accuracy/turn5_on", 5)):
        of_turn = batch.turns == turn
        assert found[name] == (float((is_right & of_turn).sum()), float(of_turn.sum()))
    assert found["accuracy"] == (float(is_right.sum()), float(batch.target_count))
    assert found["loss"][0] == pytest.approx(gradients(model, batch)[0], rel=1e-6)


def test_noise_belongs_to_a_conversation_and_a_step() -> None:
    """Packed or not, in whatever row, its tokens get the same; within the bound; none on padding; another next step."""
    noise, (unpacked, three_a_row) = Neftune(seed=3, alpha=5.0), batches()
    noise.step = 7
    found = []
    for batch in (unpacked, three_a_row):
        assert batch.segments is not None
        drawn = noise.noise(batch, torch.zeros(*batch.tokens.shape, 32, dtype=torch.float64))
        assert not drawn[batch.segments < 0].any()
        found.append([drawn[batch.segments == number] for number in range(6)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        bound = 5.0 / (len(one) * 32) ** 0.5
        assert 0.9 * bound < one.abs().max() <= bound
        assert abs(float(one.mean())) < bound / 5
    assert not torch.equal(found[0][0][:4], found[0][1][:4])
    noise.step = 8
    assert not torch.equal(noise.noise(unpacked, torch.zeros(6, 64, 32))[0], found[0][0][0])


@pytest.fixture(scope="module")
def dialogues(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 conversations of one to three turns and one that is too long for the runs below, by the library's own hand."""
    folder = tmp_path_factory.mktemp("sft")
    rows = []
    for number in range(41):
        turn = [f"Question {number} ?", f"Réponse {number}. " * (1 if number < 40 else 99)]
        roles = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), turn, strict=True)]
        rows.append({"messages": roles * (1 + number % 3)})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"tokenizer": test_data / "tokenizer", "held_out": 6, "workers": 1}
    chat([folder / "rows.jsonl"], folder / "data", **options)
    return folder / "data"


def run(clapas: Clapas, dialogues: Path, folder: Path, *arguments: object) -> str:
    """Six steps on them; returns stderr."""
    settings = [f"data.path={dialogues}", "data.sequence_length=256", "model.max_position_embeddings=256"]
    settings += [f"run_dir={folder}", "train.global_batch_size=4", "train.steps=6", "schedule.warmup_steps=1"]
    settings += ["evaluation.every=3", "checkpoint.every=3"]
    result = clapas("train", "test", "objective.name=sft", *settings, *arguments, cwd=folder.parent)
    assert result.returncode in (0, 75), result.stderr
    return result.stderr


def rows(folder: Path) -> list[dict[str, Any]]:
    """What a run logged, without what depends on the clock."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    kept = ("step", "loss", "grad_norm", "split", "accuracy", "accuracy/turn1", "accuracy/turn2")
    return [{name: row[name] for name in kept if name in row} for row in found]


def test_a_run_tells_what_it_drops_and_how_often_it_is_right(clapas: Clapas, dialogues: Path, tmp_path: Path) -> None:
    """On stderr and in the ledger; token accuracy by turn at validation; noise in training alone."""
    said = run(clapas, dialogues, tmp_path / "plain", "train.micro_batch_size=4")
    assert "1 (2.9%) too long and dropped: a longer data.sequence_length keeps them whole" in said
    ledger = [json.loads(line) for line in (tmp_path / "plain" / "ledger.jsonl").read_text().splitlines()]
    [packing] = next(line["packing"] for line in ledger if line["event"] == "segment_start")
    assert (packing["examples"], packing["dropped"], packing["truncated"]) == (35, 1, 0)
    assert 0.5 < packing["fill"] <= 1
    validations = [row for row in rows(tmp_path / "plain") if "split" in row]
    assert len(validations) == 2
    assert {"accuracy", "accuracy/turn1", "accuracy/turn2"} <= validations[0].keys()
    metrics = [json.loads(line) for line in (tmp_path / "plain" / "metrics.jsonl").read_text().splitlines()]
    speed = next(row for row in metrics if "step_seconds" in row)
    assert speed["tokens_per_second"] < 4 * 256 / speed["step_seconds"]
    noisy = ["objective.neftune_alpha=5", "optimizer.lr=1e-30", "train.micro_batch_size=2"]
    run(clapas, dialogues, tmp_path / "noisy", *noisy)
    run(clapas, dialogues, tmp_path / "still", "optimizer.lr=1e-30")
    steps, still = (
        {row["step"]: row["loss"] for row in rows(tmp_path / name) if "split" not in row} for name in ("noisy", "still")
    )
    assert all(abs(steps[step] - still[step]) > 1e-7 for step in steps)
    first, second = ([row for row in rows(tmp_path / name) if "split" in row] for name in ("noisy", "still"))
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_run_goes_on_exactly(clapas: Clapas, dialogues: Path, tmp_path: Path, stage: int) -> None:
    """With noise, on two ranks: what follows a checkpoint is what followed it in the run that nothing stopped."""
    noise = ("objective.neftune_alpha=5", f"parallel.zero_stage={stage}", "--nproc", 2)
    run(clapas, dialogues, tmp_path / "run", *noise)
    whole = rows(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000006")
    run(clapas, dialogues, tmp_path / "run", *noise)
    assert rows(tmp_path / "run") == whole
    if stage == 3:
        run(clapas, dialogues, tmp_path / "alone", *noise[:1])
        for two, one in zip(whole, rows(tmp_path / "alone"), strict=True):
            assert two.pop("split", None) == one.pop("split", None)
            assert two == pytest.approx(one, rel=2e-5)
