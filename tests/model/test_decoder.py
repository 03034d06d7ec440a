"""What the decoder promises beyond parity: documents kept apart, a cache that changes nothing, a loss that adds up."""

from __future__ import annotations

import pytest
import torch

from clapas.model.cache import KeyValueCache
from clapas.model.operations import IGNORED, summed_loss
from model.shapes import SHAPES, config_of, model_of, tokens_of


def assert_same(found: torch.Tensor, want: torch.Tensor) -> None:
    """Equal up to fp32 sums in another order."""
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", [[64], [1, 63], [20, 1, 1, 42], [63, 1]])
@pytest.mark.parametrize("shape", ["shared key-value heads", "long", "Qwen3", "experts"])
@torch.no_grad()
def test_a_document_sees_itself_alone(shape: str, lengths: list[int]) -> None:
    """With document ids and positions, a packed row gives each document the logits that it has alone."""
    config = config_of(shape)
    lengths = [length * config.max_position_embeddings // 64 for length in lengths]
    model, tokens_BS = model_of(config), tokens_of(config, length=sum(lengths))
    documents = torch.cat([torch.full((length,), number) for number, length in enumerate(lengths)])
    positions = torch.cat([torch.arange(length) for length in lengths])
    packed_BSV = model(tokens_BS, positions.expand_as(tokens_BS), documents.expand_as(tokens_BS))
    alone = [model(part_BS) for part_BS in tokens_BS.split(lengths, dim=1)]
    assert_same(packed_BSV, torch.cat(alone, dim=1))


@torch.no_grad()
def test_rows_may_hold_different_documents() -> None:
    """Each row of a batch has its own boundaries."""
    model, tokens_BS = model_of(config_of()), tokens_of(config_of(), length=30)
    documents_BS = torch.stack([torch.arange(30) // 10, torch.arange(30) // 15])
    logits_BSV = model(tokens_BS, document_ids_BS=documents_BS)
    for row in range(2):
        alone_BSV = model(tokens_BS[row : row + 1], document_ids_BS=documents_BS[row : row + 1])
        assert_same(logits_BSV[row : row + 1], alone_BSV)


@torch.no_grad()
def test_no_token_sees_what_follows() -> None:
    """Changing a token leaves the logits before it bit for bit as they were."""
    model, tokens_BS = model_of(config_of()), tokens_of(config_of())
    changed_BS = tokens_BS.clone()
    changed_BS[:, 40:] = 0
    assert torch.equal(model(tokens_BS)[:, :40], model(changed_BS)[:, :40])


@pytest.mark.parametrize("pieces", [[64], [1] * 64, [10, 1, 1, 52], [1, 63]])
@pytest.mark.parametrize(
    "shape", ["shared key-value heads", "a key-value head each", "long", "Qwen3", "experts", "positions by YaRN"]
)
@torch.no_grad()
def test_the_cache_changes_nothing(shape: str, pieces: list[int]) -> None:
    """Read in pieces of any length, a text has the logits that it has when read at once."""
    config = config_of(shape)
    pieces = [piece * config.max_position_embeddings // 64 for piece in pieces]
    model, tokens_BS = model_of(config), tokens_of(config, batch=3)
    cache = KeyValueCache(config, batch=3, capacity=tokens_BS.shape[1])
    read = [model(part_BS, cache=cache) for part_BS in tokens_BS.split(pieces, dim=1)]
    assert_same(torch.cat(read, dim=1), model(tokens_BS))
    assert cache.length == tokens_BS.shape[1]
    with pytest.raises(ValueError, match="do not fit"):
        model(tokens_BS[:, :1], cache=cache)


@torch.no_grad()
def test_padding_on_the_left_is_not_seen() -> None:
    """A short text beside a long one, padded as a document of its own, goes on as it would alone."""
    model = model_of(config_of())
    tokens_BS = tokens_of(model.config, length=20)
    padded_BS, positions_BS, documents_BS = tokens_BS.clone(), torch.arange(20).repeat(2, 1), torch.zeros(2, 20)
    padded_BS[1, :13], documents_BS[1, :13] = 0, -1
    positions_BS[1] = (torch.arange(20) - 13).clamp(min=0)
    cache = KeyValueCache(model.config, batch=2, capacity=30)
    logits_BSV = [model(padded_BS, positions_BS, documents_BS.long(), cache)]
    more_BS = tokens_of(model.config, length=5)
    for place in range(5):
        one_B1 = more_BS[:, place : place + 1]
        logits_BSV.append(model(one_B1, torch.tensor([[20 + place], [7 + place]]), torch.zeros(2, 1).long(), cache))
    alone_BSV = model(torch.cat([tokens_BS[1:, 13:], more_BS[1:]], dim=1))
    assert_same(torch.cat(logits_BSV, dim=1)[1:, 13:], alone_BSV)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_without_logits_is_the_loss_of_the_logits(shape: str) -> None:
    """Given targets, the model returns summed_loss of its logits, whole and by sample, with the same gradients."""
    config = config_of(shape)
    model, tokens_BS = model_of(config), tokens_of(config)
    targets_BS = tokens_BS.roll(-1, 1)
    targets_BS[:, ::3] = IGNORED
    want = summed_loss(model(tokens_BS), targets_BS)
    (want / 7).backward()
    expected = [p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    loss, losses_B = model(tokens_BS, targets_BS=targets_BS)
    (loss / 7).backward()
    torch.testing.assert_close(loss, want, rtol=1e-6, atol=0)
    torch.testing.assert_close(losses_B.sum(), want, rtol=1e-6, atol=0)
    for parameter, grad in zip(model.parameters(), expected, strict=True):
        assert grad is not None
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-4, atol=1e-5 * float(grad.abs().max()))


def test_bf16_stays_close_to_fp32() -> None:
    """In bf16, norms, angles, softmax and loss are computed in fp32: the loss moves by bf16's own rounding only."""
    model = model_of(config_of("long", initializer_range=0.02))
    tokens_BS = tokens_of(model.config)
    targets_BS = tokens_BS.roll(-1, 1)
    want, _ = model(tokens_BS, targets_BS=targets_BS)
    loss, _ = model.bfloat16()(tokens_BS, targets_BS=targets_BS)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, want, rtol=2e-3, atol=0)
    loss.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 for p in model.parameters())
