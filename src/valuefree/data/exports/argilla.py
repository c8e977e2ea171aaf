"""Argilla: records as ``to_list(flatten=True)`` gives them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings
from valuefree.data.exports.columns import text_columns
from valuefree.data.exports.messages import items_of, prompt_of, response_of
from valuefree.data.exports.ratings import Found, Score, rated_rows
from valuefree.data.reward_values import is_missing, rating_of
from valuefree.errors import number_of

RESPONSES = ".responses"
KINDS = {"records": ("*.responses", "*.responses.status")}


def read(tables: Mapping[str, Sequence[Record]], settings: Settings, account: Account) -> list[dict[str, Any]]:
    """One row per record with a submitted response; the reward is the mean of a question's submitted ratings.

    Draft and discarded responses and suggestions are not read. A question whose responses are texts may hold
    corrections, which are no rewards.
    """
    records = tables.get("records", ())
    questions = [name.removesuffix(RESPONSES) for name in _names(records) if name.endswith(RESPONSES)]
    fields = [name for name in _names(records) if not _is_of_question(name, questions)]
    asked, answered = text_columns(records, fields, settings, account)
    scores = []
    for index, record in enumerate(records):
        for question in questions:
            for value, user in _submitted(record, question, account):
                scores.append(Score(question, value, user, index))
    rated = {score.about for score in scores}
    if len(rated) < len(records):
        account.skipped["record without a submitted response"] += len(records) - len(rated)
    suggested = sum(not is_missing(record.get(f"{name}.suggestion")) for record in records for name in questions)
    if suggested:
        account.notes.append(f"{number_of(suggested, 'suggestion')} not read: made by a model, not by the annotators")
    texts = _questions_of_texts(scores, settings)
    if texts:
        account.notes.append(f"not rewards, but texts: the responses to {', '.join(map(repr, texts))}")

    def row_of(index: int) -> Found:
        record = records[index]
        prompt = prompt_of(record.get(asked))
        key = str(record.get("id", index))
        row = {"prompt": prompt, "response": response_of(record.get(answered)), "source_id": key}
        return Found(key, row, "in one record")

    ratings = [score._replace(source="annotators") for score in scores if score.name not in texts]
    return rated_rows(ratings, row_of, what="question", settings=settings, account=account)


def _names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


def _is_of_question(name: str, questions: Sequence[str]) -> bool:
    return any(name.startswith((f"{question}{RESPONSES}", f"{question}.suggestion")) for question in questions)


def _submitted(record: Record, question: str, account: Account) -> Iterator[tuple[Any, str]]:
    """Value and user of each submitted response to a question."""
    values = items_of(record.get(f"{question}{RESPONSES}"))
    statuses = items_of(record.get(f"{question}{RESPONSES}.status"))
    users = items_of(record.get(f"{question}{RESPONSES}.users"))
    for index, value in enumerate(values):
        status = statuses[index] if index < len(statuses) else "unknown status"
        if status == "submitted":
            yield value, str(users[index] if index < len(users) else "unknown user")
        else:
            account.skipped[f"{status} response to {question!r}"] += 1


def _questions_of_texts(scores: Sequence[Score], settings: Settings) -> list[str]:
    """Questions of which no response spells a reward; never the one that the user chose."""
    rewards = {score.name for score in scores if rating_of(score.value, settings.categories) is not None}
    names = dict.fromkeys(score.name for score in scores)
    return [name for name in names if name not in rewards and name != settings.score_name and len(names) > 1]
