"""Direct preference optimisation (Rafailov et al., 2023, arXiv:2305.18290).

    loss = -log sigmoid(beta (r_chosen - r_rejected)),   r = log p(answer) - log p_reference(answer)

label_smoothing e is how often a label is thought to be wrong (conservative DPO, Mitchell, 2023):

    loss = -(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d)
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from clapas.tune.config import Dpo
from clapas.tune.objective import Objective
from clapas.tune.preference import Pairs, pairwise


def dpo(config: Dpo) -> Objective:
    """The objective `dpo`."""

    def losses(pairs: Pairs) -> Tensor:
        scores_P = config.beta * (pairs.chosen - pairs.rejected)
        smoothing = config.label_smoothing
        if not smoothing:
            return -logsigmoid(scores_P)
        return -(1 - smoothing) * logsigmoid(scores_P) - smoothing * logsigmoid(-scores_P)

    return pairwise(losses, config.beta)
