"""Phoenix: span annotations and the spans that they are about, with OpenInference attributes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings, SkippedRecord
from valuefree.data.exports.messages import at, decoded, prompt_of, response_of, tools_of
from valuefree.data.exports.ratings import Found, Score, check_halves, rated_rows
from valuefree.data.reward_values import is_missing

KINDS = {
    "annotations": ("span_id", "annotation_name", "annotator_kind"),
    "spans": ("context.span_id", "attributes"),
}
CALL = re.compile(r"tool_calls\.(\d+)\.tool_call\.(id|function\.name|function\.arguments)")
PART = re.compile(r"contents\.(\d+)\.message_content\.(type|text)")


def read(tables: Mapping[str, Sequence[Record]], settings: Settings, account: Account) -> list[dict[str, Any]]:
    """One row per annotated span; the reward is ``result.score``, or ``result.label`` by the user's categories."""
    halves = {"annotations": "the span annotations", "spans": "the spans"}
    check_halves(account, **{kind: (tables.get(kind, ()), where) for kind, where in halves.items()})
    spans = {str(at(span, "context.span_id") or span.get("span_id")): span for span in tables.get("spans", ())}

    def row_of(key: str) -> Found:
        if key not in spans:
            raise SkippedRecord("the annotation's span is not in the export")
        row, texts = _row(spans[key])
        return Found(key, row | {"source_id": key}, f"by span_id, texts in {texts}")

    scores = [
        Score(str(item["annotation_name"]), _value(item), str(item["annotator_kind"]), str(item["span_id"]))
        for item in tables.get("annotations", ())
    ]
    return rated_rows(scores, row_of, what="annotation", settings=settings, account=account)


def _value(item: Record) -> Any:
    score = at(item, "result.score")
    return at(item, "result.label") if is_missing(score) else score


def _row(span: Record) -> tuple[dict[str, Any], str]:
    """Prompt, response and tools of a span, and in which attributes the texts are."""
    attributes = dict(flattened(_attributes(span)))
    asked, answered = (_messages(attributes, f"llm.{which}_messages") for which in ("input", "output"))
    name = attributes.get("llm.model_name")
    row = {"model": name} if name else {}
    if asked and answered:
        prompt = prompt_of(asked)
        schemas = [
            value for key, value in attributes.items() if re.fullmatch(r"llm\.tools\.\d+\.tool\.json_schema", key)
        ]
        return {"prompt": prompt, "response": response_of(answered, prompt), **tools_of(schemas), **row}, "llm messages"
    prompt = prompt_of(attributes.get("input.value"), as_json=True)
    return {
        "prompt": prompt,
        "response": response_of(attributes.get("output.value"), prompt, as_json=True),
        **row,
    }, "input.value"


def _attributes(span: Record) -> dict[str, Any]:
    """Attributes of a span, also where a table has one column for each (``attributes.llm.model_name``)."""
    start = "attributes."
    return dict(span.get("attributes") or {}) | {
        key.removeprefix(start): value for key, value in span.items() if key.startswith(start)
    }


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested objects and lists, by dotted path; OpenInference attributes in one form."""
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, Sequence) and not isinstance(value, str):
        items = enumerate(value)
    else:
        if value is not None:
            yield path, value
        return
    for key, item in items:
        yield from flattened(item, f"{path}.{key}" if path else str(key))


def _messages(attributes: Mapping[str, Any], start: str) -> list[dict[str, Any]]:
    """The messages under ``start.N.message``."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if match := re.fullmatch(rf"{re.escape(start)}\.(\d+)\.message\.(.+)", key):
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [_message(found[number]) for number in sorted(found)]


def _message(fields: Mapping[str, Any]) -> dict[str, Any]:
    message = {name: fields[name] for name in ("role", "content", "tool_call_id", "name") if name in fields}
    calls: dict[int, dict[str, Any]] = {}
    parts: dict[int, dict[str, Any]] = {}
    for key, value in fields.items():
        if match := CALL.fullmatch(key):
            calls.setdefault(int(match[1]), {})[match[2].removeprefix("function.")] = value
        elif match := PART.fullmatch(key):
            parts.setdefault(int(match[1]), {})[match[2]] = value
    if parts and "content" not in message:
        message["content"] = [parts[number] for number in sorted(parts)]
    if calls:
        message["tool_calls"] = [
            call | {"arguments": decoded(call.get("arguments"))} for _, call in sorted(calls.items())
        ]
    return message
