"""`clapas eval MODEL`: loss and bits per byte on the documents, or accuracy on the examples, that nobody trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clapas.engine.ranks import Ranks
from clapas.evaluate.breakdown import By, parts_table, score_parts, whole_of
from clapas.evaluate.compression import compression_table, xz_bits_per_byte
from clapas.evaluate.examples import examples_table, score_examples
from clapas.evaluate.load import LoadedModel
from clapas.loader.held_out import HeldOutExamples
from clapas.loader.packing import Packing
from clapas.loader.windows import Windows
from clapas.recipe.errors import UserError
from clapas_data.manifest import Manifest, open_manifest

WINDOWS_AT_ONCE = 16


def evaluate(
    loaded: LoadedModel,
    *,
    data: Path | None = None,
    split: str = "heldout",
    stride: int | None = None,
    by: By | None = None,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Score a model on a split of token shards. A collective where there are ranks.

    data: the folder of the shards; by default the run's own. stride: new tokens of a window; by default half of one.
    by: also the parts that add up to the whole.
    Returns `loss` (nats a token), `perplexity`, `bits_per_byte` (None where the shards do not know their text's bytes),
    `tokens` scored, the text's `bytes`, `parts`, and what they were measured on; of examples what `score_examples`
    gives. Raises UserError where model and shards do not fit.
    """
    manifest = fitting_manifest(loaded, data)
    common = {"model": str(loaded.source), "data": str(manifest.folder), "split": split}
    if manifest.examples is not None:
        return {**common, **_of_examples(loaded, manifest, split, by, ranks)}
    rank, world = (0, 1) if ranks is None else (ranks.data_rank, ranks.data_size)
    length = loaded.sequence_length
    windows = Windows(
        manifest,
        sequence_length=length,
        stride=max(1, length // 2) if stride is None else stride,
        batch_size=WINDOWS_AT_ONCE,
        split=split,
        rank=rank,
        world=world,
    )
    parts = score_parts(loaded.model, windows, split, by, device=loaded.device, ranks=ranks)
    whole = whole_of(parts)
    if whole.tokens == 0:
        found = f"split {split} holds no token that can be foretold"
        raise UserError("nothing to score", where=manifest.folder, found=found)
    return {
        **common,
        **{name: value for name, value in whole.row().items() if name != "name"},
        "by": by,
        "parts": [part.row() for part in parts] if by else [],
        "window": windows.sequence_length,
        "stride": windows.stride,
    }


def fitting_manifest(loaded: LoadedModel, data: Path | None) -> Manifest:
    """The shards that a model is measured on. Raises UserError where another tokenizer made them."""
    folder = data or loaded.data
    if folder is None:
        way_out = "name the folder of the shards: --data FOLDER"
        raise UserError("nothing to evaluate on", where=loaded.source, way_out=way_out)
    manifest = open_manifest(folder)
    if manifest.tokenizer is not None and not manifest.tokenizer.makes_tokens_of(loaded.special):
        raise UserError(
            "the shards were made by another tokenizer than the model's",
            where=folder,
            found=manifest.tokenizer.describe(),
            wanted=loaded.special.describe(),
            way_out="build the shards with the model's tokenizer: `clapas data build CORPUS --tokenizer FOLDER`",
        )
    return manifest


def _of_examples(
    loaded: LoadedModel, manifest: Manifest, split: str, by: By | None, ranks: Ranks | None
) -> dict[str, Any]:
    assert manifest.examples is not None
    if by is not None:
        raise UserError(
            f"{manifest.examples.kind} have turns, not bytes of running text",
            where=manifest.folder,
            found=f"--by {by}",
            way_out="leave --by out",
        )
    rank, world = (0, 1) if ranks is None else (ranks.data_rank, ranks.data_size)
    examples = HeldOutExamples(
        manifest,
        Packing("best_fit", "drop"),
        sequence_length=loaded.sequence_length,
        batch_size=WINDOWS_AT_ONCE,
        split=split,
        rank=rank,
        world=world,
    )
    scored = score_examples(loaded.model, examples, device=loaded.device, ranks=ranks)
    if not scored["tokens"]:
        raise UserError("nothing to score", where=manifest.folder, found=f"split {split} has nothing that is learned")
    return {"kind": manifest.examples.kind, **scored, "left_out": examples.left_out}


def compare_with_xz(measured: dict[str, Any]) -> dict[str, float]:
    """What `xz -9e` makes of the text that `evaluate` measured. Raises UserError where its bytes are not known."""
    if measured.get("bits_per_byte") is None:
        raise UserError("nothing to compare with: the shards do not know their text's bytes", where=measured["data"])
    return xz_bits_per_byte(open_manifest(Path(measured["data"])), measured["split"])


def evaluation_table(measured: dict[str, Any]) -> str:
    """What `evaluate` returned, for reading."""
    if "turns" in measured:
        return examples_table(measured)
    bits = measured["bits_per_byte"]
    size = "unknown" if measured["bytes"] is None else f"{measured['bytes']:,}"
    rows = {
        "model": measured["model"],
        "data": f"{measured['data']}, split {measured['split']}: {measured['tokens']:,} tokens, {size} bytes of text",
        "windows": f"{measured['window']:,} tokens, of which {measured['stride']:,} new",
        "loss": f"{measured['loss']:.4f} nats a token",
        "perplexity": f"{measured['perplexity']:,.2f} a token",
        "bits per byte": "unknown: the shards do not know their text's bytes" if bits is None else f"{bits:.4f}",
    }
    lines = [f"{name:14}{value}" for name, value in rows.items()]
    if measured["parts"]:
        lines += ["", parts_table([*measured["parts"], {**measured, "name": "all"}], measured["by"])]
    if "xz" in measured:
        lines += ["", compression_table(measured)]
    return "\n".join(lines)
