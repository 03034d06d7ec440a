"""A base in 4 bits on a GPU, by the real bitsandbytes."""

from __future__ import annotations

import pytest
import torch

from clapas.model.build import build_model
from clapas.model.config import ModelConfig
from clapas.model.init import initialise
from clapas.model.lora import adapters_off, add_adapters
from clapas.model.lora_config import LoraConfig, is_adapter
from clapas.model.nf4 import quantize_base, quantized

MODEL = ModelConfig(
    hidden_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=512,
    vocab_size=512,
    max_position_embeddings=128,
)


@pytest.mark.needs_gpus(1, proves="a base in 4 bits is near the base, takes a quarter of its bytes, and adapters train")
@pytest.mark.parametrize("dora", [False, True])
def test_adapters_train_on_a_base_in_four_bits(dora: bool) -> None:
    """Only adapters have gradients; the loss falls, and the base's own outputs stay as they are."""
    pytest.importorskip("bitsandbytes")
    device, dtype = torch.device("cuda"), torch.bfloat16
    model = build_model(MODEL).to(dtype)
    initialise(model, 0)
    base = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    tokens = torch.randint(0, 512, (4, 128), generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        exact = model.to(device)(tokens).float()
    model.to("cpu")
    add_adapters(model, LoraConfig.model_validate({"rank": 8, "dora": dora}), 0, dtype=dtype)
    quantize_base(model, base.__getitem__, device, dtype)
    model.to(device)
    assert len(quantized(model)) == 14
    packed = sum(buffer.numel() for name, buffer in model.named_buffers() if name.endswith("packed"))
    whole = sum(tensor.numel() for name, tensor in base.items() if "proj" in name)
    assert packed == whole // 2  # bytes: two numbers in each
    with torch.no_grad(), adapters_off(model):
        held = model(tokens).float()
    assert (held - exact).norm() < 0.25 * exact.norm()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(8):
        loss, _ = model(tokens, targets_BS=tokens)
        (loss / tokens.numel()).backward()
        assert {name for name, p in model.named_parameters() if p.grad is not None} == {
            name for name, p in model.named_parameters() if is_adapter(name)
        }
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    with torch.no_grad(), adapters_off(model):
        assert model(tokens).float().equal(held)
