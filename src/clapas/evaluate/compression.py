"""What a general compressor makes of the same text: the scale on which bits per byte mean something.

`xz` alone knows nothing of French; `xz` given the training text as a prefix may copy from it whatever recurs. A model
that beats the first has learned; the second is what mere copying is worth.
"""

from __future__ import annotations

import lzma
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import orjson
from tokenizers import Tokenizer

from clapas.recipe.errors import UserError
from clapas.recipe.files import atomic_write
from clapas_data.manifest import Manifest
from clapas_data.shards import TokenShard

PRESET = 9 | lzma.PRESET_EXTREME  # `xz -9e`: a window of 64 MiB
CACHE = "xz.json"


def xz_bits_per_byte(manifest: Manifest, split: str, training: str = "train") -> dict[str, float]:
    """{"alone", "given_training"}: bits per byte of a split's text under `xz -9e`, also after the training text.

    Computed once for a corpus and kept beside its shards. Raises UserError where the tokenizer is not beside them.
    """
    cache = manifest.folder / CACHE
    key = f"{manifest.hash} {split} {training}"
    known = orjson.loads(cache.read_bytes()) if cache.is_file() else {}
    if key in known:
        return known[key]
    text, prefix = split_text(manifest, split), split_text(manifest, training)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        with_prefix, without = pool.map(_compressed, (prefix + text, prefix))
    alone = _compressed(text)
    result = {"alone": 8 * alone / len(text), "given_training": 8 * (with_prefix - without) / len(text)}
    atomic_write(cache, orjson.dumps({**known, key: result}))
    return result


def _compressed(data: bytes) -> int:
    return len(lzma.compress(data, preset=PRESET))


def split_text(manifest: Manifest, split: str) -> bytes:
    """The text of a split in reading order, decoded from its tokens; documents are separated by a line feed."""
    path = manifest.folder / "tokenizer" / "tokenizer.json"
    if not path.is_file() or manifest.tokenizer is None:
        raise UserError("no tokenizer beside the shards: their text cannot be decoded", where=path)
    tokenizer = Tokenizer.from_file(str(path))
    pieces = []
    for place in manifest.of_split(split):
        shard = TokenShard(manifest.folder, manifest.shards[place])
        tokens = shard.read(0, shard.record.tokens)
        starts = [*shard.document_starts(0, shard.record.tokens).tolist(), shard.record.tokens]
        holes = manifest.holes.get(manifest.shards[place].path)
        left = [(low, high) for low, high in pairwise(starts) if holes is None or any(holes.rest(low, high))]
        documents = [tokens[low : high - 1].tolist() for low, high in left]
        pieces += tokenizer.decode_batch(documents, skip_special_tokens=False)
    return "\n".join(pieces).encode()


def compression_table(measured: dict[str, Any]) -> str:
    """The model (`bits_per_byte`) beside the compressor (`xz`), and what the figures mean."""
    bits_per_byte, xz = measured["bits_per_byte"], measured["xz"]
    verdict = "better" if bits_per_byte < xz["alone"] else "worse"
    return (
        f"bits per byte, lower is better:\n"
        f"  {bits_per_byte:.3f}  this model\n"
        f"  {xz['alone']:.3f}  xz -9e alone, which knows no French: the model is {verdict}\n"
        f"  {xz['given_training']:.3f}  xz -9e given the training text, whose phrases it copies word for word"
    )
