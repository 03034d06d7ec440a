"""Greedy cached generation against transformers' `generate`: same weights, same prompts, fp32, CPU, the same tokens.

Sides take turns within one process, so that the noise of the machine meets all; a figure is the median over rounds of
their ratio, quartiles in brackets. transformers runs as it comes and again with our CPU settings (`clapas.model.cpu`),
each in a process of its own, for a process has one setting; `ours` always generates as `clapas generate` does.

    python benchmarks/generation.py [--threads 1] [--rounds 7] [--shapes demo 30m 90m]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

PROMPT, NEW = 32, 96
BATCHES = {"1": (PROMPT,), "8": (PROMPT,) * 8, "8, ragged": tuple(range(4, 4 + 8 * 8, 8))}
"""Name -> the prompts' lengths, in tokens."""
COMMON = {"max_position_embeddings": 512, "rms_norm_eps": 1e-5, "initializer_range": 0.05}
SHAPES: dict[str, dict[str, Any]] = {
    "demo": {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 352,
        "vocab_size": 8192,
        "tie_word_embeddings": True,
    },
    "30m": {
        "hidden_size": 384,
        "num_hidden_layers": 8,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "intermediate_size": 1024,
        "vocab_size": 32_768,
        "tie_word_embeddings": True,
    },
    "90m": {
        "hidden_size": 768,
        "num_hidden_layers": 10,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "intermediate_size": 2048,
        "vocab_size": 32_768,
        "tie_word_embeddings": True,
    },
}
SETTINGS = {"as it comes": "neither", "our CPU settings": "prepare_cpu"}


def measure(shape: str, setting: str, threads: int, rounds: int) -> list[str]:
    """A row for each batch: tokens/s of both sides and the ratio. Raises where a token differs."""
    import torch
    import transformers

    from clapas.evaluate.generate import stream_tokens
    from clapas.evaluate.sampling import Sampling
    from clapas.model import cpu
    from clapas.model.config import ModelConfig
    from clapas.model.decoder import CausalLM
    from clapas.model.init import initialise
    from clapas.model.layout import lay_out

    torch.set_num_threads(threads)
    getattr(cpu, SETTINGS[setting], lambda: None)()
    dimensions = {**COMMON, **SHAPES[shape]}
    ours = CausalLM(ModelConfig.model_validate(dimensions)).eval()
    initialise(ours, 0)
    theirs: Any = transformers.LlamaForCausalLM(transformers.LlamaConfig(**dimensions)).eval()
    theirs.load_state_dict(ours.state_dict())
    theirs.generation_config.eos_token_id = None
    rows = []
    for name, lengths in BATCHES.items():
        generator = torch.Generator().manual_seed(1)
        prompts = [torch.randint(dimensions["vocab_size"], (n,), generator=generator).tolist() for n in lengths]
        longest = max(lengths)
        lay_out(ours, len(lengths))
        tokens_BS = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
        mask_BS = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])

        def by_transformers(tokens_BS: Any = tokens_BS, mask_BS: Any = mask_BS) -> list[list[int]]:
            chosen = {"do_sample": False, "max_new_tokens": NEW, "pad_token_id": 0}
            return theirs.generate(tokens_BS, attention_mask=mask_BS, **chosen)[:, tokens_BS.shape[1] :].tolist()

        def by_clapas(prompts: list[list[int]] = prompts) -> list[list[int]]:
            steps = stream_tokens(ours, prompts, max_new_tokens=NEW, sampling=Sampling(temperature=0))
            return [list(text) for text in zip(*steps, strict=True)]  # pyright: ignore[reportReturnType] none ends

        rows.append(_row(shape, setting, name, by_transformers, by_clapas, rounds, len(prompts) * NEW))
    return rows


def _row(
    shape: str, setting: str, batch: str, theirs: Callable[[], Any], ours: Callable[[], Any], rounds: int, tokens: int
) -> str:
    same = sum(a == b for a, b in zip(theirs(), ours(), strict=True))
    seconds = [(_seconds(theirs), _seconds(ours)) for _ in range(rounds)]
    low, middle, high = statistics.quantiles([a / b for a, b in seconds], n=4)
    rates = [tokens / statistics.median(taken) for taken in zip(*seconds, strict=True)]
    texts = tokens // NEW
    return (
        f"| {shape} | {batch} | {setting} | {rates[0]:,.0f} | {rates[1]:,.0f} | **{middle:.2f}** "
        f"({low:.2f}–{high:.2f}) | {same} of {texts} |"
    )


def _seconds(side: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    side()
    return time.perf_counter() - begin


def main() -> None:
    """All rows, as a Markdown table on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--here", action="store_true", help="in this process: one shape, one setting")
    options = parser.parse_args()
    if options.here:
        print("\n".join(measure(options.shapes[0], options.settings[0], options.threads, options.rounds)))
        return
    print("| shape | batch | transformers | its tokens/s | ours | ours / its | same texts |\n" + "|---" * 7 + "|")
    for shape in options.shapes:
        for setting in options.settings:
            chosen = ["--here", "--shapes", shape, "--settings", setting, "--rounds", str(options.rounds)]
            subprocess.run([sys.executable, __file__, *chosen, "--threads", str(options.threads)], check=True)


if __name__ == "__main__":
    main()
