"""Identity preference optimisation (Azar et al., 2023, arXiv:2310.12036, equation 17, tau = beta).

    loss = (r_chosen / n_chosen - r_rejected / n_rejected - 1 / (2 beta))^2

r: log-ratios to the reference, n: the answers' tokens. The paper's sums are divided by them, as TRL does after asking
its authors, so that beta means the same whatever the answers' lengths.
"""

from __future__ import annotations

from torch import Tensor

from clapas.tune.config import Ipo
from clapas.tune.objective import Objective
from clapas.tune.preference import Pairs, pairwise


def ipo(config: Ipo) -> Objective:
    """The objective `ipo`."""

    def losses(pairs: Pairs) -> Tensor:
        chosen_P = pairs.chosen / pairs.chosen_tokens.clamp(min=1)
        rejected_P = pairs.rejected / pairs.rejected_tokens.clamp(min=1)
        return (chosen_P - rejected_P - 1 / (2 * config.beta)).square()

    return pairwise(losses, config.beta)
