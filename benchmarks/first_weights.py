"""The memory of a rank while a run takes its first weights from a Hugging Face folder (`model.from`) at ZeRO-3.

Real ranks over gloo. Each tells the most that it held until its model was built, the most until the weights were
loaded, and what it holds then: its shares of weights, masters and gradients. In units of the model: a rank that holds a
whole model while it builds it is at 1 or more. Beside it the same model drawn at random, which each rank draws whole.

    python benchmarks/first_weights.py [--layers 16] [--hidden 768] [--ranks 2 4] [--precision bf16]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
import torch
import yaml

from clapas.model.build import parameter_shapes
from clapas.model.config import ModelConfig
from clapas.model.hf_config import to_hf_config
from clapas.model.hf_weights import write_weights

RANK = """
import json, os, re, sys
from pathlib import Path
from clapas.engine.empty import building_empty
from clapas.engine.engine import open_communication
from clapas.engine.layout import layout_of
from clapas.engine.ranks import start_ranks
from clapas.engine.state import load_weights
from clapas.recipe.recipe import read_recipe
from clapas.train.callbacks.base import Callback
from clapas.train.first_weights import open_first_weights
from clapas.train.train import build_engine

def held(which):
    return int(re.search(rf"{which}:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

class AsBuilt(Callback):
    def on_build(self, model):
        self.peak = held("VmHWM")

recipe, built = read_recipe(sys.argv[1]), AsBuilt()
ranks = start_ranks()
ranks = ranks.arranged(layout_of(recipe, ranks.size))
open_communication("cpu")
before = held("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
engine = build_engine(recipe, ranks, [built])
if recipe.model.from_ is not None:
    load_weights(engine, open_first_weights(recipe, ranks))
facts = {"built": built.peak - before, "peak": held("VmHWM") - before, "after": held("VmRSS") - before}
ranks.all(True)
Path(sys.argv[2], f"{ranks.rank}.json").write_text(json.dumps(facts))
os._exit(0)
"""


def shape(layers: int = 16, hidden: int = 768, vocabulary: int = 16_384) -> ModelConfig:
    """A Llama; as it is, 176 million parameters."""
    return ModelConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
        vocab_size=vocabulary,
        max_position_embeddings=1024,
    )


def write_base(folder: Path, config: ModelConfig) -> None:
    """A model of random numbers in shards of 50 MB, in fp32."""
    folder.mkdir()
    shapes = parameter_shapes(config)
    write_weights(folder, shapes, lambda name, offset, out: out.normal_(), torch.float32, 50 * 10**6)
    (folder / "config.json").write_bytes(orjson.dumps(to_hf_config(config, eos=0, bos=None, pad=None, dtype="float32")))


def measure(config: ModelConfig, ranks: int, *, begun: bool, precision: str, folder: Path) -> list[dict[str, int]]:
    """Bytes that each rank held at most until the model was built, and until it was filled; and holds then.

    begun: with the weights in folder/base; else drawn at random. What a rank held before is taken off.
    """
    recipe = {
        "name": "memory",
        "model": {"from": str(folder / "base")} if begun else config.facts(),
        "data": {"path": str(folder), "sequence_length": 64},
        "train": {"steps": 10, "global_batch_size": ranks},
        "schedule": {"warmup_steps": 0},
        "precision": precision,
        "parallel": {"zero_stage": 3},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with tempfile.TemporaryDirectory(dir=folder) as out:
        started = []
        for rank in range(ranks):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}
            environment = {**os.environ, **place, "CLAPAS_RENDEZVOUS": f"file://{out}/meeting"}
            command = [sys.executable, "-c", RANK, str(folder / "recipe.yaml"), out]
            started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
        for process in started:
            _, errors = process.communicate(timeout=600)
            if process.returncode:
                raise RuntimeError(errors.decode())
        return [json.loads(Path(out, f"{rank}.json").read_text()) for rank in range(ranks)]


def main() -> None:
    """Print a row for each number of ranks and way to begin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--vocabulary", type=int, default=16_384)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--precision", default="bf16")
    options = parser.parse_args()
    config = shape(options.layers, options.hidden, options.vocabulary)
    size = 4 * config.parameters()
    print(f"{config.parameters() / 1e6:.0f}M parameters, {size / 1e6:,.0f} MB in fp32; ZeRO-3, {options.precision}\n")
    print(
        "| ranks | begins | most until built | in models | most until filled | held then |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="clapas-benchmark-") as name:
        folder = Path(name)
        write_base(folder / "base", config)
        for ranks in options.ranks:
            for begun in (True, False):
                found = measure(config, ranks, begun=begun, precision=options.precision, folder=folder)
                built, peak, after = (max(rank[key] for rank in found) for key in ("built", "peak", "after"))
                how = "`model.from`" if begun else "drawn at random"
                columns = f"{built / 1e6:,.0f} MB | {built / size:.2f} | {peak / 1e6:,.0f} MB | {after / 1e6:,.0f} MB"
                print(f"| {ranks} | {how} | {columns} |")


if __name__ == "__main__":
    main()
