"""The ids that end a text of a model: EOS, and what a chat model ends its turn with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import orjson

from clapas.evaluate.load import LoadedModel
from clapas.recipe.errors import UserError
from clapas_data.chat.encoder import Chat, cached_chat
from clapas_data.chat.template import ChatTemplateError, open_template
from clapas_data.encode import open_tokenizer

GENERATION_CONFIG = "generation_config.json"


def has_own_template(tokenizer: Path) -> bool:
    """Whether a tokenizer's folder brings a chat template: that of a model that was taught to chat does."""
    template = open_template(tokenizer)
    return template is not None and template.named.startswith(str(tokenizer))


def own_chat(tokenizer: Path) -> Chat:
    """The chat of a model that was taught to answer. Raises UserError for one whose tokenizer brings no template."""
    if not has_own_template(tokenizer):
        raise UserError(
            "a base model: its tokenizer brings no chat template, so it was not taught to answer",
            where=tokenizer,
            way_out="ask it in plain text (`clapas generate`, `clapas eval` without --chat), or fine-tune it on "
            "conversations (objective.name=sft); `clapas chat` also takes a template: --template FILE",
        )
    return cached_chat(tokenizer)


def turn_ends(tokenizer: Path) -> tuple[int, ...]:
    """What ends a turn, then EOS, then what an open model's `generation_config.json` beside the tokenizer adds; no end
    of a turn where the folder brings no template, or one that cannot be asked."""
    ends: tuple[int, ...] = (open_tokenizer(tokenizer).record.eos,)
    if has_own_template(tokenizer):
        with suppress(ChatTemplateError, ValueError):  # it wants other messages than those that it is asked with
            ends = cached_chat(tokenizer).stop_ids()
    return tuple(dict.fromkeys([*ends, *(_said(tokenizer / GENERATION_CONFIG) or ())]))


def stop_ids(loaded: LoadedModel) -> frozenset[int]:
    """EOS, and what `generation_config.json` says or, without one, the chat template."""
    said = _said(loaded.source / GENERATION_CONFIG)
    return frozenset(turn_ends(loaded.tokenizer_folder) if said is None else {loaded.special.eos, *said})


def _said(path: Path) -> list[int] | None:
    """The `eos_token_id` of a `generation_config.json`; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        said = orjson.loads(path.read_bytes()).get("eos_token_id")
    except (orjson.JSONDecodeError, AttributeError) as error:
        raise UserError(f"not a generation config: {error}", where=path, wanted="an object of JSON") from None
    ids = said if isinstance(said, list) else [] if said is None else [said]
    if not all(isinstance(number, int) for number in ids):
        raise UserError("eos_token_id is no id, nor a list of them", where=path, found=said)
    return ids
