"""Validation of chat messages: the prompt's, with tools and template options, and those of a response."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from valuefree.data.faults import RowError, shown
from valuefree.data.prompts import PARTS, Conversation, json_text, message_text
from valuefree.runs.json_values import parse_json

TrainOn = Literal["last", "all"]
SELF_CONTAINED = ("tool_calls", "function_call", "reasoning_content")  # fields that may stand without content


def messages_of(value: Any, name: str) -> list[dict[str, Any]]:
    """Messages with role, content and every other field that is not null; raises `RowError`.

    Content is text, null beside tool calls, or a list of parts of type text, which are joined. The arguments of a tool
    call become an object where they are JSON text of one, as chat templates expect.
    """
    if not isinstance(value, list):
        raise RowError(f"{name} is neither text nor a list of messages", f": {shown(value)}")
    if not value:
        raise RowError(f"{name} is empty")
    return [_message(message, name) for message in value]


def _message(message: Any, name: str) -> dict[str, Any]:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise RowError(f"{name} has a message without text role and content", f": {shown(message)}")
    content = _content(message.get("content"), name)
    more = {key: value for key, value in message.items() if key not in ("role", "content") and value not in (None, [])}
    if content is None and not any(key in more for key in SELF_CONTAINED):
        raise RowError(f"{name} has a message without text role and content", f": {shown(message)}")
    if "tool_calls" in more:
        more["tool_calls"] = _tool_calls(more["tool_calls"], name)
    check_json(more, name)
    return {"role": message["role"], "content": content, **more}


def _content(content: Any, name: str) -> str | None:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RowError(f"{name} has a message without text role and content", f": {shown(content)}")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else part
            raise RowError(f"{name} has a content part that is not text", f": {shown(kind)}. Only text can be read")
        texts.append(text)
    return "".join(texts)


def _tool_calls(calls: Any, name: str) -> list[Any]:
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise RowError(f"{name} has tool_calls that are not a list of objects", f": {shown(calls)}")
    return [_with_object_arguments(call) for call in calls]


def _with_object_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return dict(call)
    arguments = _json(function["arguments"])
    return {
        **call,
        "function": {**function, "arguments": arguments if isinstance(arguments, dict) else function["arguments"]},
    }


def conversation(value: Any, name: str, tools: Any, options: Any) -> Conversation:
    """The conversation in a prompt's cell, with tools and template options of the row's other columns.

    value: a list of messages, or ``{"messages": …}`` that may also have the others.
    """
    if isinstance(value, Mapping):
        value, own_tools, own_options = (_decoded(value.get(part)) for part in PARTS)
        tools, options = own_tools if tools is None else tools, own_options if options is None else options
    tools, options = _decoded(tools) or None, _decoded(options) or {}
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools)):
        raise RowError("tools is not a list of function schemas", f": {shown(tools)}")
    if not isinstance(options, Mapping):
        raise RowError("chat_template_kwargs is not an object", f": {shown(options)}")
    check_json(tools, "tools")
    check_json(options, "chat_template_kwargs")
    messages = messages_of(value, name)
    if not any((message["content"] or "").strip() or len(message) > 2 for message in messages):
        raise RowError(f"{name} is empty")
    return Conversation(messages, tools, {key: value for key, value in options.items() if value is not None})


def messages_in(text: str) -> Any:
    """The messages, or the object with ``messages``, that a text of JSON holds; None where it holds none."""
    start = text.lstrip()
    if not start.startswith(("[", "{")) or '"role"' not in text:
        return None
    value = _json(text)
    items = value.get("messages") if isinstance(value, dict) else value
    return value if isinstance(items, list) and items and all(_has_role(item) for item in items) else None


def _has_role(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("role"), str)


def split_turns(messages: list[dict[str, Any]], name: str, train_on: TrainOn) -> tuple[list[Any], list[Any]]:
    """Messages of a response's cell that belong to the prompt, and those of the response.

    train_on: ``last``: the response is the last message. ``all``: it starts at the first message of the assistant, and
    all of these are trained.

    Raises:
        RowError: the last message is not the assistant's.
    """
    if messages[-1]["role"] != "assistant":
        raise RowError(f"{name} does not end with a message of the assistant", f": {shown(messages[-1])}")
    first = len(messages) - 1
    if train_on == "all":
        first = next(index for index, message in enumerate(messages) if message["role"] == "assistant")
    return messages[:first], messages[first:]


def response_texts(messages: list[dict[str, Any]], name: str) -> tuple[str, str | None]:
    """A response as text, and as JSON text of its messages where the text alone does not hold all of it."""
    first, *others = messages
    if not others and first["content"] is not None and len(first) == 2:
        return first["content"], None
    lines = [message_text(first), *(f"{message['role']}: {message_text(message)}" for message in others)]
    return "\n".join(lines), json_text(messages)


def check_json(value: Any, name: str) -> None:
    """Raise `RowError` for a value that JSON cannot hold: NaN, infinity, a date."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError(f"{name} has a value that is not of JSON", f": {error}") from error


def _decoded(value: Any) -> Any:
    return _json(value) if isinstance(value, str) else value


def _json(text: str) -> Any:
    """The value of a JSON text; the text itself where it is not JSON."""
    try:
        return parse_json(text)
    except ValueError:
        return text
