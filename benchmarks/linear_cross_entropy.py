"""The loss of a language model's head on a CPU, forward and backward: memory and time without its logits, and with.

    python benchmarks/linear_cross_entropy.py [--tokens 8192] [--vocabulary 32768] [--hidden 512] [--rounds 5]
        [--dtype float32] [--threads 1]

plain    logits = hidden weight^T; `F.cross_entropy`
torch    `torch.nn.functional.linear_cross_entropy` in chunks of its own choice (PyTorch 2.13 and later)
ours     `clapas_kernels.linear_cross_entropy`
Memory: the peak of a fresh process (VmHWM) that takes one step, beyond what stood there before it: so gradients count,
hidden states and weight do not. Time: sides take turns in one process; medians over rounds of each round's ratio. All
with the CPU settings of `clapas train`. Prints rows of Markdown. Linux.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 torch's own name

from clapas.model.cpu import prepare_cpu
from clapas_kernels import linear_cross_entropy

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain(hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor) -> Tensor:
    """All logits, in fp32 for the loss."""
    return F.cross_entropy(F.linear(hidden_NE, weight_VE).float(), targets_N, reduction="sum")


def torchs(hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor) -> Tensor:
    """PyTorch's own."""
    options = torch.nn.LinearCrossEntropyOptions()
    return F.linear_cross_entropy(hidden_NE, weight_VE, targets_N, reduction="sum", options=options)


def ours(hidden_NE: Tensor, weight_VE: Tensor, targets_N: Tensor) -> Tensor:
    """The objective."""
    return linear_cross_entropy(hidden_NE, weight_VE, targets_N)[0]


SIDES: dict[str, Loss] = {"plain": plain, "torch": torchs, "ours": ours}


def inputs_of(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    """hidden, weight and targets; the first two want gradients."""
    generator, dtype = torch.Generator().manual_seed(0), getattr(torch, options.dtype)
    hidden_NE = torch.randn(options.tokens, options.hidden, generator=generator)
    weight_VE = torch.randn(options.vocabulary, options.hidden, generator=generator) / options.hidden**0.5
    targets_N = torch.randint(options.vocabulary, (options.tokens,), generator=generator)
    return hidden_NE.to(dtype).requires_grad_(), weight_VE.to(dtype).requires_grad_(), targets_N


def step(loss: Loss, inputs: tuple[Tensor, Tensor, Tensor]) -> float:
    """CPU seconds of a forward and a backward pass."""
    for x in inputs:
        x.grad = None
    begin = time.process_time()
    (loss(*inputs) / len(inputs[2])).backward()
    return time.process_time() - begin


def status(what: str) -> float:
    """VmRSS or VmHWM of this process, in MB of 2^20 bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def peak_of_one_step(side: str, options: argparse.Namespace) -> float:
    """MB, in this process, which must be fresh."""
    inputs = inputs_of(options)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew at VmRSS
    before = status("VmRSS")
    step(SIDES[side], inputs)
    return status("VmHWM") - before


def main() -> None:
    """A row a side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"tokens": 8192, "vocabulary": 32_768, "hidden": 512, "rounds": 5, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--peak", choices=SIDES, help="the peak of one side, in this process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prepare_cpu()
    if options.peak:
        print(peak_of_one_step(options.peak, options))
        return
    sides = {name: side for name, side in SIDES.items() if name != "torch" or hasattr(F, "linear_cross_entropy")}
    peaks = {name: _peak_in_a_fresh_process(name) for name in sides}
    inputs = inputs_of(options)
    rounds = [{name: step(side, inputs) for name, side in sides.items()} for _ in range(options.rounds + 1)][1:]
    print("| side | peak of a step (MB) | of plain | CPU seconds | of plain |\n|---|---|---|---|---|")
    for name in sides:
        seconds = statistics.median(taken[name] for taken in rounds)
        ratios = sorted(taken[name] / taken["plain"] for taken in rounds)
        spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}–{ratios[-1]:.3f})"
        print(f"| {name} | {peaks[name]:,.0f} | {peaks[name] / peaks['plain']:.3f} | {seconds:.2f} | {spread} |")


def _peak_in_a_fresh_process(side: str) -> float:
    command = [sys.executable, __file__, *sys.argv[1:], "--peak", side]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    main()
