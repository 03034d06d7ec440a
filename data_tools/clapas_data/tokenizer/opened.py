"""Any tokenizer at hand, without a network: a folder of Hugging Face's, or Mistral's tekken out of `mistral-common`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas.recipe.errors import UserError
from clapas_data.encode import PROBE, choose_engine, load_encoder
from clapas_data.tokenizer.presets import split_of

TEKKEN = "tekken"
"""The name of the newest tekken that `mistral-common` holds; `tekken_240718` and the like name one of them."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text's tokens, in order. ids: uint32[tokens]. starts, ends: int64[tokens], the characters that each covers."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class Opened(ABC):
    """A tokenizer as it is compared and looked into. Texts are text: none is read as a special token.

    split: the preset by whose name llama.cpp knows how it splits, None for another way.
    """

    def __init__(self, name: str, vocab_size: int, split: str | None) -> None:
        self.name, self.vocab_size, self.split = name, vocab_size, split

    @cached_property
    def pieces(self) -> list[bytes | None]:
        """The bytes that each id stands for; None for special tokens and ids that there are not."""
        return self._pieces()

    @abstractmethod
    def _pieces(self) -> list[bytes | None]: ...

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Each text's tokens and the characters that they cover."""

    @abstractmethod
    def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of all texts end to end, and how many each has (int64): quicker."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens."""


def open_any(name: str) -> Opened:
    """A tokenizer by its folder, its `tokenizer.json`, a `tekken.json`, or a name such as `tekken`.

    Raises UserError where there is none, or `mistral-common` is missing.
    """
    path = Path(name)
    if path.is_dir():
        path = path / "tokenizer.json"
    if path.is_file():
        try:
            content = orjson.loads(path.read_bytes())
            if "vocab" in content and "config" in content:
                return _Tekken(name, path)
            return _HuggingFace(name, path, content)
        except UserError:
            raise
        except Exception as error:  # `tokenizers` raises no narrower one
            raise UserError(f"not a tokenizer: {type(error).__name__}: {error}", where=path) from None
    if not name.startswith(TEKKEN) or path.parent != Path():
        wanted = "a folder with tokenizer.json, such a file, a tekken.json, or `tekken`"
        raise UserError("no tokenizer here", where=path, wanted=wanted)
    return _Tekken(name, _tekken_file(name))


def _tekken_file(name: str) -> Path:
    files = {file.stem: file for file in sorted((_mistral_common() / "data").glob(f"{TEKKEN}_*.json"))}
    found = files.get(name) or (list(files.values())[-1] if files and name == TEKKEN else None)
    if found is None:
        raise UserError("no tekken of that name in mistral-common", found=name, wanted=", ".join([TEKKEN, *files]))
    return found


def _mistral_common() -> Path:
    try:
        import mistral_common
    except ImportError:
        way_out = "pip install mistral-common"
        raise UserError("tekken is in the package mistral-common, which is missing", way_out=way_out) from None
    return Path(mistral_common.__file__ or "").parent


class _HuggingFace(Opened):
    def __init__(self, name: str, path: Path, content: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self._path, self._content = path, content
        self._added = {token["id"] for token in content.get("added_tokens", ())}
        self._whole = Tokenizer.from_file(str(path))
        stripped = {**content, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        self._texts = Tokenizer.from_str(orjson.dumps(stripped).decode())
        preset = split_of(content)
        size = 1 + max(self._whole.get_vocab(with_added_tokens=True).values(), default=-1)
        super().__init__(name, size, preset.name if preset else None)

    def _pieces(self) -> list[bytes | None]:
        of_bytes = "ByteLevel" in orjson.dumps(self._content.get("decoder")).decode()
        found: list[bytes | None] = [None] * self.vocab_size
        for token, number in self._whole.get_vocab(with_added_tokens=False).items():
            if number not in self._added:
                found[number] = _bytes_of(token) if of_bytes else _metaspace(token)
        return found

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        encoded = self._texts.encode_batch(list(texts), add_special_tokens=False)
        return [
            Encoded(np.array(one.ids, np.uint32), *np.array(one.offsets, np.int64).reshape(-1, 2).T) for one in encoded
        ]

    def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        if self._path.name != "tokenizer.json":
            encoded = self._texts.encode_batch_fast(list(texts), add_special_tokens=False)
            ids = [np.array(one.ids, np.uint32) for one in encoded]
            return np.concatenate([np.empty(0, np.uint32), *ids]), np.array([len(one) for one in ids], np.int64)
        return load_encoder(self._path.parent, self._engine).encode(texts)

    @cached_property
    def _engine(self) -> Any:
        return choose_engine(self._path.parent, PROBE)

    def decode(self, ids: Sequence[int]) -> str:
        return self._whole.decode(list(ids), skip_special_tokens=False)


class _Tekken(Opened):
    def __init__(self, name: str, path: Path) -> None:
        _mistral_common()
        from mistral_common.tokens.tokenizers.tekken import Tekkenizer

        self._tokenizer = Tekkenizer.from_file(path)
        super().__init__(path.stem if name == TEKKEN else name, self._tokenizer.n_words, None)

    def _pieces(self) -> list[bytes | None]:
        special = self._tokenizer.num_special_tokens
        ordinary = (self._tokenizer.id_to_byte_piece(number) for number in range(special, self.vocab_size))
        return [*[None] * special, *ordinary]

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoded:
        ids = np.array(self._tokenizer.encode(text, bos=False, eos=False), np.uint32)
        sizes = np.fromiter((len(self.pieces[number] or b"") for number in ids), np.int64, len(ids))
        ends = np.cumsum(sizes)
        begins = (np.frombuffer(text.encode(), np.uint8) & 0xC0) != 0x80
        character = np.cumsum(begins) - 1  # of each byte
        return Encoded(ids, character[ends - sizes], character[ends - 1] + 1)

    def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        ids = [np.array(self._tokenizer.encode(text, bos=False, eos=False), np.uint32) for text in texts]
        return np.concatenate([np.empty(0, np.uint32), *ids]), np.array([len(one) for one in ids], np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.pieces[number] or b"" for number in ids).decode(errors="replace")


def _byte_letters() -> dict[str, int]:
    """The letter by which a byte-level vocabulary writes each byte (GPT-2's): printable ones stand for themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_letters()


def _bytes_of(token: str) -> bytes:
    if all(letter in _BYTES for letter in token):
        return bytes(_BYTES[letter] for letter in token)
    return token.encode()


def _metaspace(token: str) -> bytes:
    """SentencePiece's way: `▁` is a space, `<0x0A>` a byte."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()
