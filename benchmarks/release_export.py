"""What `clapas export` takes of a model of about a billion parameters: bytes written, memory, time.

    python benchmarks/release_export.py [--layers 8] [--vocabulary 131072] [--folder DIR]

A checkpoint of random weights is written by slices, as `clapas import` does, and exported to bf16 in a process of its
own. Memory is the most that process held (VmHWM), less what it held after its imports; to reach is the largest tensor,
as stored, and 300 MB. Bytes are those of all files of the folder, over 2 a parameter; to reach is 1.01. Needs 8 GB of
disk and 3 GB of memory at the default size. Prints rows of Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from clapas.checkpoint.by_slices import Slice, write_by_slices
from clapas.model.build import parameter_shapes
from clapas.model.config import ModelConfig

EXPORT = """
import json, sys, time
from pathlib import Path
from clapas.release.export import export
def peak():
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before, begin = peak(), time.perf_counter()
export(Path(sys.argv[1]), Path(sys.argv[2]), tokenizer=Path(sys.argv[3]), keep_padding=True)
print(json.dumps({"beside": peak() - before, "before": before, "seconds": time.perf_counter() - begin}))
"""


def config_of(layers: int, vocabulary: int) -> ModelConfig:
    """Layers of 61 million parameters, as models of a billion have."""
    return ModelConfig(
        hidden_size=2048,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        intermediate_size=8192,
        vocab_size=vocabulary,
        max_position_embeddings=4096,
    )


def write_checkpoint(folder: Path, config: ModelConfig) -> Path:
    """Random weights in fp32."""
    facts: dict[str, Any] = {"step": 0, "identity": "", "execution": "", "training": {}, "versions": {}}
    facts["recipe"] = {"model": config.model_dump(mode="json")}

    def read(part: Slice) -> torch.Tensor:
        return torch.randn(part[2])

    return write_by_slices(folder, parameter_shapes(config), read, {}, facts)


def main() -> None:
    """Write, export, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=131_072)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--tokenizer", type=Path, default=Path("data/demo/tokenizer"))
    options = parser.parse_args()
    config = config_of(options.layers, options.vocabulary)
    largest = 2 * max(map(math.prod, parameter_shapes(config).values()))
    with tempfile.TemporaryDirectory(prefix="clapas-benchmark-", dir=options.folder) as name:
        checkpoint, out = write_checkpoint(Path(name) / "run", config), Path(name) / "out"
        command = [sys.executable, "-c", EXPORT, str(checkpoint), str(out), str(options.tokenizer.absolute())]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        written = sum(path.stat().st_size for path in out.iterdir())
    print("| what | measured | to reach |\n|---|---|---|")
    print(f"| bytes exported over 2 x {config.parameters():,} | {written / (2 * config.parameters()):.5f} | 1.01 |")
    beyond = (found["beside"] - largest) / 1e6
    held = f"{found['beside'] / 1e6:.0f} MB over {found['before'] / 1e6:.0f} MB after imports"
    print(f"| memory beyond the largest tensor ({largest / 1e6:.0f} MB as stored): {held} | {beyond:.0f} MB | 300 MB |")
    print(f"| seconds, the checkpoint's hashes verified meanwhile | {found['seconds']:.1f} | |")


if __name__ == "__main__":
    main()
