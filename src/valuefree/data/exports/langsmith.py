"""LangSmith: feedback and the runs that it is about."""

from collections.abc import Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings, SkippedRecord
from valuefree.data.exports.messages import at, decoded, prompt_of, response_of, tools_of
from valuefree.data.exports.ratings import Found, Score, check_halves, rated_rows
from valuefree.data.reward_values import is_missing
from valuefree.errors import number_of

KINDS = {
    "feedback": ("run_id", "key", "score"),
    "runs": ("run_type", "inputs", "outputs"),
}


def read(tables: Mapping[str, Sequence[Record]], settings: Settings, account: Account) -> list[dict[str, Any]]:
    """One row per run with feedback; the reward is ``score``, or ``value`` by the user's categories.

    A ``correction`` is a reference answer and no reward.
    """
    feedback = tables.get("feedback", ())
    check_halves(account, feedback=(feedback, "the feedback"), runs=(tables.get("runs", ()), "the runs"))
    corrections = sum(bool(decoded(item.get("correction"))) for item in feedback)
    if corrections:
        account.notes.append(f"{number_of(corrections, 'correction')} not read: a reference answer is no reward")
    runs = {str(run["id"]): run for run in tables.get("runs", ())}

    def row_of(key: Any) -> Found:
        if not key:
            raise SkippedRecord("feedback on a session, not on a run")
        run = runs.get(str(key))
        if run is None:
            raise SkippedRecord("the feedback's run is not in the export")
        return Found(str(key), _row(run), f"by run_id, run of type {run['run_type']}")

    scores = [Score(str(item["key"]), _value(item), _source(item), item.get("run_id")) for item in feedback]
    return rated_rows(scores, row_of, what="feedback", settings=settings, account=account)


def _value(item: Record) -> Any:
    return item.get("value") if is_missing(item.get("score")) else item["score"]


def _source(item: Record) -> str:
    return str(at(decoded(item.get("feedback_source")), "type") or "unknown source")


def _row(run: Record) -> dict[str, Any]:
    inputs, outputs = decoded(run.get("inputs")), decoded(run.get("outputs"))
    prompt = prompt_of(inputs, as_json=True)
    response = response_of(outputs, prompt, as_json=True)
    tools = tools_of(inputs["tools"]) if isinstance(inputs, Mapping) and "tools" in inputs else {}
    return {"prompt": prompt, "response": response, **tools, "source_id": str(run["id"])}
