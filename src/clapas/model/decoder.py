"""The decoder, written for reading: Llama, Qwen2, Qwen3 and Qwen3-MoE, which stock tools load.

Pre-norm transformer (Touvron et al., 2023): RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases.
Qwen2's queries, keys and values have some. Qwen3 also normalises queries and keys, head by head, before they turn; its
experts are in `experts`.
Modules carry Hugging Face's names, so a state dict is a Hugging Face state dict. The arithmetic is in `clapas_kernels`,
and in `operations` what no kernel is written for.

Shapes: B batch, S new tokens, T all tokens so far, H heads, K key-value heads, D head_dim, E hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clapas.model import operations
from clapas.model.cache import KeyValueCache
from clapas.model.config import ModelConfig
from clapas.model.experts import MixtureOfExperts
from clapas.model.rotary import rotary_angles
from clapas_kernels import (
    Documents,
    add_rms_norm,
    linear_cross_entropy,
    packed_rope,
    qk_norm_rope,
    rms_norm,
    rope,
    swiglu,
    swiglu_linear,
)
from clapas_kernels.dispatch import runs_triton


class Context(NamedTuple):
    """What all layers of one forward pass share: where the tokens stand, and which tokens each may look at.

    cos, sin: the rotary angles of the tokens' positions. mask: True where a query may look, (B or 1, 1, S, T); None:
    everywhere, or at itself and before where `is_causal`. documents: which tokens belong together, where a kernel asks
    for that instead of a mask. is_target: (B, S), where there is a target, in training.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor | None
    is_causal: bool
    documents: Documents | None
    cache: KeyValueCache | None
    is_target: Tensor | None


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned scale."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x_BSE: Tensor, residual_BSE: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """x normalised; or, given a residual, (their sum normalised, their sum)."""
        if residual_BSE is None:
            return rms_norm(x_BSE, self.weight, self.eps)
        return add_rms_norm(x_BSE, residual_BSE, self.weight, self.eps)


class Attention(nn.Module):
    """Causal self-attention, in which each key-value head serves a group of query heads.

    exchange: None, or what computes attention where a rank holds only some tokens of each text: called as
    exchange(operations.attention, q, k, v, mask, is_causal, documents), it trades tokens for heads between ranks.
    packed: None, or the weights and biases of all three projections in one (`layout`), where nothing trains.
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        queries, shared = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, shared, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, shared, bias=config.attention_bias)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)
        self.q_norm = self.k_norm = None
        if config.head_norms:
            self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
            self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.exchange: Callable[..., Tensor] | None = None
        self.packed: tuple[Tensor, Tensor | None] | None = None

    def forward(self, x_BSE: Tensor, context: Context) -> Tensor:
        q_BHSD, k_BKTD, v_BKTD = self._projected(x_BSE, context.cos, context.sin)
        if context.cache is not None:
            k_BKTD, v_BKTD = context.cache.extend(self.layer, k_BKTD, v_BKTD)
        attend = operations.attention if self.exchange is None else partial(self.exchange, operations.attention)
        mixed_BHSD = attend(q_BHSD, k_BKTD, v_BKTD, context.mask, context.is_causal, context.documents)
        return self.o_proj(mixed_BHSD.transpose(1, 2).flatten(2))

    def _projected(self, x_BSE: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, turned, (B, their heads, S, D)."""
        heads = (*x_BSE.shape[:2], -1, self.head_dim)  # -1: under tensor parallelism a rank holds some of the heads
        if self.packed is None:
            q_BSHD, k_BSKD, v_BSKD = (proj(x_BSE).view(heads) for proj in (self.q_proj, self.k_proj, self.v_proj))
        else:
            counts = [proj.out_features // self.head_dim for proj in (self.q_proj, self.k_proj, self.v_proj)]
            qkv_BSF = operations.linear(x_BSE, *self.packed)
            if self.q_norm is None:
                return packed_rope(qkv_BSF, cos, sin, *counts[:2])
            q_BSHD, k_BSKD, v_BSKD = qkv_BSF.view(heads).split(counts, 2)
        return *self._turned(q_BSHD, k_BSKD, cos, sin), v_BSKD.transpose(1, 2)

    def _turned(self, q_BSHD: Tensor, k_BSKD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys, normalised where the model does that, at the angles of their positions."""
        if self.q_norm is None or self.k_norm is None:
            return rope(q_BSHD, k_BSKD, cos, sin)
        weights = self.q_norm.weight, self.k_norm.weight
        if runs_triton(q_BSHD) and not hasattr(weights[0], "ds_id"):  # ZeRO-3 gathers what a module of its own reads
            return qk_norm_rope(q_BSHD, k_BSKD, *weights, cos, sin, self.q_norm.eps)
        return rope(self.q_norm(q_BSHD), self.k_norm(k_BSKD), cos, sin)


class GatedProjection(nn.Linear):
    """The projection of silu(gate) * up, which is not held between the passes."""

    def forward(self, gate_NF: Tensor, up_NF: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] nn.Linear takes one
        return swiglu_linear(gate_NF, up_NF, self.weight)


class MLP(nn.Module):
    """The gated feed-forward layer.

    tile: tokens computed at a time, and again in the backward pass, so that its wide activations exist for one tile
    only; None: all at once, and kept. packed: None, or the weights of gate and up in one (`layout`), where nothing
    trains.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj: nn.Module = GatedProjection(config.intermediate_size, config.hidden_size, bias=False)
        self.tile: int | None = None
        self.packed: Tensor | None = None

    def forward(self, x_BSE: Tensor, is_target_BS: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The layer's output; no balance term, which is the experts' (`experts.MixtureOfExperts`)."""
        if self.tile is None:
            return self._whole(x_BSE), None
        run = partial(checkpoint, self._whole, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([run(x_NE) for x_NE in x_BSE.flatten(0, 1).split(self.tile)]).view_as(x_BSE), None

    def _whole(self, x_NE: Tensor) -> Tensor:
        if self.packed is None:
            gate_NF, up_NF = self.gate_proj(x_NE), self.up_proj(x_NE)
        else:
            gate_NF, up_NF = operations.linear(x_NE, self.packed).chunk(2, -1)
        if isinstance(self.down_proj, GatedProjection):
            return self.down_proj(gate_NF, up_NF)
        return self.down_proj(swiglu(gate_NF, up_NF))  # under tensor parallelism it is DeepSpeed's


class DecoderLayer(nn.Module):
    """Attention, then the feed-forward layer, each on a normalised copy of the residual stream that it adds to."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config) if config.experts is None else MixtureOfExperts(config)

    def forward(self, x_BSE: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """The residual stream, and the experts' balance term, where there is one."""
        attended_BSE = self.self_attn(self.input_layernorm(x_BSE), context)
        normed_BSE, x_BSE = self.post_attention_layernorm(x_BSE, attended_BSE)
        mixed_BSE, balance = self.mlp(normed_BSE, context.is_target)
        return x_BSE + mixed_BSE, balance


RunLayer = Callable[[nn.Module, Tensor, Context], tuple[Tensor, Tensor | None]]


class Decoder(nn.Module):
    """Tokens to their last hidden states, and the sum of the layers' balance terms, where there are any.

    run_layer: how a layer is called; `model.compute` puts checkpointing and compilation here.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        table = torch.empty(config.vocab_size, config.hidden_size)  # drawn by name, and not by torch first
        self.embed_tokens = nn.Embedding.from_pretrained(table, freeze=False)
        self.layers = nn.ModuleList(DecoderLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.run_layer: RunLayer = run_layer

    def forward(self, tokens_BS: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        x_BSE = self.embed_tokens(tokens_BS)
        balances: list[Tensor] = []
        for layer in self.layers:
            x_BSE, balance = self.run_layer(layer, x_BSE, context)
            balances += [] if balance is None else [balance]
        return self.norm(x_BSE), torch.stack(balances).sum() if balances else None


def run_layer(layer: nn.Module, x_BSE: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
    return layer(x_BSE, context)


Criterion = Callable[[Tensor, Tensor], Any]
"""(last hidden states, (B, S, E); the head's weight, (V, E)) -> whatever an objective makes of them."""


class Head(nn.Linear):
    """Hidden states to logits; or, given targets, straight to their losses, without holding the logits."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] nn.Linear takes one
        self,
        x_BSE: Tensor,
        targets_BS: Tensor | None = None,
        z_loss: float = 0.0,
        criterion: Criterion | None = None,
    ) -> Any:
        if criterion is not None:
            return criterion(x_BSE, self.weight)  # here, for ZeRO-3 gathers what a module of its own reads
        if targets_BS is None:
            return operations.linear(x_BSE, self.weight)
        loss, losses_BS = linear_cross_entropy(x_BSE, self.weight, targets_BS, z_loss)
        return loss, losses_BS.sum(-1)


class CausalLM(nn.Module):
    """The decoder with its head. Weights are PyTorch's defaults until `init.initialise` or `hf_weights` sets them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = Head(config.hidden_size, config.vocab_size, bias=False)
        self.tie()

    def tie(self) -> None:
        """Make the head the embedding, where the config says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self,
        tokens_BS: Tensor,
        positions_BS: Tensor | None = None,
        document_ids_BS: Tensor | None = None,
        cache: KeyValueCache | None = None,
        targets_BS: Tensor | None = None,
        last_only: bool = False,
        document_starts: Tensor | None = None,
        z_loss: float = 0.0,
        criterion: Criterion | None = None,
    ) -> Any:
        """The logits (B, S, V); or, where targets are given, what training minimises and each sample's loss, in nats.

        The objective is a scalar: the sum of the targets' cross-entropies, and of the experts' balance terms where
        there are experts. The losses, (B,), are each sample's cross-entropies and carry no gradient. Both are fp32 sums
        over targets: the caller divides.
        z_loss: how much of (log sum exp)^2 of a target's logits is added to the objective, and to the losses not.

        positions_BS: by default 0, 1, 2, … after what the cache holds.
        document_ids_BS: tokens attend within their document only; by default all are of one, number 0. Where ranks
        share a text's tokens they are those of the whole text.
        cache: read, and extended by the new tokens.
        targets_BS: the token to foretell at each place, `operations.IGNORED` for none.
        last_only: the logits of the last place only, (B, 1, V).
        document_starts: as a `loader.batch.Batch` has it: with it an accelerator masks documents by its own kernels.
        criterion: given, the result is (what it makes of the last hidden states and the head's weight; the experts'
        balance term, or None). `targets_BS` then only tells the experts which tokens count.
        """
        context = self._context(tokens_BS, positions_BS, document_ids_BS, cache, document_starts)
        if targets_BS is not None:
            context = context._replace(is_target=targets_BS != operations.IGNORED)
        x_BSE, balance = self.model(tokens_BS, context)
        if cache is not None:
            cache.length += tokens_BS.shape[1]
        if criterion is not None:
            return self.lm_head(x_BSE, criterion=criterion), balance
        if targets_BS is None:
            return self.lm_head(x_BSE[:, -1:] if last_only else x_BSE)
        loss, losses_B = self.lm_head(x_BSE, targets_BS, z_loss)
        return loss if balance is None else loss + balance, losses_B

    def _context(
        self,
        tokens_BS: Tensor,
        positions_BS: Tensor | None,
        document_ids_BS: Tensor | None,
        cache: KeyValueCache | None,
        document_starts: Tensor | None,
    ) -> Context:
        past, new = cache.length if cache is not None else 0, tokens_BS.shape[1]
        if cache is not None:
            cos, sin = cache.angles(positions_BS, new)
        else:
            if positions_BS is None:
                positions_BS = torch.arange(new, device=tokens_BS.device)[None]
            cos, sin = rotary_angles(positions_BS, self.config, dtype=self.model.norm.weight.dtype)
        mask = documents = None
        if document_ids_BS is not None and document_starts is not None and tokens_BS.is_cuda and cache is None:
            documents = Documents(document_ids_BS, document_starts)
        elif document_ids_BS is not None:
            seen_BT = document_ids_BS if cache is None else cache.extend_documents(document_ids_BS)
            mask = document_mask(document_ids_BS, seen_BT, past)
        elif past > 0 and new > 1:
            mask = _causal(past, new, tokens_BS.device)[None, None]
        is_causal = mask is None and documents is None and past == 0
        return Context(cos, sin, mask, is_causal, documents, cache=cache, is_target=None)


def document_mask(document_ids_BS: Tensor, seen_BT: Tensor, past: int = 0) -> Tensor:
    """True where a query may look: at itself and before, within its document; (B, 1, S, T).

    The length is that of the ids, not of the tokens at hand: a rank may hold only some of a text's tokens.
    """
    together_B1ST = document_ids_BS[:, None, :, None] == seen_BT[:, None, None, :]
    if document_ids_BS.shape[1] == 1:  # the last token of all
        return together_B1ST
    return _causal(past, document_ids_BS.shape[1], document_ids_BS.device) & together_B1ST


def _causal(past: int, new: int, device: torch.device) -> Tensor:
    """True where one of `new` tokens after `past` may look: at itself and before, (S, T)."""
    return torch.ones(new, past + new, dtype=torch.bool, device=device).tril(diagonal=past)
