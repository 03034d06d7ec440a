"""Text to tokens: `fastokens` where it gives the ids of `tokenizers`, which each build checks, else `tokenizers`.

Documents are text, all of it: one that spells out `<|end_of_text|>` gets the tokens of those letters, never the special
token. So both engines load the tokenizer without its added tokens; BOS and EOS are put in by id.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import orjson

from clapas.recipe.errors import UserError
from clapas_data.manifest import TokenizerRecord

Engine = Literal["fastokens", "tokenizers"]

PROBE = (
    "L'œuvre d'aujourd'hui : « Qu'est-ce que c'est ? »\u00a0!\u202f?\n\n\tL’été 2024, 12 345,67 €, a-t-il\r\n  pas…  ",
    "<|begin_of_text|>S'IL<|end_of_text|> I'll we've d'd C'T L'ÉTAT 1234567 \u3000 e\u0301 ﬁ ß   \n \n x\u00adY _a_b",
    "𝒳🙂👩\u200d🔬 中文字 العربية हिन्दी ελληνικά \x00\x7f\x85",
)
"""What tells tokenizers apart: elisions, punctuation, spaces, digits, scripts, special tokens spelt out."""


@dataclass(frozen=True, slots=True)
class TokenizerFolder:
    """A tokenizer on disk: its folder and what shards record of it."""

    path: Path
    record: TokenizerRecord


def open_tokenizer(folder: Path) -> TokenizerFolder:
    """A folder with `tokenizer.json` and `tokenizer_config.json`, ours or any of Hugging Face's.

    Raises UserError where it is missing, is no tokenizer, or names no EOS.
    """
    try:
        data = (folder / "tokenizer.json").read_bytes()
        config = orjson.loads((folder / "tokenizer_config.json").read_bytes())
        content = orjson.loads(data)
    except (FileNotFoundError, NotADirectoryError) as error:
        way_out = f"clapas tokenizer train CORPUS --vocab-size 32768 --out {folder}"
        raise UserError("no tokenizer here", where=error.filename, way_out=way_out) from None
    except orjson.JSONDecodeError as error:
        raise UserError(f"not a tokenizer: {error}", where=folder) from None
    try:
        facts = _facts(content, config)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"not a tokenizer: {type(error).__name__}: {error}", where=folder) from None
    if facts["eos"] is None:
        raise UserError("the tokenizer has no EOS", where=folder / "tokenizer_config.json", wanted="`eos_token`")
    return TokenizerFolder(folder, TokenizerRecord(hash=hashlib.sha256(data).hexdigest(), **facts))


def token_ids(folder: Path) -> dict[str, int]:
    """Every token of a tokenizer's folder and its id, added ones included."""
    content = orjson.loads((folder / "tokenizer.json").read_bytes())
    added = {token["content"]: token["id"] for token in content.get("added_tokens", ())}
    return {**_vocabulary(content["model"]["vocab"]), **added}


def _facts(content: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """What a record says of a tokenizer beside its hash; `eos` None where it has none."""
    added = {token["content"]: token["id"] for token in content.get("added_tokens", ())}
    vocabulary = _vocabulary(content["model"]["vocab"])
    ids = {name: _id_of(config.get(f"{name}_token"), added, vocabulary) for name in ("eos", "bos", "pad")}
    begins = ids["bos"] is not None and (bool(config.get("add_bos_token")) or _begins_with(content, ids["bos"]))
    size = max(max(vocabulary.values(), default=-1), max(added.values(), default=-1)) + 1
    return {"vocab_size": size, **ids, "uses_bos": begins}


def _vocabulary(vocabulary: dict[str, int] | list[list[Any]]) -> dict[str, int]:
    """Token -> id; a Unigram model (CamemBERT, T5) lists its pieces with their scores instead."""
    if isinstance(vocabulary, dict):
        return vocabulary
    return {piece[0]: number for number, piece in enumerate(vocabulary)}


def _begins_with(content: dict[str, Any], bos: int) -> bool:
    """Whether the post-processor puts BOS before a text, as Llama-3's does whatever its `add_bos_token` says."""
    whole = content.get("post_processor") or {}
    for part in (whole, *whole.get("processors", ())):
        first = next(iter(part.get("single") or ()), {})
        name = first.get("SpecialToken", {}).get("id")
        if name is not None and bos in part["special_tokens"][name]["ids"]:
            return True
    return False


def _id_of(token: Any, added: dict[str, int], vocabulary: dict[str, int]) -> int | None:
    name = token.get("content") if isinstance(token, dict) else token
    return added.get(name, vocabulary.get(name)) if name else None


class _Encoder(Protocol):
    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of all texts end to end, and how many each has (int64)."""
        ...


class _Fastokens:
    def __init__(self, content: str) -> None:
        from fastokens import Tokenizer

        self._tokenizer = Tokenizer.from_json_str(content)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        tokens, offsets = self._tokenizer.encode_batch_flat(list(texts))
        return np.frombuffer(tokens, np.uint32), np.diff(np.frombuffer(offsets, np.uint64).astype(np.int64))


class _Tokenizers:
    def __init__(self, content: str) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(content)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        lengths = np.fromiter((len(one.ids) for one in encoded), np.int64, len(encoded))
        return np.array([token for one in encoded for token in one.ids], np.uint32), lengths


@lru_cache(maxsize=2)
def load_encoder(folder: Path, engine: Engine) -> _Encoder:
    """The encoder of a tokenizer's folder, loaded once a process."""
    content = orjson.loads((folder / "tokenizer.json").read_bytes())
    content.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    text = orjson.dumps(content).decode()
    return _Fastokens(text) if engine == "fastokens" else _Tokenizers(text)


def choose_engine(folder: Path, sample: Sequence[str]) -> Engine:
    """`fastokens` where its ids are those of `tokenizers` on sample and PROBE, else `tokenizers`, with a message."""
    texts = [*PROBE, *sample]
    wanted_tokens, wanted_lengths = load_encoder(folder, "tokenizers").encode(texts)
    try:
        tokens, lengths = load_encoder(folder, "fastokens").encode(texts)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of Rust's is no Exception; whatever it is, there is another way
        print(f"fastokens cannot use this tokenizer ({error}): encoding with tokenizers, slower", file=sys.stderr)
        return "tokenizers"
    if np.array_equal(tokens, wanted_tokens) and np.array_equal(lengths, wanted_lengths):
        return "fastokens"
    print("fastokens gives other ids than tokenizers: encoding with tokenizers, slower", file=sys.stderr)
    return "tokenizers"


def encode_documents(
    texts: Sequence[str], folder: TokenizerFolder, engine: Engine, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Documents as shards hold them: tokens end to end, each ending with EOS, and each one's length, both included.

    A document begins with BOS where the tokenizer's own configuration says so.
    """
    tokens, lengths = load_encoder(folder.path, engine).encode(texts)
    ends = np.cumsum(lengths)
    marks = [(ends, folder.record.eos)]
    if folder.record.uses_bos and folder.record.bos is not None:
        marks.insert(0, (ends - lengths, folder.record.bos))
    places = np.stack([at for at, _ in marks], axis=1).ravel()
    values = np.tile(np.array([value for _, value in marks], dtype), len(lengths))
    return np.insert(tokens.astype(dtype), places, values), lengths + len(marks)
