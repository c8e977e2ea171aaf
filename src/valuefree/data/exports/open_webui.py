"""Open WebUI: the JSON array of the admin page's feedback export."""

from collections.abc import Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings, SkippedRecord
from valuefree.data.exports.messages import at, prompt_of, response_of
from valuefree.data.exports.ratings import averaged
from valuefree.data.reward_values import is_missing, rating_of

KINDS = {"feedback": ("data.rating", "meta.message_id", "snapshot.chat")}


def read(tables: Mapping[str, Sequence[Record]], _: Settings, account: Account) -> list[dict[str, Any]]:
    """One row per rated message: its ancestors in the chat, its content, ``details.rating`` or else ``rating``.

    Several answers to one message (siblings, arena) have the same ancestors, and so are responses to one prompt. If
    some rows have ``details.rating`` (1 to 10) and others ±1 alone, the former becomes (rating − 5.5)/4.5, so that both
    are on the scale from −1 to 1.
    """
    rated = []
    for record in tables.get("feedback", ()):
        try:
            rated.append((_key(record), *_row(record, account)))
        except SkippedRecord as reason:
            account.skipped[str(reason)] += 1
    with_details = sum(details is not None for *_, details in rated)
    mixed = 0 < with_details < len(rated)
    if mixed:
        account.notes.append(
            f"{with_details} rows have a rating from 1 to 10 and {len(rated) - with_details} only a thumb: "
            "the former became (rating - 5.5)/4.5, on the scale of the thumbs from -1 to 1"
        )
    rows = []
    for key, row, details in rated:
        reward = row["reward"] if details is None else (details - 5.5) / 4.5 if mixed else details
        rows.append((key, row | {"reward": reward}))
    return averaged(rows, account)


def _key(record: Record) -> str:
    return f"{at(record, 'meta.chat_id')} {at(record, 'meta.message_id')}"


def _row(record: Record, account: Account) -> tuple[dict[str, Any], float | None]:
    """The row with the thumb as reward, and the rating from 1 to 10 if there is one."""
    if record.get("type") not in (None, "rating"):
        raise SkippedRecord(f"feedback of type {record['type']}")
    rating = at(record, "data.rating")
    if is_missing(rating):
        raise SkippedRecord("no rating")
    thumb = rating_of(rating)
    if thumb is None or thumb.value not in (1, -1):
        raise SkippedRecord(f"rating {rating!r} is neither +1 nor -1")
    details = at(record, "data.details.rating")
    found = None if is_missing(details) else rating_of(details)
    if not is_missing(details) and (found is None or not 1 <= found.value <= 10):
        raise SkippedRecord(f"details.rating {details!r} is not from 1 to 10")
    messages = at(record, "snapshot.chat.chat.history.messages")
    if not messages:
        raise SkippedRecord("no snapshot of the chat")
    message, ancestors = _branch(messages, at(record, "meta.message_id"))
    row = {"prompt": prompt_of(ancestors), "response": response_of([message]), "reward": thumb.value}
    if at(record, "meta.arena"):
        account.joined["from an arena"] += 1
    siblings = at(record, "data.sibling_model_ids")
    if siblings:
        account.joined["with other answers to the same prompt"] += 1
    model = at(record, "data.model_id") or messages[at(record, "meta.message_id")].get("model")
    return row | ({"model": model} if model else {}) | {"source_id": record.get("id")}, found and found.value


def _branch(messages: Mapping[str, Any], key: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The message, and its ancestors, oldest first."""
    chain: list[dict[str, Any]] = []
    seen: set[Any] = set()
    if key not in messages:
        raise SkippedRecord("the message is not in the snapshot of the chat")
    while key is not None:
        if key in seen:
            raise SkippedRecord("the chat's history runs in a circle")
        if key not in messages:
            raise SkippedRecord("an earlier message is not in the snapshot of the chat")
        seen.add(key)
        chain.append({name: messages[key].get(name) for name in ("role", "content")})
        key = messages[key].get("parentId")
    if chain[0]["role"] != "assistant":
        raise SkippedRecord(f"the rated message has role {chain[0]['role']}")
    return chain[0], chain[:0:-1]
