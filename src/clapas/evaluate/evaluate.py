"""`clapas eval`: a model's loss and bits per byte on the documents that it did not train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clapas.checkpoint.format import Weights
from clapas.evaluate.bits_per_byte import score
from clapas.evaluate.compression import compression_table, xz_bits_per_byte
from clapas.evaluate.load import LoadedModel, load
from clapas.loader.windows import Windows
from clapas.model.cpu import prepare_cpu
from clapas.recipe.errors import UserError
from clapas_data.manifest import open_manifest

WINDOWS_AT_ONCE = 16


def evaluate(
    model: Path,
    *,
    data: Path | None = None,
    split: str = "heldout",
    stride: int | None = None,
    tokenizer: Path | None = None,
    weights: Weights | None = None,
) -> dict[str, Any]:
    """Score a model on a split of token shards.

    model: a Hugging Face folder, a run or a checkpoint. data: the folder of the shards; by default the run's own.
    stride: new tokens of a window; by default half of one. weights: of a checkpoint, see `load`.
    Returns `loss` (nats a token), `bits_per_byte` (None where the shards do not know their text's bytes), `tokens`
    scored, the text's `bytes`, and what they were measured on. Raises UserError where model and shards do not fit.
    """
    prepare_cpu()
    loaded = load(model, tokenizer=tokenizer, weights=weights)
    folder = data or loaded.data
    if folder is None:
        raise UserError("nothing to evaluate on", where=model, way_out="name the folder of the shards: --data FOLDER")
    manifest = open_manifest(folder)
    if manifest.tokenizer is not None and manifest.tokenizer != loaded.special:
        raise UserError(
            "the shards were made by another tokenizer than the model's",
            where=folder,
            found=manifest.tokenizer.describe(),
            wanted=loaded.special.describe(),
            way_out="build the shards with the model's tokenizer: `clapas data build CORPUS --tokenizer FOLDER`",
        )
    length = loaded.sequence_length
    windows = Windows(
        manifest,
        sequence_length=length,
        stride=max(1, length // 2) if stride is None else stride,
        batch_size=WINDOWS_AT_ONCE,
        split=split,
    )
    return _measured(loaded, windows, split, folder)


def _measured(loaded: LoadedModel, windows: Windows, split: str, folder: Path) -> dict[str, Any]:
    scored = score(loaded.model, windows, device=loaded.device)
    if scored.tokens == 0:
        raise UserError("nothing to score", where=folder, found=f"split {split} holds no token that can be foretold")
    return {
        "model": str(loaded.source),
        "data": str(folder),
        "split": split,
        "loss": scored.loss,
        "bits_per_byte": scored.bits_per_byte(windows),
        "tokens": scored.tokens,
        "bytes": windows.text_bytes,
        "window": windows.sequence_length,
        "stride": windows.stride,
    }


def compare_with_xz(measured: dict[str, Any]) -> dict[str, float]:
    """What `xz -9e` makes of the text that `evaluate` measured. Raises UserError where its bytes are not known."""
    if measured["bits_per_byte"] is None:
        raise UserError("nothing to compare with: the shards do not know their text's bytes", where=measured["data"])
    return xz_bits_per_byte(open_manifest(Path(measured["data"])), measured["split"])


def evaluation_table(measured: dict[str, Any]) -> str:
    """What `evaluate` returned, for reading."""
    bits = measured["bits_per_byte"]
    size = "unknown" if measured["bytes"] is None else f"{measured['bytes']:,}"
    rows = {
        "model": measured["model"],
        "data": f"{measured['data']}, split {measured['split']}: {measured['tokens']:,} tokens, {size} bytes of text",
        "windows": f"{measured['window']:,} tokens, of which {measured['stride']:,} new",
        "loss": f"{measured['loss']:.4f} nats a token",
        "bits per byte": "unknown: the shards do not know their text's bytes" if bits is None else f"{bits:.4f}",
    }
    lines = [f"{name:14}{value}" for name, value in rows.items()]
    if "xz" in measured:
        lines += ["", compression_table(measured)]
    return "\n".join(lines)
