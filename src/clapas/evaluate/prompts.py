"""The prompts of `clapas generate`: from the command line, or of a file, one a line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from clapas.evaluate.completion import check_room, encode_prompt
from clapas.evaluate.load import LoadedModel
from clapas.evaluate.stop_ids import own_chat
from clapas.recipe.errors import UserError
from clapas_data.chat.messages import BadRow, messages_of


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model goes on with. given: text, or a conversation's messages. where: file and line, for a message."""

    given: str | list[dict[str, Any]]
    where: str | None = None

    def tokens(self, loaded: LoadedModel) -> list[int]:
        """Raises UserError where it is empty, too long, or a conversation that the chat template cannot take."""
        if isinstance(self.given, str):
            return encode_prompt(loaded, self.given, self.where)
        try:
            ids = own_chat(loaded.tokenizer_folder).ids(self.given).tolist()
        except UserError as error:
            raise UserError(f"{error.where}: {error.what}" if error.where else error.what, where=self.where,
                            found=error.found, wanted=error.wanted, way_out=error.way_out) from None  # fmt: skip
        check_room(loaded, ids, self.where)
        return ids


def read_prompts(path: Path) -> list[Prompt]:
    """`.jsonl`: a line is a string, or an object with `prompt` or `messages`; else a line is a prompt as it stands.

    Raises UserError with file and line where a line is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # U+2028 and the like may stand in a prompt
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"cannot be read: {reason}", where=path) from None
    read = _of_json if path.suffix in (".jsonl", ".ndjson") else Prompt
    prompts = [read(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise UserError("no prompt in this file", where=path, wanted="a prompt a line")
    return prompts


def _of_json(line: str, where: str) -> Prompt:
    wanted = '"text", {"prompt": "text"} or {"messages": [{"role": "user", "content": "text"}]}'
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UserError(f"not JSON: {error}", where=where, wanted=wanted) from None
    if isinstance(value, dict) and value.get("messages"):
        try:
            return Prompt(messages_of(value["messages"]), where)
        except BadRow as error:
            raise UserError(error.what, where=where, found=error.found, wanted=error.wanted) from None
    given = value.get("prompt") if isinstance(value, dict) else value
    if not isinstance(given, str):
        raise UserError("not a prompt", where=where, found=line[:60], wanted=wanted)
    return Prompt(given, where)
