"""Continuations: their likelihood is that of a plain forward pass, however they are batched, shared or dealt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.evaluate.small import CONFIG, write_model

from clapas.engine.ranks import Ranks
from clapas.evaluate.continuations import Continuation, Likelihood, Scorer
from clapas.model.decoder import CausalLM

REQUESTS = [
    Continuation((1, 2, 3), (4,)),
    Continuation((1, 2, 3), (5, 6, 7)),
    Continuation((1, 2, 3), (4, 9)),
    Continuation((9,), (8, 7)),
    Continuation((9,), (8,)),
    Continuation(tuple(range(40, 60)), (61, 62, 63, 64, 65)),
    Continuation(tuple(range(100, 250)), (1, 2, 3)),  # longer than the model's positions
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    """A small random model."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def scorer(model: CausalLM) -> Scorer:
    """All of the model's positions."""
    return Scorer(model, CONFIG.max_position_embeddings, torch.device("cpu"))


@torch.no_grad()
def plainly(model: CausalLM, request: Continuation) -> Likelihood:
    """The definition: a row of its own, log-softmax of all its logits."""
    row = torch.tensor((request.context + request.tokens)[-CONFIG.max_position_embeddings - 1 :])
    log_p_SV = model(row[None, :-1])[0].log_softmax(-1)[-len(request.tokens) :]
    targets = torch.tensor(request.tokens)
    return Likelihood(float(log_p_SV.gather(1, targets[:, None]).sum()), bool((log_p_SV.argmax(-1) == targets).all()))


@pytest.mark.parametrize("shares", [True, False])
def test_as_a_plain_forward_pass(model: CausalLM, scorer: Scorer, shares: bool) -> None:
    """Contexts that are shared, ragged, or cut: each as if it were alone."""
    found = replace(scorer, shares_contexts=shares).score(REQUESTS)
    for request, likelihood in zip(REQUESTS, found, strict=True):
        wanted = plainly(model, request)
        assert likelihood.log_likelihood == pytest.approx(wanted.log_likelihood, abs=1e-4)
        assert likelihood.is_greedy == wanted.is_greedy


def test_greedy_is_told(model: CausalLM, scorer: Scorer) -> None:
    """What greedy decoding gives is greedy, with several continuations or one; another token is not."""
    with torch.no_grad():
        best = int(model(torch.tensor([[1, 2, 3]]))[0, -1].argmax())
    requests = [Continuation((1, 2, 3), (best,)), Continuation((1, 2, 3), ((best + 1) % 250,))]
    assert [found.is_greedy for found in scorer.score(requests)] == [True, False]
    assert [found.is_greedy for found in scorer.score(requests[:1])] == [True]


def test_a_shared_context_is_read_once(scorer: Scorer, model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four choices after a long context cost one pass over it and one over their ends."""
    read: list[int] = []
    forward = CausalLM.forward

    def counted(self: CausalLM, tokens_BS: torch.Tensor, *rest: object, **named: object) -> object:
        read.append(tokens_BS.numel())
        return forward(self, tokens_BS, *rest, **named)  # pyright: ignore[reportArgumentType] as given

    monkeypatch.setattr(CausalLM, "forward", counted)
    scorer.score([Continuation(tuple(range(60)), (choice, 1)) for choice in range(4)])
    assert read == [60, 4]


def test_ranks_make_as_many_passes_and_add_up(model: CausalLM, scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of three ranks has its batches, one of them only for the count; their sums are the whole."""
    monkeypatch.setattr("clapas.evaluate.continuations.ROWS_AT_ONCE", 2)
    monkeypatch.setattr(Ranks, "sum_all", lambda self, values: values)
    whole = scorer.score(REQUESTS)
    passes: list[int] = []
    parts = []
    for rank in range(3):
        passes.append(0)

        def counted(*arguments: object, **named: object) -> object:
            passes[-1] += 1
            return model(*arguments, **named)

        ranks = Ranks(rank, 3, torch.device("cpu"))
        parts.append(replace(scorer, model=counted, ranks=ranks, shares_contexts=False).score(REQUESTS))
    assert len(set(passes)) == 1
    for wanted, *own in zip(whole, *parts, strict=True):
        assert sum(part.log_likelihood for part in own) == pytest.approx(wanted.log_likelihood, abs=1e-4)
        assert sum(part.log_likelihood != 0 for part in own) == 1
