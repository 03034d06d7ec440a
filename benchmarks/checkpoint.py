"""Checkpoints of 200M parameters: how long a save holds training up, bytes, loading on other ranks, export.

    python benchmarks/checkpoint.py [stall] [load] [export] [--parameters 200] [--rounds 3] [--folder DIR]

stall    the copy that an asynchronous save stops training for, over the whole of a synchronous save of the same state
load     two ranks' checkpoint read by two ranks and by others, hashes included; the memory that a rank needs beside
         its own state
export   `clapas export` in fp32 against DeepSpeed's `convert_zero_checkpoint_to_fp32_state_dict`, safetensors both
Needs 15 GB of memory and 12 GB of disk for `export`, a third of that for the others. Prints rows of Markdown.
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from clapas.checkpoint.by_slices import Part
from clapas.checkpoint.format import MASTER, Fragment, Snapshot
from clapas.checkpoint.host_copy import HostCopy
from clapas.checkpoint.ranks import Alone
from clapas.checkpoint.reader import CheckpointReader
from clapas.checkpoint.saving import Saving, write_checkpoint
from clapas.checkpoint.writer import begin, commit, write_rank
from clapas.recipe.recipe import Recipe

STATES = (MASTER, "exp_avg", "exp_avg_sq")
FACTS: dict[str, Any] = {"step": 1, "identity": "", "execution": "", "training": {}, "versions": {}}


def recipe_of(millions: int) -> Recipe:
    """A Llama of about so many million parameters: 200 is 14 layers, V = 32,000."""
    hidden = 64 * round((millions * 1e6 / 200e6) ** 0.5 * 14)
    model = {
        "hidden_size": hidden,
        "num_hidden_layers": 14,
        "num_attention_heads": hidden // 64,
        "intermediate_size": int(hidden * 8 / 3) // 64 * 64,
        "vocab_size": 32_000,
        "max_position_embeddings": 256,
        "tie_word_embeddings": False,  # DeepSpeed refuses to convert tied ones
    }
    values: dict[str, Any] = {"name": "benchmark", "model": model, "data": {"path": "none", "sequence_length": 256}}
    values |= {"optimizer": {"lr": 1e-3}, "train": {"steps": 2, "global_batch_size": 1}, "precision": "fp32"}
    return Recipe.model_validate(values)


def shapes_of(recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """The model's parameters."""
    from clapas.model.decoder import CausalLM

    with torch.device("meta"):
        return {name: tuple(p.shape) for name, p in CausalLM(recipe.model).named_parameters()}


def pieces(shapes: dict[str, tuple[int, ...]], rank: int, size: int) -> list[tuple[str, int, int]]:
    """(parameter, offset, length) of a rank's share: equal parts of all parameters in a row, as ZeRO cuts them."""
    total = sum(torch.Size(shape).numel() for shape in shapes.values())
    low, high, at, found = total * rank // size, total * (rank + 1) // size, 0, []
    for name, shape in shapes.items():
        end = at + torch.Size(shape).numel()
        first, last = max(low, at), min(high, end)
        if first < last:
            found.append((name, first - at, last - first))
        at = end
    return found


