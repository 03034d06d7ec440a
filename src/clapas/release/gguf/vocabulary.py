"""A tokenizer under GGUF's keys: tokens, merges, ids, and the name of the split before the merges.

llama.cpp's own converter recognises a split by hashing the ids of a sample text, which a new vocabulary never passes;
here the split itself is looked at (`clapas_data.tokenizer.presets`), and one that has no name is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from clapas.evaluate.stop_ids import turn_ends
from clapas.recipe.errors import UserError
from clapas.release.gguf.about import Value
from clapas.release.layout import TEMPLATE, TOKENIZER
from clapas_data.encode import open_tokenizer, token_ids
from clapas_data.tokenizer.presets import SPLITS, split_of

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""`tokenizer.ggml.token_type`: bytes of text; special tokens; added ones that are text; rows without a token."""


def vocabulary_fields(folder: Path, rows: int) -> dict[str, Value]:
    """The keys of a tokenizer's folder. rows: of the model's embedding; those beyond the last token are padding.

    Raises UserError where GGUF cannot say what the tokenizer does.
    """
    opened = open_tokenizer(folder)
    content = orjson.loads((folder / TOKENIZER).read_bytes())
    record, split = opened.record, split_of(content)
    if problems := _problems(content):
        found = "; ".join(problems)
        raise UserError("this tokenizer cannot be said in GGUF", where=folder / TOKENIZER, found=found)
    assert split is not None
    ends = [number for number in turn_ends(folder) if number != record.eos]
    if len(ends) > 2:
        raise UserError("GGUF has no key for so many ends of a turn", where=folder, found=ends, wanted="at most two")
    ids = {
        # without a key of its own llama.cpp takes token 11, a letter
        "bos": record.eos if record.bos is None else record.bos,
        "eos": record.eos,
        "padding": record.pad,
        **dict(zip(("eot", "eom"), ends, strict=False)),
    }
    template = _template(folder)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": split.gguf,
        **_tokens(folder, content, rows),
        "tokenizer.ggml.merges": [" ".join(_pair(merge)) for merge in content["model"]["merges"]],
        **{f"tokenizer.ggml.{name}_token_id": number for name, number in ids.items() if number is not None},
        "tokenizer.ggml.add_bos_token": record.uses_bos,
        "tokenizer.ggml.add_eos_token": False,
        **({} if template is None else {"tokenizer.chat_template": template}),
    }


def _tokens(folder: Path, content: dict[str, Any], rows: int) -> dict[str, Value]:
    """Every row's token and type. Raises UserError where there are more ids than rows."""
    names = {number: token for token, number in token_ids(folder).items()}
    if max(names) >= rows:
        found, wanted = f"id {max(names)}", f"at most {rows - 1}, the model's last row"
        raise UserError("the tokenizer has more ids than the model", where=folder, found=found, wanted=wanted)
    added = {token["id"]: CONTROL if token["special"] else USER_DEFINED for token in content.get("added_tokens") or ()}
    types = [added.get(number, NORMAL if number in names else UNUSED) for number in range(rows)]
    return {
        "tokenizer.ggml.tokens": [names.get(number, f"[PAD{number}]") for number in range(rows)],
        "tokenizer.ggml.token_type": types,
    }


def _pair(merge: str | list[str]) -> tuple[str, str]:
    """The two halves of a merge: older files have them in one string."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _problems(content: dict[str, Any]) -> list[str]:
    """What a tokenizer does that has no key, or that llama.cpp does otherwise."""
    model, pre = content["model"], content.get("pre_tokenizer") or {}
    if model.get("type", "BPE") != "BPE":
        return [f"a model of type {model['type']}, not BPE"]
    problems: list[str] = []
    if split_of(content) is None:
        problems.append(
            f"a split before the merges that is not {' or '.join(SPLITS)}, the presets that llama.cpp names"
        )
    parts = [part for part in pre.get("pretokenizers") or [pre] if part.get("type") == "ByteLevel"]
    if len(parts) != 1 or parts[0].get("add_prefix_space") or parts[0].get("use_regex", True):
        problems.append("no plain byte-level BPE")
    problems += [
        f"{key}: {model[key]}"
        for key in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
        if model.get(key)
    ]
    if not model.get("merges"):
        problems.append("no merges")
    if any(" " in token for token in model["vocab"]):
        problems.append("a token of the vocabulary with a space, which parts the halves of a merge")
    stripping = [
        token["content"]
        for token in content.get("added_tokens") or ()
        if any(token.get(key) for key in ("lstrip", "rstrip", "single_word"))
    ]
    if stripping:
        problems.append(f"added tokens that take spaces with them or stand alone: {', '.join(stripping[:5])}")
    return problems


def _template(folder: Path) -> str | None:
    """The chat template beside a tokenizer, which an export writes where there is one; None for a base model."""
    file = folder / TEMPLATE
    return file.read_bytes().decode() if file.is_file() else None
