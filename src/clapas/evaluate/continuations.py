"""How likely a model finds continuations of contexts: what multiple choice and minimal pairs are made of.

Requests are sorted by length into batches of about as many tokens; several continuations of one context share its pass
through a key-value cache. Batches are dealt to the ranks in turn, all of which know all requests, so that each makes as
many forward passes (ZeRO-3 gathers weights in each) and the result is that of one rank.
Shapes: B rows, S tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clapas.engine.ranks import Ranks
from clapas.evaluate.generate import left_padded
from clapas.evaluate.token_scores import TokenScores, token_scores
from clapas.model.cache import KeyValueCache
from clapas.model.decoder import CausalLM
from clapas.model.operations import IGNORED
from clapas.recipe.errors import UserError

TOKENS_AT_ONCE = 8192
ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Continuation:
    """Tokens that follow a context of at least one token."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.context or not self.tokens:
            raise ValueError(f"a context and a continuation have a token at least: {self}")

    def is_cut(self, longest: int) -> bool:
        """Whether the beginning of its context does not fit the positions of the model."""
        return len(self.context) + len(self.tokens) > longest + 1


@dataclass(frozen=True, slots=True)
class Likelihood:
    """log_likelihood: in nats, of all tokens. is_greedy: whether greedy decoding gives them."""

    log_likelihood: float
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class Scorer:
    """Where continuations are scored.

    model: the decoder, or an engine around it. longest: tokens that it reads at once; a longer context loses its
    beginning. device: of the model. ranks: who share the work; None: this process alone.
    shares_contexts: whether `model` is a whole decoder, so that a context can be read once for several continuations.
    """

    model: Callable[..., Any]
    longest: int
    device: torch.device
    ranks: Ranks | None = None
    shares_contexts: bool = True

    @torch.no_grad()
    def score(self, requests: Sequence[Continuation]) -> list[Likelihood]:
        """Each continuation's likelihood, in order. A collective where there are ranks: all bring equal requests."""
        sums, misses = [0.0] * len(requests), [0.0] * len(requests)
        work = self._batches(requests)
        rank, world = (0, 1) if self.ranks is None else (self.ranks.data_rank, self.ranks.data_size)
        for turn in range(-(-len(work) // world)):
            place = turn * world + rank
            run, batch = work[min(place, len(work) - 1)]  # the last turn of a rank without a batch counts for nothing
            for request, loss, missed in run(self, batch, requests):
                if place < len(work):
                    sums[request] += loss
                    misses[request] += missed
        if self.ranks is not None and requests:
            sums, misses = self.ranks.sum_all(sums), self.ranks.sum_all(misses)
        return [Likelihood(-loss, missed == 0) for loss, missed in zip(sums, misses, strict=True)]

    def _batches(self, requests: Sequence[Continuation]) -> list[tuple[_Run, list[list[int]]]]:
        """Groups of requests (places) that go together, and how: whole, or with a context that several share."""
        if (most := max((len(request.tokens) for request in requests), default=0)) > self.longest:
            wanted = f"at most {self.longest}, which the model reads at once"
            raise UserError("a continuation is longer than the model reads", found=f"{most} tokens", wanted=wanted)
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            groups[request.context].append(place)
        shared, alone = [], []
        for group in groups.values():
            fits = not any(requests[place].is_cut(self.longest) for place in group)
            if self.shares_contexts and fits and len(group) > 1:
                shared.append(group)
            else:
                alone += [[place] for place in group]
        whole = _filled(alone, lambda group: len(requests[group[0]].context) + len(requests[group[0]].tokens), requests)
        split = _filled(shared, lambda group: len(requests[group[0]].context), requests)
        return [*((_score_whole, batch) for batch in whole), *((_score_shared, batch) for batch in split)]


_Run = Callable[[Scorer, list[list[int]], Sequence[Continuation]], list[tuple[int, float, int]]]
"""Gives (request, nats, targets that are not the likeliest) for every request of some groups."""


def _filled(
    groups: list[list[int]], length: Callable[[list[int]], int], requests: Sequence[Continuation]
) -> list[list[list[int]]]:
    """Batches of groups, longest first, each within ROWS_AT_ONCE rows and TOKENS_AT_ONCE tokens as padded."""
    order = sorted(groups, key=lambda group: (-length(group), requests[group[0]].context, requests[group[0]].tokens))
    batches: list[list[list[int]]] = []
    for group in order:
        longest = length(batches[-1][0]) if batches else 0
        rows = sum(map(len, batches[-1])) + len(group) if batches else 0
        if not batches or rows > ROWS_AT_ONCE or rows * longest > TOKENS_AT_ONCE:
            batches.append([])
        batches[-1].append(group)
    return batches


def _score_whole(
    scorer: Scorer, batch: list[list[int]], requests: Sequence[Continuation]
) -> list[tuple[int, float, int]]:
    """One row a request, padded on the right, which causal attention does not see."""
    places = [group[0] for group in batch]
    rows = [(requests[place].context + requests[place].tokens)[-scorer.longest - 1 :] for place in places]
    parts = 1 if scorer.ranks is None else scorer.ranks.sequence
    width = -(-max(len(row) - 1 for row in rows) // parts) * parts
    tokens_BS = torch.zeros(len(rows), width, dtype=torch.long)
    targets_BS = torch.full_like(tokens_BS, IGNORED)
    for number, (row, place) in enumerate(zip(rows, places, strict=True)):
        tokens_BS[number, : len(row) - 1] = torch.tensor(row[:-1])
        answer = row[-len(requests[place].tokens) :]
        targets_BS[number, len(row) - 1 - len(answer) : len(row) - 1] = torch.tensor(answer)
    positions_BS = None
    if scorer.ranks is not None and parts > 1:
        start, stop = scorer.ranks.positions(width)
        positions_BS = torch.arange(start, stop).expand(len(rows), -1).contiguous().to(scorer.device)
        tokens_BS, targets_BS = tokens_BS[:, start:stop].contiguous(), targets_BS[:, start:stop].contiguous()
    tokens_BS, targets_BS = tokens_BS.to(scorer.device), targets_BS.to(scorer.device)
    found, _ = scorer.model(tokens_BS, positions_BS, targets_BS=targets_BS, criterion=token_scores(targets_BS))
    scores = TokenScores(*found)
    return _by_row(scores, targets_BS, places)


def _by_row(scores: TokenScores, targets_BS: Tensor, places: Sequence[int]) -> list[tuple[int, float, int]]:
    rows_N = scores.places_N // targets_BS.shape[1]
    losses = torch.zeros(len(places), dtype=torch.float64, device=rows_N.device)
    losses.index_add_(0, rows_N, scores.losses_N.double())
    missed = torch.zeros(len(places), dtype=torch.long, device=rows_N.device)
    missed.index_add_(0, rows_N, (~scores.likeliest_N).long())
    return list(zip(places, losses.tolist(), missed.tolist(), strict=True))


def _score_shared(
    scorer: Scorer, batch: list[list[int]], requests: Sequence[Continuation]
) -> list[tuple[int, float, int]]:
    """Each context read once: its last logits give every first token, its cache what the other tokens need."""
    model = scorer.model
    assert isinstance(model, CausalLM)
    contexts = [requests[group[0]].context for group in batch]
    tokens_BS, positions_BS, documents_BS = (x.to(scorer.device) for x in left_padded(contexts))
    weight = model.lm_head.weight
    cache = KeyValueCache(model.config, len(contexts), tokens_BS.shape[1], weight.dtype, weight.device)
    logits_BV = model(tokens_BS, positions_BS, documents_BS, cache, last_only=True)[:, -1].float()
    log_p_BV, likeliest_B = logits_BV.log_softmax(-1), logits_BV.argmax(-1)
    found: list[tuple[int, float, int]] = []
    longer: list[tuple[int, int]] = []  # (the row of its context, request)
    for row, group in enumerate(batch):
        first = torch.tensor([requests[place].tokens[0] for place in group], device=scorer.device)
        losses, hits = (-log_p_BV[row, first]).double().tolist(), (first == likeliest_B[row]).tolist()
        found += [(place, loss, int(not hit)) for place, loss, hit in zip(group, losses, hits, strict=True)]
        longer += [(row, place) for place in group if len(requests[place].tokens) > 1]
    if longer:
        found += _score_rest(model, cache, longer, [len(context) for context in contexts], requests)
    return found


def _score_rest(
    model: CausalLM,
    cache: KeyValueCache,
    longer: list[tuple[int, int]],
    lengths: list[int],
    requests: Sequence[Continuation],
) -> list[tuple[int, float, int]]:
    """All tokens of continuations but their first, after contexts that the cache holds."""
    answers = [requests[place].tokens for _, place in longer]
    width = max(map(len, answers)) - 1
    tokens_BS = torch.zeros(len(longer), width, dtype=torch.long)
    targets_BS = torch.full_like(tokens_BS, IGNORED)
    for number, answer in enumerate(answers):
        tokens_BS[number, : len(answer) - 1] = torch.tensor(answer[:-1])
        targets_BS[number, : len(answer) - 1] = torch.tensor(answer[1:])
    starts_B1 = torch.tensor([[lengths[row]] for row, _ in longer])
    positions_BS = starts_B1 + torch.arange(width)
    device = model.lm_head.weight.device
    tokens_BS, targets_BS, positions_BS = (x.to(device) for x in (tokens_BS, targets_BS, positions_BS))
    own = cache.repeated([row for row, _ in longer], width)
    found, _ = model(
        tokens_BS,
        positions_BS,
        torch.zeros_like(tokens_BS),
        own,
        targets_BS=targets_BS,
        criterion=token_scores(targets_BS),
    )
    scores = TokenScores(*found)
    return _by_row(scores, targets_BS, [place for _, place in longer])
