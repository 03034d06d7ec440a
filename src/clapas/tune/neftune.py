"""NEFTune: noise on the embeddings while fine-tuning (Jain et al., 2023, arXiv:2310.05914).

    x' = x + alpha / sqrt(L E) u,   u uniform in [-1, 1], drawn for each token and channel

L is the length of the token's own conversation, E the hidden size. u is a function of the recipe's seed, the step, the
conversation's number and the token's place in it: packing, micro-batches and ranks change nothing, and a run that is
resumed draws what it would have drawn. (A conversation whose last token ends a full sample is one shorter, for that
token is no input.) Validation adds none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from clapas.loader.batch import Batch
from clapas.model.decoder import Decoder
from clapas.recipe.errors import UserError
from clapas.recipe.hashes import content_hash
from clapas.recipe.recipe import Recipe
from clapas.tune.objective import Training


class Neftune:
    """The noise of one step at a time. alpha: its strength, as above."""

    def __init__(self, seed: int, alpha: float) -> None:
        self.seed, self.alpha, self.step = seed, alpha, 0
        self._embedding: nn.Module | None = None

    @classmethod
    def of_recipe(cls, recipe: Recipe, alpha: float) -> Neftune:
        """Raises UserError where conversations have no number, or ranks hold parts of one."""
        if recipe.data.packing == "stream" or recipe.parallel.sequence > 1:
            found = "data.packing=stream" if recipe.data.packing == "stream" else "parallel.sequence above 1"
            raise UserError(
                "NEFTune needs whole conversations",
                where=recipe.place("objective.neftune_alpha"),
                found=found,
                wanted="data.packing=best_fit or none, and parallel.sequence=1",
                way_out="objective.neftune_alpha=null",
            )
        return cls(recipe.seed, alpha)

    def prepare(self, run: Training, batches: list[Batch]) -> list[Batch]:
        """`Objective.prepare`: learn which step it is. Raises UserError for a model without our decoder."""
        if self._embedding is None:
            modules = run.engine.deepspeed.module.modules()
            decoder = next((module for module in modules if isinstance(module, Decoder)), None)
            if decoder is None:
                raise UserError("NEFTune needs a model of ours", where=run.recipe.place("objective.neftune_alpha"))
            self._embedding = decoder.embed_tokens
        self.step = run.step + 1
        return batches

    @contextmanager
    def added(self, batch: Batch) -> Iterator[None]:
        """Within, embeddings of this batch's tokens come out with their noise."""
        assert self._embedding is not None

        def add(module: nn.Module, inputs: Any, x_BSE: Any) -> Tensor:
            return x_BSE + self.noise(batch, x_BSE)

        handle = self._embedding.register_forward_hook(add)
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def noise(self, batch: Batch, x_BSE: Tensor) -> Tensor:
        """What is added to the embeddings of a batch; 0 on padding."""
        assert batch.segments is not None
        assert batch.documents is not None
        noise_BSE = torch.zeros_like(x_BSE)
        segments = batch.segments.reshape(-1)
        lengths = torch.bincount(segments[segments >= 0], minlength=len(batch.documents)).tolist()
        flat = noise_BSE.view(-1, x_BSE.shape[-1])
        starts = _first_places(segments, len(lengths))
        for number, length, start in zip(batch.documents.tolist(), lengths, starts, strict=True):
            if length:
                flat[start : start + length] = self._of_document(number, length, x_BSE)
        return noise_BSE

    def _of_document(self, number: int, length: int, like: Any) -> Tensor:
        seed = int(content_hash(["neftune", self.seed, self.step, number])[:15], 16)
        generator = torch.Generator(like.device).manual_seed(seed)
        uniform = torch.rand(length, like.shape[-1], generator=generator, device=like.device, dtype=torch.float32)
        return ((2 * uniform - 1) * (self.alpha / (length * like.shape[-1]) ** 0.5)).to(like.dtype)


def _first_places(segments: Tensor, count: int) -> list[int]:
    """Where each document of a batch begins among its B S tokens; its tokens follow one another."""
    places = torch.arange(len(segments), device=segments.device)
    first = torch.full((count + 1,), len(segments), dtype=torch.int64, device=segments.device)
    owners = torch.where(segments < 0, count, segments)
    return first.scatter_reduce(0, owners, places, "amin")[:count].tolist()
