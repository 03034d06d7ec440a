"""What one side of the comparison of DPO trains, and the pairs that it reads. Knows no torch."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clapas.loader.shard_pool import ShardPool
from clapas_data.manifest import open_manifest


@dataclass(frozen=True, slots=True)
class DpoJob:
    """One side's work.

    folder: pairs as `clapas data chat --kind pairs` writes them. batch: pairs a step, of ours about so many.
    sequence_length: of a sample of ours. precompute: of TRL's, `precompute_ref_log_probs`. recompute: of TRL's, whether
    activations are computed again in the backward pass (gradient_checkpointing), which is TRL's default.
    """

    hidden_size: int
    layers: int
    intermediate_size: int
    vocab_size: int
    folder: str
    scratch: str = ""
    batch: int = 8
    sequence_length: int = 512
    threads: int = 2
    rank: int = 0
    ranks: int = 1
    precompute: bool = False
    recompute: bool = False

    def to_json(self) -> str:
        """For the command line of a side."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_command_line() -> DpoJob:
        """The job that this process was started with."""
        return DpoJob(**json.loads(sys.argv[1]))

    @property
    def dimensions(self) -> dict[str, Any]:
        """Of a Llama decoder with tied embeddings and heads of 64, by Hugging Face's names."""
        return {
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.hidden_size // 64,
            "intermediate_size": self.intermediate_size,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.sequence_length,
            "tie_word_embeddings": True,
        }


def pairs_of(folder: Path) -> list[dict[str, list[int]]]:
    """The training pairs as TRL has them once it has tokenized: prompt_ids, chosen_ids, rejected_ids."""
    manifest, documents = open_manifest(folder), list[tuple[list[int], list[int]]]()
    pool = ShardPool(manifest)
    for place in manifest.of_split("train"):
        tokens, targets = manifest.shards[place].tokens, pool.targets(place)
        assert targets is not None
        starts = pool[place].document_starts(0, tokens)
        for start, stop in zip(starts, [*starts[1:], tokens], strict=True):
            ids, turns = pool[place].read(start, stop).tolist(), targets.read(start, stop)
            first = int((turns > 0).argmax())
            documents.append((ids[:first], ids[first:]))
    return [
        {"prompt_ids": good[0], "chosen_ids": good[1], "rejected_ids": bad[1]}
        for good, bad in zip(documents[0::2], documents[1::2], strict=True)
    ]
