"""The decoder trains with the kernels as it does without them: twenty steps, in triton's interpreter."""

from __future__ import annotations

import pytest
import torch

from clapas.model.config import ModelConfig
from clapas.model.decoder import CausalLM
from clapas.model.init import initialise
from clapas_kernels import use
from clapas_kernels.dispatch import Implementation
from clapas_kernels.proof.interpreter import repaired
from clapas_kernels.target import TARGETS, assume
from kernels.contract import MULTIPROCESSORS, Operators

STEPS = 20
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
"""Of a loss, relative: the rounding of the dtype, through twenty updates."""


def losses(
    architecture: str, dtype: torch.dtype, implementation: Implementation, steps: int
) -> tuple[list[float], set[str]]:
    """The loss of each step of a very small model, and the operators that were called."""
    config = ModelConfig.model_validate(
        {
            "architecture": architecture,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "intermediate_size": 24,
            "vocab_size": 40,
            "max_position_embeddings": 16,
        }
    )
    model = CausalLM(config)
    initialise(model, 0)
    model.to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = torch.randint(40, (2, 9), generator=torch.Generator().manual_seed(0))
    found: list[float] = []
    with repaired(), assume(TARGETS["sm_90"], MULTIPROCESSORS), use(implementation), Operators() as seen:
        for _ in range(steps):
            loss, _ = model(tokens[:, :-1], targets_BS=tokens[:, 1:])
            (loss / 16).backward()
            optimizer.step()
            optimizer.zero_grad()
            found.append(loss.item() / 16)
    return found, {str(operator) for operator, _ in seen.calls}


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [
        ("llama", torch.float32),
        pytest.param("llama", torch.bfloat16, marks=pytest.mark.slow),
        pytest.param("qwen3", torch.float32, marks=pytest.mark.slow),
        pytest.param("qwen3", torch.bfloat16, marks=pytest.mark.slow),
    ],
)
def test_twenty_steps_agree(architecture: str, dtype: torch.dtype) -> None:
    """Each loss, to the dtype's tolerance; and the kernels did run."""
    kernels, called = losses(architecture, dtype, "triton", STEPS)
    reference, _ = losses(architecture, dtype, "reference", STEPS)
    assert kernels == pytest.approx(reference, rel=TOLERANCE[dtype])
    assert kernels[-1] < 0.9 * kernels[0]
    turned = "qk_norm_rope" if architecture == "qwen3" else "rope"
    for name in ("rms_norm", "add_rms_norm", turned, "swiglu_linear", "linear_cross_entropy"):
        assert f"clapas.{name}.default" in called
