"""Check 7: all files name the same bos, eos and pad, and they are those that the training shards were written with.

A wrong EOS is not seen until a model does not stop: each file is read by other tools.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from clapas.evaluate.stop_ids import has_own_template, turn_ends
from clapas.recipe.errors import UserError
from clapas.release.gate.check import Check, Draft, Verdict, judged, not_run
from clapas.release.gate.reading import Unreadable, read_object, token_ids, token_name
from clapas.release.layout import CONFIG, GENERATION, SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG
from clapas_data.chat.encoder import open_chat
from clapas_data.encode import open_tokenizer

NAMES = ("bos", "eos", "pad")
MAY_LIST = {GENERATION: ("eos_token_id",)}
"""File -> fields that may hold several ids: a chat model's turn ends with another than EOS."""
Values = dict[str, Any]


def check_special_tokens(draft: Draft) -> Verdict:
    """The four files and `tokenizer.json`, what stock transformers makes of them, the shards, and where a turn ends."""
    found = [read_object(draft.folder, name) for name in (CONFIG, GENERATION, TOKENIZER_CONFIG, SPECIAL_TOKENS)]
    ids = token_ids(draft.folder)
    for unreadable in (*found, ids):
        if isinstance(unreadable, Unreadable):
            return not_run(unreadable.why)
    config, generation, settings, special = (one for one in found if not isinstance(one, Unreadable))
    assert not isinstance(ids, Unreadable)
    problems = [*_names(settings, special, ids), *_ids(config, generation, settings, ids)]
    problems += _seen(draft, settings, ids)
    problems += [*_shards(draft), *_documents(draft)]
    problems += _turns(draft.folder, generation) or _stops(draft, generation)
    said = ", ".join(f"{name} {config.get(f'{name}_token_id')}" for name in NAMES)
    return judged(problems, f"{said} in all files, as in the shards")


def _names(settings: Values, special: Values, ids: dict[str, int]) -> Iterator[str]:
    """The tokens by their names."""
    for name in NAMES:
        key = f"{name}_token"
        token, other = token_name(settings.get(key)), token_name(special.get(key))
        if token != other:
            yield f"{TOKENIZER_CONFIG} says {key} {token!r}, {SPECIAL_TOKENS} {other!r}"
        if token is not None and token not in ids:
            yield f"{TOKENIZER_CONFIG} says {key} {token!r}, which {TOKENIZER} does not have"


def _ids(config: Values, generation: Values, settings: Values, ids: dict[str, int]) -> Iterator[str]:
    """The same tokens by their ids."""
    for name in NAMES:
        key = f"{name}_token_id"
        wanted = ids.get(token_name(settings.get(f"{name}_token")) or "")
        for file, values in ((CONFIG, config), (GENERATION, generation)):
            if key not in values:
                yield f"{file} has no {key}: a reader makes one up"
                continue
            found = _listed(values[key]) if key in MAY_LIST.get(file, ()) else [values[key]]
            if not any(type(one) is type(wanted) and one == wanted for one in found):  # 2.0 is no id, to most readers
                yield f"{file} says {key} {values[key]!r}, and the tokenizer's is {wanted!r}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _seen(draft: Draft, settings: Values, ids: dict[str, int]) -> Iterator[str]:
    """The same tokens, as stock transformers gives them to whoever generates."""
    if draft.seen is None or draft.seen.tokenizer is None:
        return
    for name, found in draft.seen.tokenizer.special.items():
        wanted = ids.get(token_name(settings.get(f"{name}_token")) or "")
        if found != wanted:
            yield f"stock transformers takes {found!r} for {name}, and {TOKENIZER_CONFIG} names {wanted!r}"


def _shards(draft: Draft) -> Iterator[str]:
    """What the shards that the run read were written with."""
    data = draft.evidence.own_data
    if data.tokenizer_hash is None:
        return  # shards of others, which say nothing of their tokenizer
    try:
        record = open_tokenizer(draft.folder).record
    except UserError as error:
        yield f"the tokenizer does not open: {error}"
        return
    for name in NAMES:
        if getattr(record, name) != getattr(data, name):
            yield f"the shards were written with {name} {getattr(data, name)!r}, this is {getattr(record, name)!r}"
    if record.uses_bos != data.uses_bos:
        begins = ("with BOS", "without BOS")
        yield f"documents of the shards begin {begins[not data.uses_bos]}, and texts here {begins[not record.uses_bos]}"


def _documents(draft: Draft) -> Iterator[str]:
    """What stands at the ends of the documents themselves, where the release is made: a manifest may be wrong."""
    data = draft.evidence.own_data
    if draft.live is None or data.kind != "text" or data.tokenizer_hash is None:
        return
    try:
        edges = draft.live.document_edges
    except UserError as error:
        yield f"the shards that the run read cannot be looked into: {error.what}"
        return
    for what, wrong in (
        (f"end with EOS, which is {data.eos}", [one for one in edges if one.last != data.eos]),
        (f"begin with BOS, which is {data.bos}", [one for one in edges if data.uses_bos and one.first != data.bos]),
    ):
        if wrong:
            token = wrong[0].last if "EOS" in what else wrong[0].first
            yield f"{len(wrong)} of {len(edges)} documents do not {what}: in {wrong[0].shard} it is {token}"


def _turns(folder: Path, generation: Values) -> list[str]:
    """A chat model stops where its template ends a turn."""
    with suppress(UserError, ValueError):  # a template that cannot be rendered is check 9's finding
        if has_own_template(folder):
            stops = _listed(generation.get("eos_token_id"))
            if missing := [token for token in open_chat(folder).stop_ids() if token not in stops]:
                return [f"{GENERATION} does not stop at {missing}, where the chat template ends a turn"]
    return []


def _stops(draft: Draft, generation: Values) -> list[str]:
    """And nowhere else: what else ends a text, the tokenizer's own folder says, which a stranger has not."""
    ends = (draft.evidence.own_data.eos,) if draft.live is None else turn_ends(draft.live.tokenizer.path)
    may_end = draft.live is not None or not (draft.evidence.bases or has_own_template(draft.folder))
    surplus = [token for token in _listed(generation.get("eos_token_id")) if token not in ends]
    return [f"{GENERATION} stops at {surplus}, where no text ends"] if may_end and surplus else []


CHECK = Check(7, "special tokens", "bos, eos and pad agree among files, tokenizer and shards", check_special_tokens)
