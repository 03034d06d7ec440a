"""A feed-forward layer of experts, of which each token uses a few (Shazeer et al., 2017), in Qwen3-MoE's form.

The experts of a layer are one module with stacked parameters: ZeRO-3 gathers whole modules, and a module for each
expert would be gathered only by the ranks whose tokens use it, while the others wait for ever.

Shapes: B batch, S sequence, N tokens, X experts, k experts of a token, E hidden, F an expert's width, R = N k.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas.model import operations
from clapas.model.config import ModelConfig
from clapas_kernels import swiglu


class ExpertWeights(nn.Module):
    """The feed-forward layers of all experts."""

    def __init__(self, count: int, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Parameter(torch.empty(count, width, hidden))
        self.up_proj = nn.Parameter(torch.empty(count, width, hidden))
        self.down_proj = nn.Parameter(torch.empty(count, hidden, width))

    def forward(self, x_RE: Tensor, rows_X: Tensor) -> Tensor:
        """Each expert's layer on its own rows. x_RE: sorted by expert; rows_X: how many of them each has."""
        if operations.multiplies_in_groups(x_RE):
            ends_X = rows_X.cumsum(0).to(torch.int32)
            gate_RF, up_RF = (F.grouped_mm(x_RE, w.mT, offs=ends_X) for w in (self.gate_proj, self.up_proj))
            return F.grouped_mm(swiglu(gate_RF, up_RF), self.down_proj.mT, offs=ends_X)
        # unbind: the gradient is stacked once; of an indexed expert it would be as large as all of them
        weights = zip(self.gate_proj.unbind(), self.up_proj.unbind(), self.down_proj.unbind(), strict=True)
        return torch.cat(
            [
                F.linear(swiglu(F.linear(x_PE, gate), F.linear(x_PE, up)), down)
                for x_PE, (gate, up, down) in zip(x_RE.split(rows_X.tolist()), weights, strict=True)
            ]
        )


class MixtureOfExperts(nn.Module):
    """Sends each token to the experts that its router gives most weight, and mixes what they return.

    over_text: sums a count over the ranks that hold the tokens of a text; by default this one holds all.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.experts is not None
        self.shape = config.experts
        self.gate = nn.Linear(config.hidden_size, self.shape.count, bias=False)
        self.experts = ExpertWeights(self.shape.count, config.hidden_size, self.shape.width)
        self.over_text: Callable[[Tensor], Tensor] = _as_it_is

    def forward(self, x_BSE: Tensor, is_target_BS: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The mixture, (B, S, E), and the balance term of the tokens that have a target (None without targets)."""
        p_BSX = self.gate(x_BSE).softmax(-1, dtype=torch.float32)
        weights_BSk, chosen_BSk = p_BSX.topk(self.shape.per_token)
        if self.shape.normalised:
            weights_BSk = weights_BSk / weights_BSk.sum(-1, keepdim=True)
        mixed_BSE = self._mix(x_BSE, weights_BSk.to(x_BSE.dtype), chosen_BSk)
        if is_target_BS is None or not self.shape.balance:
            return mixed_BSE, None
        return mixed_BSE, self.shape.balance * balance_term(p_BSX, chosen_BSk, is_target_BS, self.over_text)

    def _mix(self, x_BSE: Tensor, weights_BSk: Tensor, chosen_BSk: Tensor) -> Tensor:
        x_NE, expert_R = x_BSE.flatten(0, 1), chosen_BSk.flatten()
        order_R = expert_R.argsort(stable=True)
        rows_X = expert_R.bincount(minlength=self.shape.count)
        y_RE = self.experts(x_NE[order_R // self.shape.per_token], rows_X)
        y_NkE = y_RE[order_R.argsort()].view(len(x_NE), self.shape.per_token, -1)  # each token's k rows, side by side
        return (weights_BSk.flatten(0, 1)[:, None] @ y_NkE).view_as(x_BSE)


def _as_it_is(count: Tensor) -> Tensor:
    return count


def balance_term(
    p_BSX: Tensor, chosen_BSk: Tensor, is_target_BS: Tensor, over_text: Callable[[Tensor], Tensor] = _as_it_is
) -> Tensor:
    """How unevenly each sample's tokens load the experts, summed over the tokens: a scalar, fp32.

    Of a sample with T target tokens: T * sum_i f_i P_i, where f_i = X / (k T) * (tokens that use expert i) and P_i is
    the mean of their router's probabilities (DeepSeek-V3, 2024, equations 17 to 20): T where the load is even, more
    where it is not. It is taken sample by sample and weighted by T, so the step's sum does not depend on how samples
    are spread over micro-batches and ranks. Where ranks share a sample (over_text), f and T are the whole sample's and
    P's sum is over this rank's tokens: the ranks' terms add up to the sample's, and so do their gradients.
    """
    experts, per_token = p_BSX.shape[-1], chosen_BSk.shape[-1]
    used_BSX = torch.zeros_like(p_BSX).scatter_(-1, chosen_BSk, 1.0)
    is_target_BS1 = is_target_BS[..., None].float()
    targets_B = over_text(is_target_BS.sum(1)).clamp(min=1)
    uses_BX, weight_BX = over_text((used_BSX * is_target_BS1).sum(1)), (p_BSX * is_target_BS1).sum(1)
    return experts / per_token * ((uses_BX * weight_BX).sum(1) / targets_B).sum()