def snapshot_of(shapes: dict[str, tuple[int, ...]], rank: int = 0, size: int = 1) -> Snapshot:
    """A rank's share of weights and two moments."""
    fragments = [
        Fragment(name, shapes[name], offset, {state: torch.randn(length) for state in STATES}, {"step": 1.0})
        for name, offset, length in pieces(shapes, rank, size)
    ]
    return Snapshot(fragments)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def stall(millions: int, rounds: int, folder: Path) -> None:
    """Synchronous and asynchronous saves in turn; what the loop waits for in each."""
    recipe = recipe_of(millions)
    shapes = shapes_of(recipe)
    snapshot, copy = snapshot_of(shapes), HostCopy()
    parameters = sum(torch.Size(shape).numel() for shape in shapes.values())
    first = seconds(lambda: copy.take(snapshot))
    whole, held, size, facts = [], [], 0, {**FACTS, "recipe": {}}
    for number in range(rounds):
        whole.append(
            seconds(lambda number=number: write_checkpoint(folder / f"sync-{number}", snapshot, facts, Alone()))
        )
        started = time.perf_counter()
        saving = Saving(folder / f"async-{number}", copy.take(snapshot), facts, Alone())
        held.append(time.perf_counter() - started)
        assert saving.is_done(wait=True)
        size = sum(path.stat().st_size for path in saving.final.iterdir())
    ratios = [a / b for a, b in zip(held, whole, strict=True)]
    times = f"{statistics.median(held):.2f} s of {statistics.median(whole):.2f} s: {statistics.median(ratios):.3f}"
    what = f"stall of an asynchronous save, {parameters:,} parameters"
    row(what, f"{times} (the first, into fresh memory: {first:.2f} s)", 0.15)
    row("bytes on disk over 12 a parameter", f"{size / (12 * parameters):.5f}", 1.02)


def load(millions: int, rounds: int, folder: Path) -> None:
    """Each rank in a process of its own, one after the other."""
    recipe = recipe_of(millions)
    shapes = shapes_of(recipe)
    partial, final = folder / ".partial", folder / "step-00000001"
    begin(partial)
    for rank in range(2):
        write_rank(partial, snapshot_of(shapes, rank, 2), Part(rank, 2))
    commit(partial, final, {}, {**FACTS, "recipe": {}}, 2)
    took: dict[int, list[float]] = {size: [] for size in (2, 1, 3, 4)}
    beside: dict[int, list[float]] = {size: [] for size in took}
    for _ in range(rounds):
        for size in took:
            answers = [one_rank(final, millions, rank, size) for rank in range(size)]
            took[size].append(sum(answer["seconds"] for answer in answers))
            beside[size].append(max(answer["peak"] / answer["state"] for answer in answers))
    for size, found in took.items():
        ratio = statistics.median(b / a for a, b in zip(took[2], found, strict=True))
        if size != 2:
            row(
                f"load by {size} ranks of what 2 wrote, over the load by 2 (all ranks' seconds)",
                f"{statistics.median(found):.2f} s of {statistics.median(took[2]):.2f} s: {ratio:.2f}",
                1.3,
            )
        row(f"memory of a rank of {size}, over its own state", f"{max(beside[size]):.3f}", 1.1)


