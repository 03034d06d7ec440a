"""Files of weights that are not what they were: checks 2 and 6."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import torch
from safetensors.torch import load_file, save_file
from tests.release.mutations.mutant import Case, Mutant, Values

from clapas.release.gate.reading import EMBEDDING, HEAD, weight_files
from clapas.release.layout import INDEX, SINGLE

Tensors = dict[str, torch.Tensor]
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def load_all(folder: Path) -> Tensors:
    """Every tensor, copied: the files may be written again."""
    return {name: tensor.clone() for file in weight_files(folder) for name, tensor in load_file(folder / file).items()}


def write_one(folder: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
    """All in one file, as a small model is exported."""
    for file in (*weight_files(folder), INDEX):
        (folder / file).unlink(missing_ok=True)
    save_file(tensors, folder / SINGLE, metadata=metadata or {"format": "pt"})


def write_two(folder: Path, tensors: Tensors) -> None:
    """All in two files with a sound index, as a large model is exported."""
    for file in (*weight_files(folder), INDEX):
        (folder / file).unlink(missing_ok=True)
    names = sorted(tensors)
    halves = {FIRST: names[: len(names) // 2], SECOND: names[len(names) // 2 :]}
    for file, own in halves.items():
        save_file({name: tensors[name] for name in own}, folder / file, metadata={"format": "pt"})
    total = {
        "total_size": sum(tensor.nbytes for tensor in tensors.values()),
        "total_parameters": sum(tensor.numel() for tensor in tensors.values()),
    }
    where = {name: file for file, own in halves.items() for name in own}
    (folder / INDEX).write_bytes(orjson.dumps({"metadata": total, "weight_map": where}))


def of_tensors(change: Callable[[Tensors], object]) -> Callable[[Case], None]:
    """Change the tensors; their file is sound."""

    def break_(case: Case) -> None:
        tensors = load_all(case.folder)
        change(tensors)
        write_one(case.folder, tensors)

    return break_


def of_index(change: Callable[[Values], object]) -> Callable[[Case], None]:
    """Change the index of two files."""

    def break_(case: Case) -> None:
        write_two(case.folder, load_all(case.folder))
        case.with_json(INDEX, change)

    return break_


def first_file(folder: Path) -> Path:
    return folder / weight_files(folder)[0]


def cut(case: Case) -> None:
    path = first_file(case.folder)
    path.write_bytes(path.read_bytes()[:-100])


def flip_header(case: Case) -> None:
    path = first_file(case.folder)
    content = bytearray(path.read_bytes())
    content[12] ^= 1
    path.write_bytes(content)


def not_a_number(tensors: Tensors) -> None:
    tensors["model.norm.weight"][0] = float("nan")


def infinite(tensors: Tensors) -> None:
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = float("inf")


def lose(tensors: Tensors) -> None:
    del tensors["model.layers.0.mlp.down_proj.weight"]


def swap_files(case: Case) -> None:
    write_two(case.folder, load_all(case.folder))
    first, second = (case.folder / name for name in (FIRST, SECOND))
    first.rename(case.folder / "moved")
    second.rename(first)
    (case.folder / "moved").rename(second)


def lose_file(case: Case) -> None:
    write_two(case.folder, load_all(case.folder))
    (case.folder / SECOND).unlink()


def lose_index(case: Case) -> None:
    write_two(case.folder, load_all(case.folder))
    (case.folder / INDEX).unlink()


def hold_twice(case: Case) -> None:
    tensors = load_all(case.folder)
    write_two(case.folder, tensors)
    own = load_file(case.folder / SECOND)
    save_file({**own, EMBEDDING: tensors[EMBEDDING]}, case.folder / SECOND, metadata={"format": "pt"})


def leave_old_file(case: Case) -> None:
    tensors = load_all(case.folder)
    write_two(case.folder, tensors)
    save_file(tensors, case.folder / SINGLE, metadata={"format": "pt"})


def lose_all(case: Case) -> None:
    write_one(case.folder, {})


def describe(case: Case) -> None:
    write_one(case.folder, load_all(case.folder), {"format": "pt", "source": "/home/anne/runs/demo"})


def name_other_format(case: Case) -> None:
    write_one(case.folder, load_all(case.folder), {"format": "np"})


def store_head(tensors: Tensors) -> None:
    tensors[HEAD] = tensors[EMBEDDING].clone()


def train_untied(values: Values) -> None:
    values["model"]["tie_word_embeddings"] = not values["model"]["tie_word_embeddings"]


def untie(values: Values) -> None:
    values["tie_word_embeddings"] = not values["tie_word_embeddings"]


def lose_flag(values: Values) -> None:
    del values["tie_word_embeddings"]


MUTANTS = [
    Mutant("a file of weights is cut", 2, cut),
    Mutant("a bit of a header is flipped", 2, flip_header),
    Mutant("a weight is not a number", 2, of_tensors(not_a_number)),
    Mutant("a weight is infinite", 2, of_tensors(infinite)),
    Mutant("a tensor is lost", 2, of_tensors(lose)),
    Mutant("two shards are swapped", 2, swap_files, only=True),
    Mutant("a shard is lost", 2, lose_file),
    Mutant("the index is lost", 2, lose_index),
    Mutant("two shards hold the same tensor", 2, hold_twice, only=True),
    Mutant("an old file of weights is left beside the shards", 2, leave_old_file, only=True),
    Mutant(
        "the index tells another size", 2, of_index(lambda index: index["metadata"].update(total_size=1)), only=True
    ),
    Mutant("the index names a wrong file", 2, of_index(lambda index: index["weight_map"].update({EMBEDDING: SECOND}))),
    Mutant("the index names a tensor that is nowhere", 2, of_index(lambda i: i["weight_map"].update(none=FIRST))),
    Mutant("the files' metadata name another format", 2, name_other_format, only=True),
    Mutant("a header tells where the weights were made", 2, describe, only=True),
    Mutant("the file of weights holds no tensor", 2, lose_all),
    Mutant("the tie flag is flipped", 6, lambda case: case.with_json("config.json", untie)),
    Mutant("the tie flag is lost", 6, lambda case: case.with_json("config.json", lose_flag)),
    Mutant("a tied head is stored too", 6, of_tensors(store_head), only=True),
    Mutant("the head was trained otherwise than it is exported", 6, lambda c: c.with_evidence(train_untied), only=True),
]
