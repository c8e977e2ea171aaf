"""Langfuse: scores and observations of the blob-storage export."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings, SkippedRecord
from valuefree.data.exports.messages import decoded, items_of, prompt_of, response_of, tools_of
from valuefree.data.exports.ratings import Found, Score, check_halves, chosen_name, rated_rows
from valuefree.data.reward_values import rating_of
from valuefree.errors import DataError

KINDS = {
    "scores": ("trace_id", "name", "value", "data_type"),
    "observations": ("trace_id", "type", "input", "output"),
}


def read(tables: Mapping[str, Sequence[Record]], settings: Settings, account: Account) -> list[dict[str, Any]]:
    """One row per scored observation; the reward is the score.

    A score joins its observation by ``observation_id``, else the last GENERATION of its trace. The label of a
    CATEGORICAL score is in ``string_value``, because its ``value`` is an index. A TEXT score has no number.
    """
    observations, scored = tables.get("observations", ()), tables.get("scores", ())
    check_halves(account, scores=(scored, "scores"), observations=(observations, "observations_v2"))
    by_id = {item["id"]: item for item in observations if item.get("id")}
    generations: dict[Any, list[Record]] = {}
    for item in observations:
        if item.get("type") == "GENERATION":
            generations.setdefault(item["trace_id"], []).append(item)

    def row_of(score: Record) -> Found:
        observation, how = _observation(score, by_id, generations)
        return Found(observation["id"], _row(observation), how)

    found = _without_texts(scored, settings, account)
    scores = [
        Score(str(item["name"]), _value(item), str(item.get("source") or "unknown source"), item) for item in found
    ]
    return rated_rows(scores, row_of, what="score", settings=settings, account=account)


def _without_texts(scores: Sequence[Record], settings: Settings, account: Account) -> list[Record]:
    """The scores that may be rewards; raises DataError where those of the chosen name are texts, or of two types."""
    usable = [score for score in scores if score.get("data_type") != "TEXT"]
    if len(usable) < len(scores):
        account.skipped["TEXT score (its value is always 0)"] += len(scores) - len(usable)
    names = [str(score["name"]) for score in usable]
    wanted = settings.score_name
    texts = {str(score["name"]) for score in scores} - set(names)
    if wanted in texts or (texts and not names):
        raise DataError(
            f"score {wanted or scores[0]['name']!r}: its type is TEXT, whose value is always 0. It is no reward."
        )
    name = chosen_name(names, settings, "score")
    types = Counter(str(score.get("data_type")) for score in usable if score["name"] == name)
    if len(types) > 1:
        shown = ", ".join(f"{kind} ({count})" for kind, count in types.items())
        raise DataError(f"score {name!r} has several data types: {shown}. Keep the records of one type.")
    return usable


def _value(score: Record) -> Any:
    value = score.get("value")
    match score.get("data_type"):
        case "CATEGORICAL":
            return score.get("string_value")
        case "BOOLEAN":
            found = rating_of(value)
            return None if found is None else found.value > 0
    return value


def _observation(
    score: Record, by_id: Mapping[Any, Record], generations: Mapping[Any, Sequence[Record]]
) -> tuple[Record, str]:
    if score.get("observation_id"):
        if score["observation_id"] not in by_id:
            raise SkippedRecord("the score's observation is not in the export")
        return by_id[score["observation_id"]], "by observation_id"
    if not score.get("trace_id"):
        raise SkippedRecord("score of a session, not of a trace")
    found = generations.get(score["trace_id"], ())
    if not found:
        raise SkippedRecord("the score's trace has no GENERATION in the export")
    how = "by trace_id, the last of several GENERATIONs" if len(found) > 1 else "by trace_id"
    return max(found, key=lambda item: str(item.get("start_time") or "")), how


def _row(observation: Record) -> dict[str, Any]:
    asked = decoded(observation.get("input"))
    prompt = prompt_of(asked, as_json=True)
    try:
        response = response_of(observation.get("output"), prompt, as_json=True)
    except SkippedRecord:
        calls = [decoded(call) for call in items_of(observation.get("tool_calls"))]
        if not calls:
            raise
        response = response_of([{"role": "assistant", "content": None, "tool_calls": calls}])
    tools = tools_of(observation.get("tool_definitions"))
    if not tools and isinstance(asked, Mapping):
        tools = tools_of(asked.get("tools"))
    model = observation.get("provided_model_name")
    row = {"prompt": prompt, "response": response, **tools, "source_id": observation["id"]}
    return row | ({"model": model} if model else {})
