"""How long `clapas verify` takes, beside what nobody can do without: reading a release for its hash, and loading it.

A release of a real run is made of a model of the asked size: random weights, evidence that says so, documents that
follow from it. Then, interleaved, in processes of their own:

hash     hashlib over every file, one after another
load     stock transformers: model and tokenizer
verify   `clapas verify`: sums, signature, loading, and the gate's checks of a stranger

The figure is verify / (hash + load), of medians; at most 1.1 is wanted.

    python benchmarks/release_verify.py RUN ANSWERS [--gigabytes 2] [--repeats 3]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import torch

from clapas.model.build import parameter_shapes
from clapas.model.config import ModelConfig
from clapas.model.hf_weights import write_weights
from clapas.release.answers import read_answers
from clapas.release.evidence.evidence import Evidence
from clapas.release.export import SHARD_BYTES
from clapas.release.gate.stranger import Stranger
from clapas.release.keys import generate_key
from clapas.release.release import Wishes, draft_release, seal_draft, write_documents
from clapas.release.signature import LocalKey

HASH = """
import hashlib, pathlib, sys
for path in pathlib.Path(sys.argv[1]).rglob("*"):
    if path.is_file():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
"""
LOAD = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[1])
AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto")
"""
WIDE = {"hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 8}
"""A layer of 61 million parameters, as models of a billion have."""


def main() -> None:
    """Make the release, time the three, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="release-verify-") as place:
        folder = large_release(Path(place), options.run, options.answers, options.gigabytes)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"a release of {size / 1e9:.2f} GB")
        commands = {
            "hash": [sys.executable, "-c", HASH, str(folder)],
            "load": [sys.executable, "-c", LOAD, str(folder)],
            "verify": [sys.executable, "-m", "clapas", "verify", str(folder), "--json"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.repeats):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - began)
    middle = {name: median(taken) for name, taken in seconds.items()}
    for name, taken in seconds.items():
        print(f"{name:<7} {middle[name]:6.2f} s   ({', '.join(f'{second:.2f}' for second in taken)})")
    print(f"verify / (hash + load): {middle['verify'] / (middle['hash'] + middle['load']):.2f}")


def large_release(place: Path, run: Path, answers_file: Path, gigabytes: float) -> Path:
    """A sealed release of `run`, as if its model were wide and had so many bytes of weights in bf16."""
    generate_key(place / "key")
    wishes = Wishes(LocalKey(place / "key/key.pem"))
    with Stranger() as stranger:
        draft = draft_release(run, place / "release", read_answers(answers_file), wishes, stranger)
        draft.evidence, config = larger(draft.evidence, gigabytes)
        for path in draft.folder.glob("*.safetensors"):
            path.unlink()
        hf_config = orjson.loads((draft.folder / "config.json").read_bytes())
        hf_config |= {name: getattr(config, name) for name in (*WIDE, "head_dim", "num_hidden_layers")}
        (draft.folder / "config.json").write_bytes(orjson.dumps(hf_config, option=orjson.OPT_INDENT_2))
        write_random(draft.folder, config)
        write_documents(draft.folder, draft.evidence, draft.answers, draft.digests, wishes.signer)
        seal_draft(draft, (), wishes.signer)
    return draft.folder


def larger(evidence: Evidence, gigabytes: float) -> tuple[Evidence, ModelConfig]:
    """The evidence of the same run with a model of that size: its FLOPs grow with it."""
    values: dict[str, Any] = evidence.model_dump(mode="json")
    values["model"] |= {**WIDE, "head_dim": 64}
    one, two = (with_layers(values["model"], layers).parameters() for layers in (1, 2))
    config = with_layers(values["model"], max(1, round((gigabytes * 1e9 / 2 - one) / (two - one)) + 1))
    values |= {"model": config.facts(), "parameters": config.parameters(), "active_parameters": config.parameters()}
    for name in ("flops", "flops_by_parameters"):
        values["compute"][name] *= config.parameters() / evidence.parameters
    return Evidence.model_validate(values), config


def with_layers(model: dict[str, Any], layers: int) -> ModelConfig:
    """The same dimensions in so many layers."""
    return ModelConfig.model_validate({**model, "num_hidden_layers": layers})


def write_random(folder: Path, config: ModelConfig) -> None:
    """Weights as a model is drawn at first, in bf16."""

    def draw(name: str, offset: int, out: torch.Tensor) -> None:
        out.normal_(std=config.initializer_range)

    write_weights(folder, parameter_shapes(config), draw, torch.bfloat16, SHARD_BYTES)


if __name__ == "__main__":
    main()