def one_rank(checkpoint: Path, millions: int, rank: int, size: int) -> dict[str, float]:
    """Seconds and peak memory of one rank's load."""
    command = [sys.executable, __file__, "rank", str(checkpoint), str(millions), str(rank), str(size)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def load_rank(checkpoint: Path, millions: int, rank: int, size: int) -> None:
    """Read a rank's share into its own tensors, its share of the hashes verified first."""
    shapes = shapes_of(recipe_of(millions))
    before = peak_memory()
    started = time.perf_counter()
    reader = CheckpointReader(checkpoint, verify=False)
    reader.check_hashes(rank, size)
    mine = []
    for name, offset, length in pieces(shapes, rank, size):
        for state in STATES:
            mine.append(torch.empty(length))
            reader.read_into(name, state, offset, mine[-1])
    took = time.perf_counter() - started
    state = sum(tensor.nbytes for tensor in mine)
    print(json.dumps({"seconds": took, "peak": peak_memory() - before, "state": state}))


def peak_memory() -> int:
    """The most bytes that this process held. (`ru_maxrss` also counts the parent's, before exec.)"""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


EXPORTERS = {
    "ours": """
import sys, time, json
from clapas.release.export import export
before, begin = peak_memory(), time.perf_counter()
export(Path(sys.argv[1]), Path(sys.argv[2]), dtype="fp32", tokenizer=Path(sys.argv[3]))
""",
    "DeepSpeed": """
import sys, time, json
from deepspeed.utils.zero_to_fp32 import convert_zero_checkpoint_to_fp32_state_dict
before, begin = peak_memory(), time.perf_counter()
convert_zero_checkpoint_to_fp32_state_dict(sys.argv[1], sys.argv[2], safe_serialization=True)
""",
}
TOLD = """
print()
print(json.dumps({"seconds": time.perf_counter() - begin, "peak": peak_memory() - before}))
"""


def export_both(millions: int, rounds: int, folder: Path, tokenizer: Path) -> None:
    """One engine, saved by DeepSpeed and by us, and exported in turn."""
    command = [sys.executable, __file__, "engine", str(folder), str(millions)]
    subprocess.run(command, check=True, capture_output=True)
    sources = {"ours": folder / "ours/step-00000001", "DeepSpeed": folder / "deepspeed"}
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sources}
    for number in range(rounds):
        for side, source in sources.items():
            arguments = [str(source), str(folder / f"out-{side}-{number}"), str(tokenizer)]
            script = [
                sys.executable,
                "-c",
                f"from pathlib import Path\n{inspect.getsource(peak_memory)}{EXPORTERS[side]}{TOLD}",
                *arguments,
            ]
            lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
            found[side].append(json.loads(lines[-1]))
    ratio = statistics.median(
        a["seconds"] / b["seconds"] for a, b in zip(found["ours"], found["DeepSpeed"], strict=True)
    )
    median = {side: statistics.median(one["seconds"] for one in all_) for side, all_ in found.items()}
    row(
        "export to fp32 safetensors, over DeepSpeed's own conversion",
        f"{median['ours']:.1f} s of {median['DeepSpeed']:.1f} s: {ratio:.2f}",
        0.5,
    )
    largest = max(torch.Size(shape).numel() for shape in shapes_of(recipe_of(millions)).values()) * 4
    peaks = {side: max(one["peak"] for one in all_) for side, all_ in found.items()}
    beyond = {side: f"{(peak - largest) / 1e6:.0f} MB" for side, peak in peaks.items()}
    what = "its memory beyond the largest tensor, after imports (DeepSpeed's)"
    row(what, f"{beyond['ours']} ({beyond['DeepSpeed']})", "300 MB")


def save_engine(folder: Path, millions: int) -> None:
    """Train one step, and save the engine both ways."""
    from clapas.engine.ranks import start_ranks
    from clapas.engine.state import capture
    from clapas.train.train import build_engine

    recipe, ranks = recipe_of(millions), start_ranks()
    engine = build_engine(recipe, ranks)
    tokens = torch.randint(0, recipe.model.vocab_size, (1, 33))
    loss, _ = engine(tokens[:, :-1], targets_BS=tokens[:, 1:])
    engine.backward(loss, 32)
    engine.step(1e-3)
    snapshot, _ = capture(engine)
    write_checkpoint(folder / "ours", snapshot, {**FACTS, "recipe": recipe.model_dump(mode="json")}, Alone())
    engine.deepspeed.save_checkpoint(str(folder / "deepspeed"))


def row(what: str, measured: str, reach: object) -> None:
    """A line of the table."""
    print(f"| {what} | {measured} | {reach} |", flush=True)


def main() -> None:
    """Measure what is asked for, or all."""
    if sys.argv[1:2] == ["rank"]:
        return load_rank(Path(sys.argv[2]), *map(int, sys.argv[3:]))
    if sys.argv[1:2] == ["engine"]:
        return save_engine(Path(sys.argv[2]), int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["stall", "load", "export"])
    parser.add_argument("--parameters", type=int, default=200, help="millions")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--tokenizer", type=Path, default=Path("data/demo/tokenizer"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| what | measured | to reach |\n|---|---|---|", flush=True)
    for what in options.what:
        with tempfile.TemporaryDirectory(prefix="clapas-benchmark-", dir=options.folder) as name:
            if what == "export":
                export_both(options.parameters, options.rounds, Path(name), options.tokenizer.absolute())
            else:
                {"stall": stall, "load": load}[what](options.parameters, options.rounds, Path(name))
    return None


if __name__ == "__main__":
    main()
