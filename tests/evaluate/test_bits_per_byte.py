"""Bits per byte: every held-out token once, the same by one rank or several, and the figure that its formula gives."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.evaluate.small import write_model

from clapas.evaluate.bits_per_byte import Scored, score
from clapas.evaluate.evaluate import evaluate, evaluation_table
from clapas.evaluate.load import load
from clapas.loader.windows import Windows
from clapas.model.decoder import CausalLM
from clapas.model.operations import summed_loss
from clapas.recipe.errors import UserError
from clapas_data.manifest import TokenizerRecord, open_manifest
from clapas_data.shards import TokenShard


@pytest.fixture(scope="module")
def model(trained_run: Path) -> CausalLM:
    """A trained model."""
    return load(trained_run, device="cpu").model


def windows_of(data: Path, rank: int = 0, world: int = 1, stride: int = 64) -> Windows:
    """Windows of 128 tokens over the held-out split."""
    manifest = open_manifest(data)
    return Windows(manifest, sequence_length=128, stride=stride, batch_size=16, rank=rank, world=world)


@torch.no_grad()
def test_the_figure_is_its_definition(model: CausalLM, test_data: Path) -> None:
    """Token by token from the logits: each held-out token, EOS included, scored with what its window has before it."""
    windows = windows_of(test_data)
    manifest = open_manifest(test_data)
    assert manifest.tokenizer is not None
    tokens = [manifest.tokenizer.eos]
    for place in manifest.of_split("heldout"):
        shard = manifest.shards[place]
        tokens += TokenShard(manifest.folder, shard).read(0, shard.tokens).tolist()
    expected, scored_until = 0.0, 0
    for start in range(0, len(tokens) - 1, 64):
        window = torch.tensor(tokens[start : start + 129])
        targets = window[1:].clone()
        targets[: scored_until - start] = -100
        expected += summed_loss(model(window[None, :-1]), targets[None]).item()
        scored_until = start + len(targets)
        if scored_until == len(tokens) - 1:
            break
    scored = score(model, windows)
    assert scored.tokens == len(tokens) - 1 == windows.token_count
    assert scored.loss_sum == pytest.approx(expected, rel=1e-5)
    assert windows.text_bytes is not None
    assert scored.bits_per_byte(windows) == pytest.approx(expected / math.log(2) / windows.text_bytes, rel=1e-5)


def test_ranks_add_up_to_one(model: CausalLM, test_data: Path) -> None:
    """Three ranks' sums are those of one, over the same number of batches each."""
    parts = [score(model, windows_of(test_data, rank, 3, stride=128)) for rank in range(3)]
    whole = score(model, windows_of(test_data, stride=128))
    assert sum(part.tokens for part in parts) == whole.tokens
    assert sum(part.loss_sum for part in parts) == pytest.approx(whole.loss_sum, rel=1e-6)


def test_a_limit_scores_a_part_and_estimates_the_whole(model: CausalLM, test_data: Path) -> None:
    """About as many tokens as asked; its bits per byte use the split's bytes a token."""
    windows = windows_of(test_data)
    part = score(model, windows, limit=1000)
    assert 1000 <= part.tokens <= 1000 + 64 * 16 + 64
    assert windows.text_bytes is not None
    want = part.loss / math.log(2) * windows.token_count / windows.text_bytes
    assert part.bits_per_byte(windows) == pytest.approx(want)


def test_more_context_does_not_hurt(model: CausalLM, test_data: Path) -> None:
    """Overlapping windows score a text better than windows that each begin blind."""
    overlapping, blind = (score(model, windows_of(test_data, stride=stride), limit=20_000) for stride in (64, 128))
    assert overlapping.loss < blind.loss


def test_evaluate_agrees_with_the_run(trained_run: Path) -> None:
    """`clapas eval` gives the figure that training logged at its last step."""
    import orjson

    rows = [orjson.loads(line) for line in (trained_run / "metrics.jsonl").read_bytes().splitlines()]
    logged = [row for row in rows if row.get("split") == "heldout"][-1]
    measured = evaluate(load(trained_run, device="cpu"))
    assert measured["bits_per_byte"] == pytest.approx(logged["bits_per_byte"], rel=1e-5)
    assert measured["loss"] == pytest.approx(logged["loss"], rel=1e-5)
    assert measured["perplexity"] == pytest.approx(math.exp(measured["loss"]))
    assert f"{measured['bits_per_byte']:.4f}" in evaluation_table(measured)


def test_another_tokenizers_shards_are_refused(test_data: Path, tmp_path: Path) -> None:
    """Token ids mean nothing to a model of another tokenizer."""
    write_model(tmp_path)
    with pytest.raises(UserError, match="another tokenizer"):
        evaluate(load(tmp_path), data=test_data)
    with pytest.raises(UserError, match="--data"):
        evaluate(load(tmp_path))


def test_padding_makes_no_other_tokenizer() -> None:
    """Nor does a BOS that is never written: shards are read by whoever makes the same tokens."""
    one = TokenizerRecord(hash="a" * 64, vocab_size=10, eos=1)
    assert one.makes_tokens_of(one.model_copy(update={"pad": 3, "bos": 2}))
    for other in ({"hash": "b" * 64}, {"eos": 2}, {"bos": 2, "uses_bos": True}):
        assert not one.makes_tokens_of(one.model_copy(update=other))


def test_unknown_split(trained_run: Path) -> None:
    """The message names those that there are."""
    with pytest.raises(UserError, match="no split 'nowhere'"):
        evaluate(load(trained_run), split="nowhere")


def test_without_bytes_there_is_a_loss_and_no_figure() -> None:
    """Bare Megatron shards do not know their text."""

    class Bare:
        text_bytes = None
        token_count = 10

    scored = Scored(loss_sum=20.0, tokens=10)
    assert scored.loss == 2.0
    assert scored.bits_per_byte(Bare()) is None  # pyright: ignore[reportArgumentType] stands for Windows of bare shards
