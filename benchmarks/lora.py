"""A LoRA step against a step of full fine-tuning: same model, same data, same loop; PEFT on transformers beside them.

A step is forward, backward and AdamW by the training engine (ZeRO-1, one rank, fp32, CPU). All sides take turns, so
that the noise of the machine meets all of them; a figure is the median of the wall-clock times of its turns.

    python benchmarks/lora.py [--threads 1] [--turns 15] [--tokens 2048] [--rank 16]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from clapas.engine.engine import import_deepspeed
from clapas.engine.layout import layout_of
from clapas.engine.ranks import Ranks, start_ranks, stop_ranks
from clapas.model.build import build_model
from clapas.model.cpu import prepare_cpu
from clapas.model.decoder import CausalLM
from clapas.model.init import initialise
from clapas.model.lora import add_adapters
from clapas.recipe.recipe import Recipe
from clapas.train.train import build_engine

LENGTH = 256
MODEL = {
    "hidden_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 1376,
    "vocab_size": 8192,
    "max_position_embeddings": LENGTH,
    "rms_norm_eps": 1e-5,
}


def recipe_of(lora: dict[str, Any] | None, batch: int) -> Recipe:
    """One side's recipe."""
    return Recipe.model_validate(
        {
            "name": "lora-benchmark",
            "model": MODEL,
            "lora": lora,
            "data": {"path": "none", "sequence_length": LENGTH},
            "train": {"steps": 10**6, "global_batch_size": batch},
        }
    )


def base_model(recipe: Recipe) -> CausalLM:
    """The same weights on every side; with the recipe's adapters, where it has any."""
    model = build_model(recipe.model, recipe.compute.on("cpu", 1))
    initialise(model, 0)
    if recipe.lora is not None:
        add_adapters(model, recipe.lora, 0)
    return model


def our_step(recipe: Recipe, ranks: Ranks, batch: tuple[torch.Tensor, torch.Tensor]) -> Callable[[], None]:
    """One step of our engine."""
    tokens_BS, targets_BS = batch
    engine = build_engine(recipe, ranks.arranged(layout_of(recipe, ranks.size)), build=base_model)

    def step() -> None:
        loss, _ = engine(tokens_BS, targets_BS=targets_BS)
        engine.backward(loss, targets_BS.numel())
        engine.step(1e-4)

    return step


def their_step(rank: int, batch: tuple[torch.Tensor, torch.Tensor]) -> Callable[[], None]:
    """One step of PEFT on transformers, with torch's AdamW."""
    import peft
    import transformers

    tokens_BS, targets_BS = batch
    base = transformers.LlamaForCausalLM(transformers.LlamaConfig(**MODEL)).train()
    base.load_state_dict(base_model(recipe_of(None, 1)).state_dict())
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    model = peft.get_peft_model(base, config)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-4)

    def step() -> None:
        logits_BSV = model(tokens_BS, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits_BSV.flatten(0, 1), targets_BS.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """A Markdown table on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--rank", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prepare_cpu()
    import_deepspeed()
    batch = options.tokens // LENGTH
    tokens_BT = torch.randint(MODEL["vocab_size"], (batch, LENGTH + 1), generator=torch.Generator().manual_seed(0))
    pair = tokens_BT[:, :-1].contiguous(), tokens_BT[:, 1:].contiguous()
    adapters: dict[str, dict[str, Any] | None] = {
        "full fine-tuning": None,
        "LoRA, all projections": {"rank": options.rank},
        "LoRA, q_proj and v_proj": {"rank": options.rank, "targets": ["q_proj", "v_proj"]},
        "DoRA, all projections": {"rank": options.rank, "dora": True},
    }
    ranks = start_ranks()
    sides = {name: our_step(recipe_of(lora, batch), ranks, pair) for name, lora in adapters.items()}
    sides["PEFT on transformers, all projections"] = their_step(options.rank, pair)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.turns + 2):
        for name, side in sides.items():
            begin = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(taken[2:]) for name, taken in seconds.items()}
    print("| side | ms a step | of the full step |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {1000 * median:,.0f} | {median / medians['full fine-tuning']:.2f} |")
    stop_ranks()


if __name__ == "__main__":
    main()
