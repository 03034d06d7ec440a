"""`clapas export --adapter`: the adapter of a run alone, as PEFT keeps it; whoever has its base can load both."""

from __future__ import annotations

from pathlib import Path

from clapas.checkpoint.format import Weights
from clapas.checkpoint.reader import CheckpointReader, find_checkpoint, verified_meanwhile
from clapas.evaluate.load import model_config_of
from clapas.model.lora_config import LoraConfig
from clapas.model.peft_folder import write_adapter
from clapas.model.source import CheckpointWeights
from clapas.recipe.errors import UserError
from clapas.recipe.files import new_folder
from clapas.release.export import refuse_to_replace


def export_adapter(run_or_checkpoint: Path, out: Path, *, weights: Weights | None = None) -> Path:
    """Write the adapter of a run's newest sound checkpoint, or of a given one, as PEFT's folder `out`; returns it.

    Its tensors are the fp32 masters; `base_model_name_or_path` is the recipe's `model.from`. weights: as `export` has
    it. Raises UserError where the run has no adapters, there is no checkpoint, or `out` is not empty.
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
    shapes = lora.shapes(config)
    tensors = CheckpointWeights(reader, config, weights, shapes)
    with new_folder(out) as folder, verified_meanwhile(reader):
        write_adapter(folder, lora, shapes, tensors.tensor, base=str(reader.recipe["model"]["from"]))
    return out
