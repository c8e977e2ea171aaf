"""OpenTelemetry GenAI: evaluation events and the spans that they are about, plain or as OTLP JSON.

Source: semantic-conventions-genai, status Development.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings, SkippedRecord
from valuefree.data.exports.messages import at, decoded, items_of, prompt_of, response_of, tools_of
from valuefree.data.exports.ratings import Found, Score, check_halves, rated_rows
from valuefree.data.reward_values import is_missing
from valuefree.errors import number_of

KINDS = {
    "events": ("attributes.gen_ai.evaluation.name",),
    "spans": ("attributes.gen_ai.input.messages", "attributes.gen_ai.output.messages"),
    "spans without texts": ("attributes.gen_ai.operation.name",),
    "OTLP batches": ("resourceSpans",),
    "OTLP logs": ("resourceLogs",),
}


def read(tables: Mapping[str, Sequence[Record]], settings: Settings, account: Account) -> list[dict[str, Any]]:
    """One row per evaluated response; the reward is the evaluation's ``score.value``, or its label by the categories.

    An event joins its span by ``gen_ai.response.id``, else by the span that it is in.
    """
    records = [item for records in tables.values() for record in records for item in _records(record)]
    spans = [item for item in records if "gen_ai.output.messages" in item["attributes"]]
    events = [item for item in records if "gen_ai.evaluation.name" in item["attributes"]]
    check_halves(account, events=(events, "gen_ai.evaluation.result events"), spans=(spans, "spans with their texts"))
    by_response = {item["attributes"].get("gen_ai.response.id"): item for item in spans}
    by_span = {item["span_id"]: item for item in spans}
    repeated = len(spans) - len(by_response)
    if repeated:
        account.notes.append(f"{number_of(repeated, 'span')} with the response id of a later one, which is taken")

    def row_of(event: Record) -> Found:
        span, how = _span(event, by_response, by_span)
        key = str(span["attributes"].get("gen_ai.response.id") or span["span_id"])
        return Found(key, _row(span["attributes"]) | {"source_id": key}, how)

    scores = [
        Score(str(item["attributes"]["gen_ai.evaluation.name"]), _value(item["attributes"]), "an evaluation", item)
        for item in events
    ]
    return rated_rows(scores, row_of, what="evaluation", settings=settings, account=account)


def _value(attributes: Record) -> Any:
    score = attributes.get("gen_ai.evaluation.score.value")
    return attributes.get("gen_ai.evaluation.score.label") if is_missing(score) else score


def _span(event: Record, by_response: Mapping[Any, Record], by_span: Mapping[Any, Record]) -> tuple[Record, str]:
    response = event["attributes"].get("gen_ai.response.id")
    if response is not None and response in by_response:
        return by_response[response], "by gen_ai.response.id"
    if event["span_id"] is not None and event["span_id"] in by_span:
        return by_span[event["span_id"]], "by the span of the event"
    raise SkippedRecord("no span with the texts of the evaluated response")


def _row(attributes: Record) -> dict[str, Any]:
    system = items_of(attributes.get("gen_ai.system_instructions"))
    asked = items_of(attributes.get("gen_ai.input.messages"))
    prompt = prompt_of([{"role": "system", "parts": system}, *asked] if system else asked)
    choices = items_of(attributes.get("gen_ai.output.messages"))
    if len(choices) > 1:
        raise SkippedRecord("the span has several output messages, of which one was evaluated")
    model = attributes.get("gen_ai.response.model") or attributes.get("gen_ai.request.model")
    row = {"prompt": prompt, "response": response_of(choices), **tools_of(attributes.get("gen_ai.tool.definitions"))}
    return row | ({"model": model} if model else {})


def _records(record: Record) -> Iterator[dict[str, Any]]:
    """The spans and events in a record, each as attributes and span_id."""
    for outer, scope, inner in (("resourceSpans", "scopeSpans", "spans"), ("resourceLogs", "scopeLogs", "logRecords")):
        for resource in items_of(record.get(outer)):
            for group in items_of(resource.get(scope)):
                for item in items_of(group.get(inner)):
                    yield from _records(item)
    if "attributes" in record:
        span = at(record, "context.span_id") or record.get("spanId") or record.get("span_id")
        yield {"attributes": _attributes(record["attributes"]), "span_id": span}
        for event in items_of(record.get("events")):
            yield {"attributes": _attributes(event.get("attributes") or {}), "span_id": span}


def _attributes(attributes: Any) -> dict[str, Any]:
    """Attributes by their dotted names; OTLP has a list of keys with typed values."""
    attributes = decoded(attributes)
    if isinstance(attributes, Mapping):
        return {name: at(attributes, name) for name in _names(attributes)}
    return {item["key"]: _plain(item.get("value") or {}) for item in attributes}


def _names(value: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The dotted paths of everything in nested objects."""
    for key, item in value.items():
        name = f"{path}.{key}" if path else key
        yield name
        if isinstance(item, Mapping):
            yield from _names(item, name)


def _plain(value: Record) -> Any:
    """The Python value of an OTLP value, such as ``{"intValue": "3"}``."""
    match next(iter(value.items()), (None, None)):
        case ("arrayValue", content):
            return [_plain(item) for item in content.get("values", ())]
        case ("kvlistValue", content):
            return {item["key"]: _plain(item.get("value") or {}) for item in content.get("values", ())}
        case ("intValue", content):
            return int(content)
        case (_, content):
            return content
