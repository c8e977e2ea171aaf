"""Conversations as tools log them (OpenAI, LangChain, OpenTelemetry parts, JSON in text), as the rows' messages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import SkippedRecord
from valuefree.runs.json_values import parse_json

ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "model": "assistant", "function": "tool"}
FIELDS = ("tool_call_id", "name", "reasoning_content")
ASKED = ("question", "input", "prompt", "query", "text")
ANSWERED = ("answer", "output", "response", "completion", "text", "content")


def at(record: Any, path: str) -> Any:
    """The value at a dotted path, whose parts may be joined in one key; None where there is none."""
    if not isinstance(record, Mapping):
        return None
    if path in record:
        return record[path]
    parts = path.split(".")
    for size in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:size])
        if isinstance(record.get(head), Mapping):
            found = at(record[head], ".".join(parts[size:]))
            if found is not None:
                return found
    return None


def decoded(value: Any) -> Any:
    """A value, or what the JSON object, list or string in a text stands for."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "[", '"'):
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value


def items_of(value: Any) -> list[Any]:
    """A list, also of what a Parquet reader gives as an array; empty for None."""
    value = decoded(value)
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def prompt_of(value: Any, *, as_json: bool = False) -> Any:
    """A prompt: text, or messages where one text does not say it all.

    as_json: the tool writes texts as JSON strings, and objects as JSON; otherwise only messages are read from JSON.

    Raises:
        SkippedRecord: no prompt.
    """
    messages = _conversation(value, "user", ASKED, "prompt", as_json)
    return messages[0]["content"] if len(messages) == 1 and _is_text(messages[0], "user") else messages


def response_of(value: Any, prompt: Any = None, *, as_json: bool = False) -> Any:
    """A response: text, or messages where it calls tools or has several turns.

    prompt: what the response may begin with, as an application logs that returns the whole conversation. as_json: as of
    `prompt_of`.

    Raises:
        SkippedRecord: no response.
    """
    messages = _conversation(value, "assistant", ANSWERED, "response", as_json)
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt or ())
    if asked and messages[: len(asked)] == asked:
        messages = messages[len(asked) :]
    if not messages:
        raise SkippedRecord("no response after the prompt")
    if messages[-1]["role"] != "assistant":
        raise SkippedRecord(f"the response ends with a message of role {messages[-1]['role']}")
    return messages[0]["content"] if len(messages) == 1 and _is_text(messages[0], "assistant") else messages


def tools_of(value: Any) -> dict[str, Any]:
    """``{"tools": …}`` where `value` is a list of function schemas, else nothing."""
    found = [tool for tool in map(decoded, items_of(value)) if isinstance(tool, Mapping)]
    return {"tools": found} if found else {}


def _is_text(message: Mapping[str, Any], role: str) -> bool:
    return message["role"] == role and message.keys() == {"role", "content"}


def _conversation(value: Any, role: str, names: Sequence[str], what: str, as_json: bool) -> list[dict[str, Any]]:
    found = decoded(value)
    value = _unpacked(found if as_json or _holds_messages(found) else value, names, what)
    if isinstance(value, str):
        value = [{"role": role, "content": value}]
    if isinstance(value, Mapping):
        value = [value]
    messages = [message_of(message) for message in value or ()]
    if not any((message["content"] or "").strip() or len(message) > 2 for message in messages):
        raise SkippedRecord(f"empty {what}")
    return messages


def _holds_messages(value: Any) -> bool:
    items = value.get("messages") if isinstance(value, Mapping) else value
    return isinstance(items, list) and bool(items) and all(isinstance(i, Mapping) and "role" in i for i in items)


def _unpacked(value: Any, names: Sequence[str], what: str) -> Any:
    """The text, message or list of messages within the objects that tools put around it."""
    if isinstance(value, Mapping):
        return _unpacked_object(value, names, what)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and isinstance(value[0], Sequence):  # LangChain: one list per prompt of the batch
            return _unpacked(decoded(value[0]), names, what)
        if value and isinstance(value[0], Mapping) and value[0].keys() & {"message", "generation_info"}:
            return _unpacked(value[0], names, what)  # the first of several choices
        return value
    if value is not None and not isinstance(value, str):
        raise SkippedRecord(f"{what} is neither text nor messages")
    return value


