"""OpenAI's fine-tuning files: preference pairs; demonstrations have no reward."""

from collections.abc import Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings, SkippedRecord
from valuefree.data.exports.messages import at, items_of, message_of
from valuefree.data.validation import NESTED
from valuefree.errors import DataError

KINDS = {
    "preferences": ("input.messages", "preferred_output", "non_preferred_output"),
    "demonstrations": ("messages", "!reward", "!score", "!rating", "!label", *(f"!{name}" for name in NESTED)),
}


def read(tables: Mapping[str, Sequence[Record]], _: Settings, account: Account) -> list[dict[str, Any]]:
    """Preferences as pairs: prompt, chosen, rejected, and tools.

    Raises:
        DataError: demonstrations, which no rows of feedback can be made of.
    """
    demonstrations = len(tables.get("demonstrations", ()))
    if demonstrations:
        raise DataError(
            f"{demonstrations} of the records have messages and no feedback. They are demonstrations, from which no "
            "reward can be read. To imitate them, write rows of prompt, response and reward 1 and train with "
            "--objective sft; to learn from feedback, write each answer's rating as its reward."
        )
    rows = []
    for record in tables.get("preferences", ()):
        try:
            messages = [
                [message_of(message) for message in items_of(at(record, path))] for path in KINDS["preferences"]
            ]
        except SkippedRecord as reason:
            account.skipped[str(reason)] += 1
            continue
        tools = at(record, "input.tools")
        rows.append(
            dict(zip(("prompt", "chosen", "rejected"), messages, strict=True)) | ({"tools": tools} if tools else {})
        )
    return rows
