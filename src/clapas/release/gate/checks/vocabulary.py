"""Check 5: the vocabulary of `config.json` is the rows that there are, and the tokenizer has an id for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clapas.model.hf_fields import UNPADDED
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.reading import (
    EMBEDDING,
    HEAD,
    Stored,
    Unreadable,
    read_model,
    read_object,
    token_ids,
    token_name,
)
from clapas.release.layout import CONFIG, TOKENIZER_CONFIG

ADDED = "added_tokens.json"
"""Where older tokenizers keep tokens of their own."""
SPECIAL = ("extra_special_tokens", "additional_special_tokens")
"""Settings that name tokens, by the name that they have in transformers 5 and before it."""


def check_vocabulary(draft: Draft) -> Verdict:
    """Rows of embedding and head, `vocab_size`, and the highest id."""
    model, ids = read_model(draft.folder), token_ids(draft.folder)
    if isinstance(model, Unreadable):
        return not_run(model.why)
    if isinstance(ids, Unreadable):
        return not_run(ids.why)
    config, tensors = model
    if EMBEDDING not in tensors or not tensors[EMBEDDING].shape:
        return not_run(f"there is no table {EMBEDDING}")
    tokens = 1 + max([*ids.values(), *_added(draft.folder)], default=-1) + len(_named(draft.folder) - ids.keys())
    if draft.seen is not None and draft.seen.tokenizer is not None:  # which may have added more when it loaded
        tokens = max(tokens, draft.seen.tokenizer.length)
    rows = tensors[EMBEDDING].shape[0]
    return judged(_problems(config, tensors, tokens), f"{rows:,} rows, {tokens:,} ids")


def _problems(config: dict[str, Any], tensors: dict[str, Stored], tokens: int) -> Iterator[str]:
    for name in (EMBEDDING, HEAD):
        if name in tensors and tensors[name].shape[:1] != (config.get("vocab_size"),):
            yield f"{CONFIG} says vocab_size {config.get('vocab_size')!r}, and {name} has {[*tensors[name].shape]}"
    rows, declared = tensors[EMBEDDING].shape[0], config.get(UNPADDED)
    if tokens > rows:
        yield f"the tokenizer has {tokens} ids, and the model {rows} rows"
    elif declared is not None and declared != tokens:
        yield f"{CONFIG} says {UNPADDED} {declared!r}, and the tokenizer has {tokens} ids"
    elif declared is None and tokens < rows:
        yield f"{rows - tokens} of {rows} rows have no token, and {CONFIG} does not declare them ({UNPADDED})"


def _added(folder: Path) -> Iterator[int]:
    """Ids that other files than `tokenizer.json` add to it when it is loaded."""
    settings = read_object(folder, TOKENIZER_CONFIG)
    if not isinstance(settings, Unreadable):
        yield from _numbers(settings.get("added_tokens_decoder") or ())
    added = read_object(folder, ADDED)
    if not isinstance(added, Unreadable):
        yield from _numbers(added.values())


def _named(folder: Path) -> set[str]:
    """Tokens that the settings name, each of which transformers adds at the end where `tokenizer.json` has it not."""
    settings = read_object(folder, TOKENIZER_CONFIG)
    if isinstance(settings, Unreadable):
        return set()
    found = [settings.get(key) for key in SPECIAL]
    listed = [token for own in found if isinstance(own, dict) for token in own.values()]
    listed += [token for own in found if isinstance(own, list) for token in own]
    return {name for name in map(token_name, listed) if name is not None}


def _numbers(values: Any) -> Iterator[int]:
    yield from (int(value) for value in values if str(value).isdecimal())


CHECK = Check(5, "vocabulary", "vocab_size, rows of the weights and ids of the tokenizer agree", check_vocabulary)
