"""TRL's data set formats with feedback: unpaired preference and preference, plain or conversational."""

from collections.abc import Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings, SkippedRecord
from valuefree.data.exports.messages import prompt_of, response_of
from valuefree.data.reward_values import is_missing, thumb_of

KINDS = {
    "unpaired preferences": ("prompt", "completion", "label"),
    "preferences": ("chosen", "rejected"),
}
KEPT = ("tools", "chat_template_kwargs")  # what a chat template reads beside the messages


def read(tables: Mapping[str, Sequence[Record]], _: Settings, account: Account) -> list[dict[str, Any]]:
    """Unpaired preferences as rows with reward ±1 and ``desirable``; preferences as pairs, unchanged.

    ``prompt`` may be missing in a pair of conversations, which begin with it.
    """
    rows = []
    for record in tables.get("unpaired preferences", ()):
        try:
            rows.append(_row(record))
        except SkippedRecord as reason:
            account.skipped[str(reason)] += 1
    for record in tables.get("preferences", ()):
        names = ("prompt", "chosen", "rejected", *KEPT)
        rows.append({name: record[name] for name in names if record.get(name) is not None})
    return rows


def _row(record: Record) -> dict[str, Any]:
    label = record["label"]
    if is_missing(label):
        raise SkippedRecord("no label")
    thumb = {0: -1.0, 1: 1.0}.get(label) if isinstance(label, (bool, int, float)) else thumb_of(label)
    if thumb is None:
        raise SkippedRecord(f"label {label!r} is neither true nor false")
    row = {"prompt": prompt_of(record["prompt"]), "response": response_of(record["completion"])}
    kept = {name: record[name] for name in KEPT if record.get(name) is not None}
    return row | {"reward": thumb, "desirable": thumb > 0} | kept
