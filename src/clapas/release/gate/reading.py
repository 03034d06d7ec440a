"""What checks read of a draft. A broken file is never an exception here, but an `Unreadable` that says why.

A check that needs a file which another check judges says `not_run(unreadable.why)`: JSON that does not parse is check
1's finding, a file of weights that is cut or has no sound header is check 2's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from clapas.release.layout import CONFIG, TOKENIZER

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
ITEM_BYTES = {"F32": 4, "BF16": 2, "F16": 2}
"""safetensors' name of each type that an export may have -> bytes of an element."""
MOST_HEADER = 100_000_000
"""Bytes of a header, safetensors' own limit."""
CHUNK = 4 * 2**20
"""Bytes of weights looked at together: they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that cannot be read as what it should be. why: a sentence that names it."""

    why: str

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file of weights. file: its name in the folder. dtype: as safetensors names it (`BF16`).
    start: of its bytes in the file."""

    file: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    bytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_object(folder: Path, name: str) -> dict[str, Any] | Unreadable:
    """A JSON file that holds an object."""
    try:
        content = orjson.loads((folder / name).read_bytes())
    except FileNotFoundError:
        return Unreadable(f"{name} is missing")
    except OSError as error:
        return Unreadable(f"{name} cannot be read: {error.strerror}")
    except orjson.JSONDecodeError as error:
        return Unreadable(f"{name} is not JSON: {error}")
    return content if isinstance(content, dict) else Unreadable(f"{name} holds no object of JSON")


def read_text(folder: Path, name: str) -> str | Unreadable:
    """A file of UTF-8 text."""
    try:
        return (folder / name).read_bytes().decode("utf-8")  # line ends as they are
    except FileNotFoundError:
        return Unreadable(f"{name} is missing")
    except OSError as error:
        return Unreadable(f"{name} cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        return Unreadable(f"{name} is not UTF-8: byte {error.start}")


def token_ids(folder: Path) -> dict[str, int] | Unreadable:
    """Every token of `tokenizer.json` and its id, added ones included."""
    content = read_object(folder, TOKENIZER)
    if isinstance(content, Unreadable):
        return content
    try:
        tokens = {str(token): int(number) for token, number in content["model"]["vocab"].items()}
        added = {str(token["content"]): int(token["id"]) for token in content.get("added_tokens") or ()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Unreadable(f"{TOKENIZER} is no tokenizer: {type(error).__name__}: {error}")
    return {**tokens, **added}


def token_name(value: Any) -> str | None:
    """The token that a field such as `eos_token` names: text, or an object with `content`."""
    name = value.get("content") if isinstance(value, dict) else value
    return name if isinstance(name, str) else None


def weight_files(folder: Path) -> list[str]:
    """Names of the files of weights, sorted."""
    return sorted(path.name for path in folder.glob("*.safetensors"))


def read_header(folder: Path, name: str) -> tuple[dict[str, Stored], dict[str, str]] | Unreadable:
    """(tensors by name, metadata) of a file of weights, whose bytes its tensors fill without a gap."""
    try:
        with (folder / name).open("rb") as file:
            whole = os.fstat(file.fileno()).st_size
            size = int.from_bytes(file.read(8), "little")
            if whole < 8 or not 0 < size <= min(MOST_HEADER, whole - 8):
                return Unreadable(f"{name} is cut short, or no safetensors file: {whole} bytes")
            header = orjson.loads(file.read(size))
            metadata = dict(header.pop("__metadata__", None) or {})
            stored = {key: _stored(name, 8 + size, entry) for key, entry in header.items()}
    except OSError as error:
        return Unreadable(f"{name} cannot be read: {error.strerror}")
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        return Unreadable(f"{name} has no sound header: {type(error).__name__}: {error}")
    end = 8 + size
    for key, tensor in sorted(stored.items(), key=lambda item: (item[1].start, item[1].bytes)):
        if tensor.start != end or tensor.bytes != tensor.elements * ITEM_BYTES.get(tensor.dtype, 0):
            return Unreadable(f"{name} does not hold what its header says of {key}")
        end += tensor.bytes
    if end != whole:
        return Unreadable(f"{name} has {whole} bytes, and its header says {end}")
    return stored, metadata


def _stored(file: str, data: int, entry: dict[str, Any]) -> Stored:
    begin, end = entry["data_offsets"]
    return Stored(file, str(entry["dtype"]), tuple(map(int, entry["shape"])), data + begin, end - begin)


def read_tensors(folder: Path) -> dict[str, Stored] | Unreadable:
    """Every tensor of all files of weights, by name; the first file that is unsound. A tensor that two files hold is
    given as the last one has it (check 2 tells)."""
    tensors: dict[str, Stored] = {}
    if not (files := weight_files(folder)):
        return Unreadable("there is no file of weights")
    for name in files:
        header = read_header(folder, name)
        if isinstance(header, Unreadable):
            return header
        tensors |= header[0]
    return tensors


def read_model(folder: Path) -> tuple[dict[str, Any], dict[str, Stored]] | Unreadable:
    """`config.json` and every tensor; the first of them that cannot be read."""
    config, tensors = read_object(folder, CONFIG), read_tensors(folder)
    if isinstance(config, Unreadable):
        return config
    return tensors if isinstance(tensors, Unreadable) else (config, tensors)


def chunks(folder: Path, tensor: Stored) -> Iterator[np.ndarray]:
    """A tensor's bits as unsigned integers of its element's size, `CHUNK` bytes at a time; one buffer, used again."""
    item = ITEM_BYTES[tensor.dtype]
    buffer = np.empty(min(CHUNK, tensor.bytes) // item, np.dtype(f"<u{item}"))
    with (folder / tensor.file).open("rb", buffering=0) as file:
        file.seek(tensor.start)
        for done in range(0, tensor.elements, max(len(buffer), 1)):
            part = buffer[: tensor.elements - done]
            if file.readinto(part.data.cast("B")) != part.nbytes:
                return  # cut between the header's reading and now
            yield part
