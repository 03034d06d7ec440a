"""Cached generation on an accelerator: transformers' tokens there, ragged batches, bf16."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
import transformers
from tests.evaluate.small import CONFIG, PAD, write_model

from clapas.evaluate.generate import stream_tokens
from clapas.evaluate.load import load
from clapas.evaluate.sampling import Sampling

PROMPTS = [[72, 101], [5], [10, 20, 30, 40, 50, 60, 70, 80, 90], [1, 2, 3]]


@pytest.mark.needs_gpus(1, proves="generation on a GPU: transformers' greedy tokens in fp32, a ragged batch, bf16")
def test_generation_on_a_gpu(tmp_path: Path) -> None:
    """In fp32 the tokens of `generate(do_sample=False)` there; in bf16 every text goes on to its limit."""
    write_model(tmp_path, CONFIG)
    theirs = cast(Any, transformers.LlamaForCausalLM.from_pretrained(tmp_path)).cuda()
    longest = max(map(len, PROMPTS))
    tokens_BS = torch.tensor([[PAD] * (longest - len(prompt)) + prompt for prompt in PROMPTS], device="cuda")
    mask_BS = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in PROMPTS], device="cuda")
    chosen = {"do_sample": False, "max_new_tokens": 20, "max_length": None, "eos_token_id": None}
    want = theirs.generate(tokens_BS, attention_mask=mask_BS, **chosen)[:, longest:].tolist()
    for dtype in (torch.float32, torch.bfloat16):
        model = load(tmp_path, dtype=dtype).model
        steps = list(stream_tokens(model, PROMPTS, max_new_tokens=20, sampling=Sampling(temperature=0)))
        found = [list(text) for text in zip(*steps, strict=True)]
        if dtype == torch.float32:
            assert found == want
        assert [len(text) for text in found] == [20] * len(PROMPTS)
