"""The peak memory of a training step at a large vocabulary: ours, and Hugging Face's Trainer with DeepSpeed.

Each side is processes of its own, trains a few steps on the same tokens, and tells the most that it ever held: model,
optimizer, libraries and all. Each side in turn, `--starts` times; medians.

    python benchmarks/memory.py [--vocabulary 32768] [--sequence-length 2048] [--batch 4] [--starts 3]

The tokens are those of the demo (data/demo: run `make demo` first), ids modulo the vocabulary.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from peers.job import Job, Shape
from peers.race import Racer, Side

from train import SHAPES, write_tokens

STEPS = 3
SCRIPTS = {"ours": "ours.py", "Trainer with DeepSpeed": "hf_trainer.py"}


def peak(side: Side, log: Path) -> int:
    """Of a fresh start of a side that trains a few steps."""
    racer = Racer(side, log)
    try:
        racer.turn(STEPS)
        return racer.peak_memory()
    finally:
        racer.close()


def main() -> None:
    """Print a row for each side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=32_768)
    parser.add_argument("--sequence-length", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--shape", choices=SHAPES, default="larger")
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-memory"), help="logs")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    peaks: dict[str, list[int]] = {name: [] for name in SCRIPTS}
    with tempfile.TemporaryDirectory(prefix="clapas-benchmark-") as folder:
        tokens, dtype = write_tokens(options.data, options.vocabulary, Path(folder))
        given = SHAPES[options.shape]
        shape = Shape(given.hidden_size, given.layers, given.intermediate_size, options.vocabulary)
        job = Job(shape, tokens, dtype, batch=options.batch, sequence_length=options.sequence_length)
        for _ in range(options.starts):
            for name, script in SCRIPTS.items():
                peaks[name].append(peak(Side(name, script, job), options.out / f"{script}.log"))
    print(
        f"{shape.parameters / 1e6:.1f}M parameters, {options.batch} x {options.sequence_length} tokens a step, fp32\n"
    )
    print("| side | peak | of Trainer's |\n|---|---|---|")
    medians = {name: statistics.median(found) for name, found in peaks.items()}
    for name, median in medians.items():
        print(f"| {name} | {median / 1e6:,.0f} MB | {median / medians['Trainer with DeepSpeed']:.2f} |")


if __name__ == "__main__":
    main()