def _unpacked_object(value: Mapping[str, Any], names: Sequence[str], what: str) -> Any:
    if isinstance(value.get("role", value.get("type")), str) and value.keys() & {
        "content",
        "parts",
        "data",
        "tool_calls",
    }:
        return value
    for name in ("messages", "generations", "choices", "message", "kwargs"):
        if value.get(name):
            return value if name == "kwargs" else _unpacked(decoded(value[name]), names, what)
    known = [name for name in names if isinstance(value.get(name), (str, list, Mapping)) and value[name]]
    if known:
        return _unpacked(decoded(value[known[0]]), names, what)
    texts = [item for item in value.values() if isinstance(item, str)]
    if len(value) == len(texts) == 1:
        return texts[0]
    raise SkippedRecord(f"{what} is an object without messages (it has {', '.join(map(str, value)) or 'nothing'})")


def message_of(value: Any) -> dict[str, Any]:
    """One message with role, content and what else a chat template reads.

    Raises:
        SkippedRecord: no role, or content that is not text.
    """
    if not isinstance(value, Mapping):
        raise SkippedRecord("a message is not an object")
    if "kwargs" in value and isinstance(value.get("id"), Sequence):  # LangChain, serialised
        value = {"type": str(value["id"][-1]).removesuffix("Message").lower(), **value["kwargs"]}
    if isinstance(value.get("data"), Mapping):
        value = {"type": value.get("type"), **value["data"]}
    role = value.get("role") or value.get("type")
    if not isinstance(role, str):
        raise SkippedRecord("a message has no role")
    if "parts" in value:
        return _of_parts(ROLES.get(role, role), items_of(value["parts"]))
    more = {name: value[name] for name in FIELDS if value.get(name)}
    calls = items_of(value.get("tool_calls") or at(value, "additional_kwargs.tool_calls"))
    if calls:
        more["tool_calls"] = [_tool_call(call) for call in calls]
    content = _text(value.get("content"))
    return {"role": ROLES.get(role, role), "content": content if content or not calls else None, **more}


def _text(content: Any) -> str:
    """Content as one text; parts of a list are joined."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in items_of(content)]
    for part in parts:
        kind = part.get("type", "text")
        if kind not in ("text", "input_text", "output_text", "tool_use"):
            raise SkippedRecord(f"a message has content of type {kind}")
    return "".join(str(part.get("text") or "") for part in parts)


def _tool_call(call: Any) -> dict[str, Any]:
    """A tool call in the form of OpenAI, from it or from that of LangChain (name, args)."""
    if not isinstance(call, Mapping):
        raise SkippedRecord("a tool call is not an object")
    function = call.get("function")
    if not isinstance(function, Mapping):
        arguments = next((call[name] for name in ("arguments", "args") if name in call), {})
        function = {"name": call.get("name"), "arguments": arguments}
    own = {"id": call["id"]} if "id" in call else {}
    return {**own, "type": "function", "function": dict(function)}


def _of_parts(role: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A message of OpenTelemetry: parts of type text, reasoning, tool_call and tool_call_response."""
    by_type: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        by_type.setdefault(str(part.get("type")), []).append(part)
    for kind in by_type.keys() - {"text", "reasoning", "tool_call", "tool_call_response"}:
        raise SkippedRecord(f"a message has content of type {kind}")
    content = "".join(str(part.get("content") or "") for part in by_type.get("text", ()))
    more: dict[str, Any] = {}
    if thoughts := by_type.get("reasoning"):
        more["reasoning_content"] = "".join(str(part.get("content") or "") for part in thoughts)
    if calls := by_type.get("tool_call"):
        more["tool_calls"] = [_tool_call(call) for call in calls]
    if results := by_type.get("tool_call_response"):
        if len(results) > 1:
            raise SkippedRecord("a message has several tool results")
        result = results[0].get("response", results[0].get("result"))
        content = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
        more["tool_call_id"] = results[0].get("id")
    return {"role": role, "content": content if content or "tool_calls" not in more else None, **more}
