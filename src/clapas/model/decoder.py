"""The decoder, written for reading: Llama, the architecture that every stock tool loads.

Pre-norm transformer (Touvron et al., 2023): RMSNorm, rotary positions, grouped-query attention, SwiGLU, no biases.
Modules carry Hugging Face's names, so a state dict is a Hugging Face state dict. The arithmetic is in `operations`.

Shapes: B batch, S new tokens, T all tokens so far, H heads, K key-value heads, D head_dim, E hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas.model import operations
from clapas.model.cache import KeyValueCache
from clapas.model.config import ModelConfig


class Context(NamedTuple):
    """What all layers of one forward pass share: where the tokens stand, and which tokens each may look at.

    cos, sin: the rotary angles of the tokens' positions. mask: True where a query may look, (B or 1, 1, S, T); None:
    everywhere, or at itself and before where `is_causal`.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor | None
    is_causal: bool
    cache: KeyValueCache | None


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned scale."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x_BSE: Tensor) -> Tensor:
        return operations.rms_norm(x_BSE, self.weight, self.eps)


class Attention(nn.Module):
    """Causal self-attention, in which each key-value head serves a group of query heads."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        queries, shared = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, shared, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, shared, bias=False)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)

    def forward(self, x_BSE: Tensor, context: Context) -> Tensor:
        heads = (*x_BSE.shape[:2], -1, self.head_dim)  # -1: under tensor parallelism a rank holds some of the heads
        q_BHSD = operations.rotate(self.q_proj(x_BSE).view(heads), context.cos, context.sin)
        k_BKTD = operations.rotate(self.k_proj(x_BSE).view(heads), context.cos, context.sin)
        v_BKTD = self.v_proj(x_BSE).view(heads).transpose(1, 2)
        if context.cache is not None:
            k_BKTD, v_BKTD = context.cache.extend(self.layer, k_BKTD, v_BKTD)
        mixed_BHSD = operations.attention(q_BHSD, k_BKTD, v_BKTD, context.mask, context.is_causal)
        return self.o_proj(mixed_BHSD.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """The gated feed-forward layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BSE: Tensor) -> Tensor:
        return self.down_proj(operations.swiglu(self.gate_proj(x_BSE), self.up_proj(x_BSE)))


class DecoderLayer(nn.Module):
    """Attention, then the feed-forward layer, each on a normalised copy of the residual stream that it adds to."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x_BSE: Tensor, context: Context) -> Tensor:
        x_BSE = x_BSE + self.self_attn(self.input_layernorm(x_BSE), context)
        return x_BSE + self.mlp(self.post_attention_layernorm(x_BSE))


class Decoder(nn.Module):
    """Tokens to their last hidden states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.run_layer: Callable[..., Tensor] = _run  # `model.compute` may put checkpointing here

    def forward(self, tokens_BS: Tensor, context: Context) -> Tensor:
        x_BSE = self.embed_tokens(tokens_BS)
        for layer in self.layers:
            x_BSE = self.run_layer(layer, x_BSE, context)
        return self.norm(x_BSE)


def _run(layer: nn.Module, x_BSE: Tensor, context: Context) -> Tensor:
    return layer(x_BSE, context)


class Head(nn.Linear):
    """Hidden states to logits; or, given targets, straight to their losses, without holding the logits."""

    def forward(self, x_BSE: Tensor, targets_BS: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride] nn.Linear takes one
        if targets_BS is None:
            return F.linear(x_BSE, self.weight)
        return operations.summed_loss_of_head(x_BSE, self.weight, targets_BS)


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
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The logits (B, S, V); or, where targets are given, what training minimises and each sample's loss, in nats.

        The objective is a scalar: the sum of the targets' cross-entropies. The losses, (B,), are each sample's part of
        that sum, and carry no gradient. Both are fp32 sums: the caller divides.

        positions_BS: by default 0, 1, 2, … after what the cache holds.
        document_ids_BS: tokens attend within their document only; by default all are of one, number 0.
        cache: read, and extended by the new tokens.
        targets_BS: the token to foretell at each place, `operations.IGNORED` for none.
        last_only: the logits of the last place only, (B, 1, V).
        """
        context = self._context(tokens_BS, positions_BS, document_ids_BS, cache)
        x_BSE = self.model(tokens_BS, context)
        if cache is not None:
            cache.length += tokens_BS.shape[1]
        return self.lm_head(x_BSE[:, -1:] if last_only else x_BSE, targets_BS)

    def _context(
        self,
        tokens_BS: Tensor,
        positions_BS: Tensor | None,
        document_ids_BS: Tensor | None,
        cache: KeyValueCache | None,
    ) -> Context:
        past, new = cache.length if cache is not None else 0, tokens_BS.shape[1]
        if positions_BS is None:
            positions_BS = torch.arange(past, past + new, device=tokens_BS.device)[None]
        dtype = self.model.norm.weight.dtype
        cos, sin = operations.rotary_angles(positions_BS, self.config.head_dim, self.config.rope_theta, dtype)
        mask = None
        if document_ids_BS is not None:
            seen_BT = document_ids_BS if cache is None else cache.extend_documents(document_ids_BS)
            mask = _causal(past, new, tokens_BS.device) & (
                document_ids_BS[:, None, :, None] == seen_BT[:, None, None, :]
            )
        elif past > 0 and new > 1:
            mask = _causal(past, new, tokens_BS.device)[None, None]
        return Context(cos, sin, mask, is_causal=mask is None and past == 0, cache=cache)


def _causal(past: int, new: int, device: torch.device) -> Tensor:
    """True where one of `new` tokens after `past` may look: at itself and before, (S, T)."""
    return torch.ones(new, past + new, dtype=torch.bool, device=device).tril(diagonal=past)
