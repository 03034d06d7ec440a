"""Rows of data sets as messages: OpenAI's and Hugging Face's form, ShareGPT's, Alpaca's; checked one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

ROLES = ("system", "user", "assistant", "tool")
SHAREGPT_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "observation": "tool",
    "tool": "tool",
}


GIVEN = ("messages", "tools", "documents", "add_generation_prompt")
"""What a template is given of a row's own fields, or by us: no business of its `chat_template_kwargs`."""


class BadRow(Exception):  # noqa: N818 - a row's fault, told with its place by who knows it
    """What is wrong with a row. reason: a short name, as it is counted. what, found, wanted: as of a UserError."""

    def __init__(self, reason: str, what: str, found: object = None, wanted: str | None = None) -> None:
        super().__init__(what)
        self.reason, self.what, self.found, self.wanted = reason, what, found, wanted


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages for a template, with the tools and further variables that it gets."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)


def conversation_of(row: Mapping[str, Any]) -> Conversation | None:
    """A whole conversation in any of the forms; None where the row has none of them."""
    if "messages" in row:
        messages = messages_of(row["messages"], "messages")
    elif "conversations" in row:
        messages = messages_of([_from_sharegpt(turn) for turn in _list(row["conversations"], "conversations")])
        if isinstance(system := row.get("system"), str) and system.strip():
            messages.insert(0, {"role": "system", "content": system})
    elif "instruction" in row and "output" in row:
        messages = _from_alpaca(row)
    else:
        return None
    if not any(message["role"] == "assistant" for message in messages):
        roles = ", ".join(message["role"] for message in messages) or "no message at all"
        raise BadRow("no assistant turn", "no turn of the assistant's: nothing to learn", roles)
    return Conversation(messages, tools_of(row), options_of(row))


def messages_of(value: Any, name: str = "messages") -> list[dict[str, Any]]:
    """Messages, checked. Raises BadRow where a role is missing or unknown, a turn empty, or anything no text."""
    return [_message(message, place) for place, message in enumerate(_list(value, name), 1)]


def tools_of(row: Mapping[str, Any]) -> list[Any] | None:
    """The tools that a row's assistant may call: `tools`, a list or JSON of one."""
    tools = row.get("tools")
    if isinstance(tools, str):
        tools = _parsed(tools, "tools") if tools.strip() else None
    if not tools:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise BadRow("wrong type", "`tools` is no list of objects", repr(tools)[:60], "JSON schemas of functions")
    return tools


def options_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Further variables of the template: `chat_template_kwargs`, as TRL calls them."""
    options = row.get("chat_template_kwargs") or {}
    if not isinstance(options, dict):
        raise BadRow("wrong type", "`chat_template_kwargs` is no object", repr(options)[:60])
    if given := [name for name in GIVEN if name in options]:
        what = "`chat_template_kwargs` names what the template is given anyway"
        raise BadRow("wrong type", what, ", ".join(given), "further variables, such as `enable_thinking`")
    return options


def check_rendered(conversation: Conversation, text: str) -> None:
    """Raise BadRow where a template has left out what somebody said, or the tools."""
    for place, message in enumerate(conversation.messages, 1):
        if message["role"] in ("system", "user") and message["content"].strip() not in text:
            what = f"the chat template leaves out message {place}, of role {message['role']}"
            raise BadRow("template error", what, repr(message["content"][:60]), "a template that writes every message")
    for tool in conversation.tools or ():
        function = tool.get("function") or tool
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and name not in text:
            raise BadRow(
                "template error", "the chat template leaves out the tools", name, "a template that takes tools"
            )


def _message(message: Any, place: int) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise BadRow("wrong type", f"message {place} is no object", repr(message)[:60], '{"role": ..., "content": ...}')
    role = message.get("role")
    if role is None:
        raise BadRow("missing role", f"message {place} has no role", ", ".join(message), f"one of {', '.join(ROLES)}")
    if role not in ROLES:
        raise BadRow("unknown role", f"message {place} has an unknown role", repr(role), f"one of {', '.join(ROLES)}")
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadRow("wrong type", f"the tool calls of message {place} are no list", repr(calls)[:60], "a list")
    calls = [_call(call, place) for call in calls]
    content = _content(message.get("content"), place, may_be_missing=bool(calls))
    if not content.strip() and not calls and role != "tool":
        raise BadRow("empty turn", f"message {place}, of role {role}, is empty", repr(content), "text")
    found = {**message, "content": content}
    found.pop("tool_calls", None)
    return found | {"tool_calls": calls} if calls else found


def _content(content: Any, place: int, *, may_be_missing: bool) -> str:
    """A message's text; of a list of parts, theirs."""
    if isinstance(content, str):
        return content
    if content is None and may_be_missing:
        return ""
    if content is None:
        raise BadRow("empty turn", f"message {place} has no content", None, "text")
    if isinstance(content, list):
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise BadRow("wrong type", f"message {place} holds more than text", repr(part)[:60], "text")
        return "".join(part["text"] for part in content)
    raise BadRow("wrong type", f"the content of message {place} is no text", repr(content)[:60], "a string")


def _call(call: Any, place: int) -> dict[str, Any]:
    """A tool call with its arguments as an object, as templates want them; OpenAI's are a string of JSON."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRow("wrong type", f"a tool call of message {place} names no function", repr(call)[:60])
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f"the arguments of a tool call of message {place}") if arguments else {}
    if not isinstance(arguments or {}, dict):
        what = f"the arguments of a tool call of message {place} are no object"
        raise BadRow("wrong type", what, repr(arguments)[:60], '{"name": value, ...}')
    function = {**function, "arguments": arguments or {}}
    return {**call, "function": function} if "function" in call else function


def _from_sharegpt(turn: Any) -> Any:
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    role = SHAREGPT_ROLES.get(str(turn["from"]), turn["from"])
    return {"role": role, "content": turn.get("value")}


def _from_alpaca(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Instruction and, below it, input; `system` and `history` (pairs of turns before) where there are any."""
    for name in ("instruction", "input", "output", "system"):
        if not isinstance(row.get(name) or "", str):
            raise BadRow("wrong type", f"{name!r} is no text", repr(row[name])[:60], "a string")
    messages: list[dict[str, Any]] = []
    if system := row.get("system"):
        messages.append({"role": "system", "content": system})
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(turns, list) and len(turns) == 2 for turns in history):
        raise BadRow("wrong type", "`history` is no list of pairs", repr(history)[:60], "[[question, answer], ...]")
    for asked, answered in history:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    asked = "\n\n".join(text for text in (row["instruction"], row.get("input")) if text)
    return messages_of([*messages, {"role": "user", "content": asked}, {"role": "assistant", "content": row["output"]}])


def _list(value: Any, name: str) -> Sequence[Any]:
    if isinstance(value, str):
        value = _parsed(value, name)
    if not isinstance(value, list):
        raise BadRow("wrong type", f"{name!r} is no list of messages", repr(value)[:60], "a list")
    if not value:
        raise BadRow("no assistant turn", f"{name!r} is empty")
    return value


def _parsed(text: str, name: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRow("wrong type", f"{name} is no JSON: {error.msg}", repr(text[:60])) from None
