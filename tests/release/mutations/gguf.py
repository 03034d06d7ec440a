"""Broken GGUF files, and some that are another's. The draft has at least one that is not quantised, named first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tests.release.mutations.mutant import Case, Mutant

from clapas.release.layout import GGUF


def _file(case: Case) -> Path:
    """One of the files."""
    return min((case.folder / GGUF).iterdir())


def _in_place(change: Callable[[Any], object]) -> Callable[[Case], None]:
    """Open a file to be written where it stands, and change what its reader gives."""

    def break_(case: Case) -> None:
        reader = gguf.GGUFReader(_file(case), "r+")
        change(reader)
        reader.data.flush()

    return break_


def _value(key: str, change: Callable[[Any], Any]) -> Callable[[Case], None]:
    """Change a number. key: without the architecture before it."""

    def break_(reader: Any) -> None:
        field = next(field for name, field in reader.fields.items() if name.endswith(key))
        field.parts[-1][0] = change(field.parts[-1][0])

    return _in_place(break_)


def _tensor(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[Case], None]:
    """Change a tensor's bytes, (rows, bytes of a row), in place."""

    def break_(reader: Any) -> None:
        (tensor,) = (tensor for tensor in reader.tensors if tensor.name == name)
        change(tensor.data.view(np.uint8).reshape(int(tensor.shape[-1]), -1))

    return _in_place(break_)


def _written_again(without: str = "", texts: dict[str, str] | None = None) -> Callable[[Case], None]:
    """Write a file again, without a key, or with other texts."""

    def break_(case: Case) -> None:
        file = _file(case)
        reader = gguf.GGUFReader(file)
        writer = gguf.GGUFWriter(file.with_suffix(".again"), reader.fields["general.architecture"].contents())
        for name, field in reader.fields.items():
            if name != without and name != "general.architecture" and not name.startswith("GGUF."):
                value = (texts or {}).get(name, field.contents())
                writer.add_key_value(name, value, field.types[0], field.types[-1] if len(field.types) > 1 else None)
        for name, value in (texts or {}).items():
            if name not in reader.fields:
                writer.add_string(name, value)
        for tensor in reader.tensors:
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        file.with_suffix(".again").replace(file)

    return break_


def _unturned(rows: np.ndarray) -> None:
    """As one head of a Hugging Face folder has its rows: the two halves one after the other."""
    rows[:] = np.concatenate([rows[::2], rows[1::2]])


def _flip_a_bit(rows: np.ndarray) -> None:
    rows[0, 2] ^= 64


def _swap_rows(rows: np.ndarray) -> None:
    rows[[0, 1]] = rows[[1, 0]]


def _cut_short(case: Case) -> None:
    file = _file(case)
    file.write_bytes(file.read_bytes()[:-4096])


def _goes_on(case: Case) -> None:
    """An archive at the end, which readers of GGUF do not look at."""
    with _file(case).open("ab") as file:
        file.write(b"PK\x03\x04" + bytes(1000))


def _another(case: Case) -> None:
    """A file of another day, which nobody asked for."""
    shutil.copyfile(_file(case), _file(case).with_name("other-bf16.gguf"))


def _tokens_swapped(reader: Any) -> None:
    field = reader.fields["tokenizer.ggml.tokens"]
    one, other = (field.parts[place] for place in field.data[:2])
    one[:], other[:] = other.copy(), one.copy()


MUTANTS = [
    Mutant("a GGUF with another rope theta", 13, _value(".rope.freq_base", lambda theta: theta * 50), only=True),
    Mutant(
        "a GGUF with another epsilon", 13, _value("layer_norm_rms_epsilon", lambda epsilon: epsilon * 10), only=True
    ),
    Mutant("a GGUF with another EOS", 13, _value("ggml.eos_token_id", lambda token: token + 1), only=True),
    Mutant("a GGUF that puts BOS first where training did not", 13, _value("add_bos_token", np.logical_not), only=True),
    Mutant("a GGUF whose queries were not reordered", 13, _tensor("blk.0.attn_q.weight", _unturned), only=True),
    Mutant("a GGUF with a flipped bit", 13, _tensor("blk.1.ffn_up.weight", _flip_a_bit), only=True),
    Mutant("a GGUF with two rows of the vocabulary swapped", 13, _tensor("token_embd.weight", _swap_rows), only=True),
    Mutant("a GGUF with two tokens swapped", 13, _in_place(_tokens_swapped), only=True),
    Mutant("a GGUF without merges", 13, _written_again("tokenizer.ggml.merges"), only=True),
    Mutant("a GGUF of another pre-tokenizer", 13, _written_again(texts={"tokenizer.ggml.pre": "gpt-2"}), only=True),
    Mutant("a GGUF without licence", 13, _written_again("general.license"), only=True),
    Mutant(
        "a GGUF of a base model with a chat template",
        13,
        _written_again(texts={"tokenizer.chat_template": "{{ messages }}"}),
        only=True,
    ),
    Mutant("a GGUF cut short", 13, _cut_short, only=True),
    Mutant("a GGUF that goes on after its tensors", 13, _goes_on, only=True),
    Mutant("a GGUF that nobody asked for", 13, _another, only=True),
    Mutant("a GGUF that was asked for and is missing", 13, lambda case: _file(case).unlink()),
]
