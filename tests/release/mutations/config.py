"""`config.json` says what the weights and the training do not: checks 3, 4 and 5."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import torch
from tests.release.mutations.mutant import Case, Mutant, Values
from tests.release.mutations.weights import Tensors, load_all, of_tensors, write_one

from clapas.release.gate.reading import EMBEDDING, token_ids

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def changed(name: str, change: Callable[[Values], object]) -> Callable[[Case], None]:
    """Change a JSON file."""
    return lambda case: case.with_json(name, change)


def fields(name: str, **changes: Any) -> Callable[[Case], None]:
    """Set fields of a JSON file; None takes one away."""

    def change(values: Values) -> None:
        values.update(changes)
        for key in [key for key, value in changes.items() if value is None]:
            del values[key]

    return changed(name, change)


def config(**changes: Any) -> Callable[[Case], None]:
    """Set fields of config.json."""
    return fields("config.json", **changes)


def theta_of_rope_parameters(case: Case) -> None:
    case.with_json("config.json", lambda values: values["rope_parameters"].update(rope_theta=500_000.0))


def consistent_theta(case: Case) -> None:
    theta_of_rope_parameters(case)
    config(rope_theta=500_000.0)(case)


def trained_with_theta(values: Values) -> None:
    values["model"]["rope_theta"] = 500_000.0


def turn_half(case: Case) -> None:
    case.with_json("config.json", lambda values: values["rope_parameters"].update(partial_rotary_factor=0.5))


def stretched(case: Case) -> None:
    config(rope_scaling=LLAMA3)(case)
    case.with_json("config.json", lambda values: values["rope_parameters"].update(LLAMA3))


def one_in_fp32(tensors: Tensors) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"].float()


def all_in_fp32(tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        tensors[name] = tensor.float()


def cut_rows(tensors: Tensors) -> None:
    tensors[EMBEDDING] = tensors[EMBEDDING][:-1].contiguous()


def pad_rows(case: Case) -> None:
    tensors = load_all(case.folder)
    rows, hidden = tensors[EMBEDDING].shape
    more = torch.zeros(64, hidden, dtype=tensors[EMBEDDING].dtype)
    tensors[EMBEDDING] = torch.cat([tensors[EMBEDDING], more])
    write_one(case.folder, tensors)
    config(vocab_size=rows + 64)(case)


def add_token(case: Case) -> None:
    """As `tokenizer.add_special_tokens` and `save_pretrained` leave it, the model not resized."""
    ids = token_ids(case.folder)
    assert isinstance(ids, dict)
    token = {"content": "<|new|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    entry = {str(max(ids.values()) + 1): {**token, "special": True}}
    case.with_json("tokenizer_config.json", lambda values: values.update(added_tokens_decoder=entry))


def added_tokens_file(case: Case) -> None:
    ids = token_ids(case.folder)
    assert isinstance(ids, dict)
    (case.folder / "added_tokens.json").write_bytes(orjson.dumps({"<|new|>": max(ids.values()) + 1}))


def extra_special_token(case: Case) -> None:
    """As processors of images leave it: transformers adds it when it loads the tokenizer."""
    tokens = {"image_token": "<|image|>"}
    case.with_json("tokenizer_config.json", lambda values: values.update(extra_special_tokens=tokens))


def one_more(values: Values) -> None:
    values["vocab_size"] += 1


MUTANTS = [
    Mutant("torch_dtype is another than dtype", 3, config(torch_dtype="float32"), only=True),
    Mutant("torch_dtype is lost", 3, config(torch_dtype=None), only=True),
    Mutant("dtype is another than the weights'", 3, config(dtype="float16")),
    Mutant("one tensor is in fp32", 3, of_tensors(one_in_fp32)),
    Mutant("the weights are in fp32, and config.json says bf16", 3, of_tensors(all_in_fp32)),
    Mutant("rope_theta is another than rope_parameters'", 4, config(rope_theta=500_000.0), only=True),
    Mutant("rope_theta is lost: transformers 4 takes 10,000", 4, config(rope_theta=None), only=True),
    Mutant("rope_parameters' theta is another than rope_theta", 4, theta_of_rope_parameters),
    Mutant("both thetas are others than trained with", 4, consistent_theta),
    Mutant("rope_parameters is lost", 4, config(rope_parameters=None), only=True),
    Mutant("positions are stretched that were not in training", 4, stretched),
    Mutant("the model was trained with another theta", 4, lambda case: case.with_evidence(trained_with_theta)),
    Mutant("max_position_embeddings is longer than trained for", 4, config(max_position_embeddings=131_072)),
    Mutant("model_max_length has no limit", 4, fields("tokenizer_config.json", model_max_length=1e30)),
    Mutant("model_max_length cuts texts short", 4, fields("tokenizer_config.json", model_max_length=8), only=True),
    Mutant("rope_theta is a text", 4, config(rope_theta="10000.0"), only=True),
    Mutant("half of each head turns", 4, turn_half),
    Mutant("vocab_size is one more than the rows", 5, changed("config.json", one_more)),
    Mutant("the embedding lost a row", 5, of_tensors(cut_rows)),
    Mutant("64 rows have no token, undeclared", 5, pad_rows),
    Mutant("a token was added, and the model not resized", 5, add_token),
    Mutant("a file adds a token beyond the rows", 5, added_tokens_file),
    Mutant("a token of images beyond the rows", 5, extra_special_token),
    Mutant("padding is declared that is not there", 5, config(unpadded_vocab_size=100), only=True),
]
