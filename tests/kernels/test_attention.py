"""Document-masked attention: every kernel that runs here is the dense formula; those that need a GPU are reached."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from clapas_kernels import Documents, attention, explain, use
from clapas_kernels.attention import KERNELS, attention_reference, document_starts

BATCH, HEADS, SHARED, LENGTH, HEAD = 2, 4, 2, 24, 16


def lengths_to_ids(lengths: list[list[int]]) -> Tensor:
    """The document ids of samples that are cut at these lengths."""
    return torch.stack([torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in lengths])


IDS_BS = lengths_to_ids([[5, 1, 18], [24]])


def inputs(dtype: torch.dtype = torch.float32, shared: int = SHARED) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values."""
    source = torch.Generator().manual_seed(0)
    shapes = [(BATCH, heads, LENGTH, HEAD) for heads in (HEADS, shared, shared)]
    q, k, v = (torch.randn(shape, generator=source).to(dtype).requires_grad_() for shape in shapes)
    return q, k, v


def results(
    function: Callable[..., Tensor], dtype: torch.dtype, documents: Documents | None, shared: int = SHARED
) -> list[Tensor]:
    """Output and gradients, for a gradient that is not symmetric in anything."""
    tensors = inputs(dtype, shared)
    mixed = function(*tensors, documents)
    upstream = torch.randn(mixed.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    return [mixed, *torch.autograd.grad(mixed, tensors, upstream)]


@pytest.mark.parametrize("shared", [1, 2, 4])
def test_a_dense_mask_is_the_formula(shared: int) -> None:
    """Output and gradients, in fp64 and fp32, heads shared or not."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        documents = Documents(IDS_BS)
        wanted = results(attention_reference, dtype, documents, shared)
        for ours, theirs in zip(results(KERNELS["sdpa"], dtype, documents, shared), wanted, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shared", [1, 2, 4])
def test_blocks_of_documents_are_the_formula(shared: int) -> None:
    """FlexAttention, whose backward pass needs a GPU."""
    q, k, v = (x.detach() for x in inputs(torch.float64, shared))
    ours, theirs = (function(q, k, v, Documents(IDS_BS)) for function in (KERNELS["flex"], attention_reference))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_no_document_sees_another() -> None:
    """Other tokens in one document leave all others as they were, bit for bit; a token sees nothing after itself."""
    q, k, v = inputs()
    before = attention(q, k, v, Documents(IDS_BS))
    change = torch.zeros(BATCH, 1, LENGTH, 1)
    change[0, :, 5:7] = 1.0  # the document of one token, and the first of the next
    after = attention(q + change, k + change, v + change, Documents(IDS_BS))
    assert torch.equal(before[1], after[1])
    assert torch.equal(before[0, :, :5], after[0, :, :5])
    assert not torch.equal(before[0, :, 5:], after[0, :, 5:])


def test_without_documents_a_sample_is_one() -> None:
    """Causal attention over all of it."""
    whole = Documents(torch.zeros(BATCH, LENGTH, dtype=torch.long))
    for ours, theirs in zip(
        results(attention, torch.float32, None), results(attention_reference, torch.float32, whole), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=6), min_size=1, max_size=3))
def test_documents_begin_where_their_ids_change(lengths: list[list[int]]) -> None:
    """Every start, then the end, as often as it takes to come to a power of two; a document ends with its sample."""
    longest = max(map(sum, lengths))
    rows = [[*row, longest - sum(row)] if sum(row) < longest else row for row in lengths]
    starts = document_starts(lengths_to_ids(rows)).tolist()
    edges, place = [], 0
    for row in rows:
        for length in row:
            edges.append(place)
            place += length
    assert starts[: len(edges)] == edges
    assert set(starts[len(edges) :]) == {place}
    assert len(starts) & (len(starts) - 1) == 0


def test_which_one_runs_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """By the first call, with the reason; and by `explain`."""
    from clapas_kernels.attention import _say_once

    _say_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="clapas_kernels"):
        for _ in range(2):
            attention(*inputs(), Documents(IDS_BS))
    (message,) = caplog.messages
    assert message == "document-masked attention: sdpa (no fused kernel for documents on cpu)"


def test_explain_tells_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Among the operations."""
    explain()
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("attention"))
    assert "sdpa" in line or "varlen" in line
    with use("reference"):
        explain()
    assert "by clapas_kernels.use" in capsys.readouterr().out


def test_the_reference_can_be_asked_for() -> None:
    """By `use`, as for all operations."""
    with use("reference"):
        ours = attention(*inputs(), Documents(IDS_BS))
    assert torch.equal(ours, attention_reference(*inputs(), Documents(IDS_BS)))


def test_varlen_is_called_as_pytorch_wants_it() -> None:
    """On tensors without values, since it needs a GPU: PyTorch checks arguments, dtypes and shapes all the same."""
    with FakeTensorMode():
        q, k, v = (torch.empty(2, heads, 64, 64, dtype=torch.bfloat16) for heads in (8, 2, 2))
        documents = Documents(torch.zeros(2, 64, dtype=torch.long), torch.zeros(4, dtype=torch.int32))
        mixed = KERNELS["varlen"](q, k, v, documents)
        assert (mixed.shape, mixed.dtype) == (q.shape, q.dtype)
