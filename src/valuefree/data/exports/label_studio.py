"""Label Studio: the JSON export of annotated tasks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings, SkippedRecord
from valuefree.data.exports.columns import text_columns
from valuefree.data.exports.messages import at, items_of, prompt_of, response_of
from valuefree.data.exports.ratings import Found, Score, rated_rows
from valuefree.errors import number_of

KINDS = {"tasks": ("data", "annotations")}


def read(tables: Mapping[str, Sequence[Record]], settings: Settings, account: Account) -> list[dict[str, Any]]:
    """One row per task; the reward is the mean rating, or choice by the categories, over annotations not cancelled."""
    tasks = tables.get("tasks", ())
    data = [task.get("data") or {} for task in tasks]
    fields = list(dict.fromkeys(name for fields in data for name in fields))
    asked, answered = text_columns(data, fields, settings, account)
    scores = [score for index, task in enumerate(tasks) for score in _scores(index, task, account)]

    def row_of(index: int) -> Found:
        key = str(tasks[index].get("id", index))
        row = {"prompt": prompt_of(data[index].get(asked)), "response": response_of(data[index].get(answered))}
        return Found(key, row | {"source_id": key}, "in one task")

    return rated_rows(scores, row_of, what="control", settings=settings, account=account)


def _scores(index: int, task: Record, account: Account) -> Iterator[Score]:
    annotations = items_of(task.get("annotations"))
    if not annotations:
        account.skipped["task without annotations"] += 1
    for annotation in annotations:
        if annotation.get("was_cancelled"):
            account.skipped["cancelled annotation"] += 1
            continue
        found = 0
        for result in items_of(annotation.get("result")):
            try:
                value = _value(result)
            except SkippedRecord as reason:
                account.skipped[str(reason)] += 1
                continue
            found += 1
            yield Score(str(result.get("from_name")), value, "annotators", index)
        if not found:
            account.skipped["annotation without a rating or choice"] += 1


def _value(result: Record) -> Any:
    """The rating, or the one choice."""
    kind = result.get("type")
    if kind == "rating":
        return at(result, "value.rating")
    if kind == "choices":
        choices = items_of(at(result, "value.choices"))
        if len(choices) != 1:
            raise SkippedRecord(f"{number_of(len(choices), 'choice')} in one result")
        return choices[0]
    raise SkippedRecord(f"result of type {kind}")
