"""Forward and backward of the decoder against transformers' LlamaForCausalLM: same weights, same batch, fp32, CPU.

Both models take turns, so that the noise of the machine meets both; a figure is the least CPU time of its turns. Each
row is a process of its own: as PyTorch comes, and with each of the settings of `clapas.model.cpu`.

    python benchmarks/model.py [--threads 1] [--turns 15] [--recipe-model hidden_size=192 ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

SETTINGS = ("neither", "multiply_with_onednn", "keep_freed_memory", "prepare_cpu")
BATCH, LENGTH = 8, 256
DEMO = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 352,
    "vocab_size": 8192,
    "max_position_embeddings": LENGTH,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-5,
}


def measure(setting: str, threads: int, turns: int, changes: dict[str, int]) -> str:
    """One row: milliseconds of transformers, of ours with logits, of ours without, and the last's ratio."""
    import torch
    import transformers

    from clapas.model import cpu
    from clapas.model.config import ModelConfig
    from clapas.model.decoder import CausalLM
    from clapas.model.init import initialise
    from clapas.model.operations import summed_loss

    torch.set_num_threads(threads)
    getattr(cpu, setting, lambda: None)()
    dimensions = {**DEMO, **changes}
    ours = CausalLM(ModelConfig.model_validate(dimensions))
    initialise(ours, 0)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**dimensions)).train()
    theirs.load_state_dict(ours.state_dict())
    tokens_BT = torch.randint(dimensions["vocab_size"], (BATCH, LENGTH + 1))
    tokens_BS, targets_BS = tokens_BT[:, :-1].contiguous(), tokens_BT[:, 1:].contiguous()
    sides: list[Callable[[], torch.Tensor]] = [
        lambda: summed_loss(theirs(tokens_BS, use_cache=False).logits, targets_BS),
        lambda: summed_loss(ours(tokens_BS), targets_BS),
        lambda: ours(tokens_BS, targets_BS=targets_BS)[0],
    ]
    seconds: list[list[float]] = [[], [], []]
    for _ in range(turns + 2):
        for side, taken in zip(sides, seconds, strict=True):
            ours.zero_grad()
            theirs.zero_grad()
            begin = time.process_time()
            (side() / targets_BS.numel()).backward()
            taken.append(time.process_time() - begin)
    least = [1000 * min(taken[2:]) for taken in seconds]
    return f"| {setting} | {least[0]:.0f} | {least[1]:.0f} | {least[2]:.0f} | {least[0] / least[2]:.2f} |"


def main() -> None:
    """All rows, as a Markdown table on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--recipe-model", nargs="*", default=[], metavar="key=value", help="other dimensions")
    parser.add_argument("--setting", choices=SETTINGS, help="one row, in this process")
    options = parser.parse_args()
    changes = {key: int(value) for key, _, value in (item.partition("=") for item in options.recipe_model)}
    if options.setting:
        print(measure(options.setting, options.threads, options.turns, changes))
        return
    print(
        "| clapas.model.cpu | transformers, ms | ours with logits | ours | transformers / ours |\n|---|---|---|---|---|"
    )
    for setting in SETTINGS:
        subprocess.run([sys.executable, __file__, "--setting", setting, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
