"""`clapas export --adapter`: the adapter of a run alone, as PEFT keeps it; whoever has its base can load both."""

from __future__ import annotations

import sys
from pathlib import Path

from clapas.checkpoint.format import Weights
from clapas.checkpoint.reader import CheckpointReader, find_checkpoint, verified_meanwhile
from clapas.evaluate.load import model_config_of, tokenizer_folder_of
from clapas.model.config import ModelConfig
from clapas.model.lora_config import LoraConfig
from clapas.model.peft_folder import write_adapter
from clapas.model.source import CheckpointWeights
from clapas.model.source_config import find_source
from clapas.recipe.errors import UserError
from clapas.release.out_folder import out_folder, refuse_to_replace
from clapas.release.tokenizer_files import write_tokenizer

TURNED = ("rope_theta", "rope_scaling")
"""Keys of a model that a run may change of its base, and by which other logits are computed."""


def export_adapter(run_or_checkpoint: Path, out: Path, *, weights: Weights | None = None) -> Path:
    """Write the adapter of a run's newest sound checkpoint, or of a given one, as PEFT's folder `out`; returns it.

    Its tensors are the fp32 masters; `base_model_name_or_path` is the recipe's `model.from`. The run's tokenizer is
    beside them, for its chat template is what the adapter learned, and the base may have none or another. weights: as
    `export` has it. Raises UserError where the run has no adapters, or stretched the base's positions, which PEFT's
    format cannot say; where there is no checkpoint or tokenizer, or `out` is not empty.
    """
    refuse_to_replace(out)
    reader = CheckpointReader(find_checkpoint(run_or_checkpoint), verify=False)
    if reader.recipe.get("lora") is None:
        raise UserError(
            "this run trained the whole model, and no adapter",
            where=reader.folder,
            found="a recipe without lora",
            way_out="leave --adapter out",
        )
    config, lora = model_config_of(reader), LoraConfig.model_validate(reader.recipe["lora"])
    base = Path(reader.recipe["model"]["from"])
    _check_positions(reader, config, base)
    shapes = lora.shapes(config)
    tensors = CheckpointWeights(reader, config, weights, shapes)
    tokenizer = tokenizer_folder_of(reader)
    with out_folder(out) as folder, verified_meanwhile(reader):
        write_adapter(folder, lora, shapes, tensors.tensor, base=str(base))
        write_tokenizer(tokenizer, folder, config.max_position_embeddings)
    return out


def _check_positions(reader: CheckpointReader, config: ModelConfig, base: Path) -> None:
    """The base computes as the run's model does, but for the adapter; and what PEFT needs to open it."""
    source = find_source(base)
    if source is None:
        return
    theirs, ours = source.config().facts(), config.facts()
    if differing := [f"{key}: {ours[key]}" for key in TURNED if ours[key] != theirs[key]]:
        raise UserError(
            "the run stretched its base's positions, which an adapter alone cannot say",
            where=reader.folder,
            found=", ".join(differing),
            wanted=", ".join(f"{key}: {theirs[key]}" for key in TURNED if ours[key] != theirs[key]) + f", as {base}",
            way_out="leave --adapter out: the merged model's config.json says it",
        )
    if source.kind == "checkpoint":
        print(
            f"{base}: a checkpoint of ours, which PEFT does not open: `clapas export` it, and name that folder as "
            "base_model_name_or_path in adapter_config.json",
            file=sys.stderr,
        )
