"""Guess which columns of a table hold the prompt, the response and the reward, from their names and values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from valuefree.data.reward_values import rating_of

SAMPLE = 2000  # rows that are looked at
MOST = 0.9  # share of the values that must be of one kind; the others may be faulty rows
FEW_VALUES = 20  # a column of numbers without a telling name is a reward only if it has at most so many values
ROLES = ("prompt", "response", "reward")
ENDS = {"prompt": "the user's, a tool's or the system's", "response": "the assistant's"}

# Words of a name, singular, by how clearly they say the role: clear, less clear, and names of a speaker.
WORDS: dict[str, tuple[frozenset[str], ...]] = {
    "prompt": (
        frozenset(["prompt", "question", "instruction", "query"]),
        frozenset(["input", "request"]),
        frozenset(["user", "human", "customer"]),
    ),
    "response": (
        frozenset(["response", "answer", "completion", "reply"]),
        frozenset(["output", "generation", "prediction", "generated"]),
        frozenset(["bot", "assistant", "ai", "model", "chatbot"]),
    ),
    "reward": (
        frozenset(["reward", "thumb", "rating", "score", "feedback", "vote", "star"]),
        frozenset(
            [
                "label",
                "like",
                "liked",
                "grade",
                "preference",
                "helpful",
                "upvoted",
                "satisfaction",
                "quality",
                "correct",
                "useful",
                "accepted",
                "upvote",
            ]
        ),
    ),
}
NEUTRAL = frozenset(
    ["text", "content", "message", "msg", "body", "value", "str", "string"]
)  # ends of names that say nothing of the role
NEVER_LAST = re.compile(
    "id|uuid|guid|hash|key|index|idx|timestamp|time|date|datetime|ts|at|created|updated|count|token|length|latency|cost"
    "|ms|second|duration|url|name|type|comment|reason"
)
NEVER = re.compile("system|reference|expected|gold|golden|truth|target|ideal|chosen|rejected")


@dataclass(frozen=True)
class ColumnGuess:
    """The guessed columns; None where no column fits or two fit equally well.

    reasons: why each of prompt, response and reward was chosen, or was not. alternatives: for each of the three, the
    other columns that may be meant, best first. thumbs: the reward column holds spellings such as up and false.
    """

    prompt: str | None
    response: str | None
    reward: str | None
    reasons: dict[str, str]
    alternatives: dict[str, list[str]]
    thumbs: bool


@dataclass(frozen=True)
class _Column:
    """What the guess reads of a column.

    kind: text, number, thumbs, or None for ids, dates and everything else. speaker: response where the values are lists
    of messages that end with the assistant's, prompt where they end with another's, None for other values.
    """

    name: str
    words: tuple[str, ...]
    kind: str | None
    values: int
    distinct: int
    median_characters: float
    several_words: bool
    speaker: str | None

    def fits(self, role: str) -> bool:
        return self.kind in (("number", "thumbs") if role == "reward" else ("text",))


def guess_columns(rows: Sequence[Mapping[str, Any]]) -> ColumnGuess:
    """Guess the columns of prompt, response and reward from the first 2,000 rows.

    A name decides before the contents do. Names may be in snake_case or camelCase, with prefixes (``user_question``).
    A column is a prompt or response only if its values are texts or lists of messages, and a reward only if they are
    numbers, true/false or thumbs. Ids and times are never chosen. Empty values do not count.
    """
    rows = rows[:SAMPLE]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [_column(name, [row[name] for row in rows if name in row]) for name in names]
    chosen: dict[str, str | None] = dict.fromkeys(ROLES)
    reasons: dict[str, str] = {}
    alternatives: dict[str, list[str]] = {role: [] for role in ROLES}
    undecided = []
    for role in ROLES:
        named = sorted((-_rank(c, role), i) for i, c in enumerate(columns) if _rank(c, role) > 0)
        fitting = [(rank, i) for rank, i in named if columns[i].fits(role)]
        alternatives[role] = [columns[i].name for _, i in named]
        if not fitting:
            undecided.append(role)
        elif len(fitting) > 1 and fitting[0][0] == fitting[1][0]:
            equal = [columns[i].name for rank, i in fitting if rank == fitting[0][0]]
            reasons[role] = f"the names of {_listed(equal)} fit equally well"
        else:
            column = columns[fitting[0][1]]
            by = f"its messages end with {ENDS[role]}" if column.speaker == role else "by name"
            chosen[role], reasons[role] = column.name, f"{by}; {_contents(column)}"
    free = [c for c in columns if c.name not in chosen.values() and not _is_named(c)]
    for role, (name, reason, candidates) in _by_contents(free, undecided).items():
        chosen[role], reasons[role] = name, reason
        alternatives[role] += candidates
    others = {role: [name for name in alternatives[role] if name != chosen[role]] for role in ROLES}
    kinds = {column.name: column.kind for column in columns}
    return ColumnGuess(
        **chosen, reasons=reasons, alternatives=others, thumbs=kinds.get(chosen["reward"] or "") == "thumbs"
    )


def words_of(name: str) -> tuple[str, ...]:
    """Words of a column's name, in lower case and without a plural s: ``userQuestions`` → user, question."""
    parts = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+", name)
    return tuple(part.lower().removesuffix("s") if len(part) > 2 else part.lower() for part in parts)


def _rank(column: _Column, role: str) -> float:
    """How clearly the name says `role`: 4 it is the role, 3 to 1 by `WORDS`; half less if not by its last word.

    Of lists of messages under another name the speaker of the last one decides.
    """
    words = list(column.words)
    if not words or NEVER_LAST.fullmatch(words[-1]) or any(map(NEVER.fullmatch, words)):
        return 0
    if column.speaker and words != [role]:
        return 2.5 * (column.speaker == role)
    while len(words) > 1 and words[-1] in NEUTRAL:
        words.pop()
    if words == [role]:
        return 4
    if any(words[-1] in group for other in ROLES if other != role for group in WORDS[other]):
        return 0
    for rank, group in zip((3, 2, 1), WORDS[role], strict=False):
        if rank == 1 and not (column.several_words and column.distinct > 1):
            return 0  # the name of a user or of a model, not what they wrote
        if words[-1] in group:
            return rank
        if group & set(words):
            return rank - 0.5
    return 0


def _is_named(column: _Column) -> bool:
    """Whether the name says a role that the values fit; a text with such a name, such as a comment, counts too."""
    return any(_rank(column, role) > 0 and (column.fits(role) or column.kind == "text") for role in ROLES)


def _by_contents(columns: list[_Column], roles: list[str]) -> dict[str, tuple[str | None, str, list[str]]]:
    """For each of `roles` the column that its values suggest or None, the reason, and the candidates."""
    found: dict[str, tuple[str | None, str, list[str]]] = {}
    if "reward" in roles:
        found["reward"] = _reward_by_contents(columns)
    texts = [c for c in columns if c.kind == "text" and c.several_words and c.distinct > 1]
    names = [c.name for c in texts]
    missing = [role for role in ("prompt", "response") if role in roles]
    for role in missing:
        found[role] = (None, f"{_listed(names)} may be it" if names else "no column of texts is left", names)
    if len(missing) == 1 and len(texts) == 1:
        reason = f"by contents: the only other column of texts; {_contents(texts[0])}"
        found[missing[0]] = (names[0], reason, [])
    if len(missing) == 2 and len(texts) == 2:
        first, second = sorted(texts, key=lambda c: (c.distinct / c.values, c.median_characters))
        if first.distinct / first.values < second.distinct / second.values:
            reason = f"by contents: texts repeat, {first.distinct} distinct in {first.values}"
        elif 2 * first.median_characters <= second.median_characters:
            lengths = f"{first.median_characters:g} and {second.median_characters:g} characters (medians)"
            reason = f"by contents: its texts are shorter, {lengths}"
        else:
            return found
        found["prompt"] = (first.name, reason, [second.name])
        found["response"] = (second.name, f"by contents: the other column of texts; {_contents(second)}", [first.name])
    return found


def _reward_by_contents(columns: list[_Column]) -> tuple[str | None, str, list[str]]:
    few = [c for c in columns if c.fits("reward") and 2 <= c.distinct <= FEW_VALUES and c.distinct < c.values]
    best = [c for c in few if c.kind == "thumbs"] or few
    names = [c.name for c in best] + [c.name for c in few if c not in best]
    if len(best) == 1:
        return names[0], f"by contents; {_contents(best[0])}", names[1:]
    if best:
        return None, f"the values of {_listed([c.name for c in best])} fit equally well", names
    return None, f"no column of thumbs or of 2 to {FEW_VALUES} distinct numbers that repeat", []


def _column(name: str, values: list[Any]) -> _Column:
    values = [value for value in values if not _is_blank(value)]
    keys = {repr(value) for value in values}
    texts = [value if isinstance(value, str) else repr(value) for value in values]
    return _Column(
        name=name,
        words=words_of(name),
        kind=_kind(name, values),
        values=len(values),
        distinct=len(keys),
        median_characters=median(map(len, texts)) if texts else 0,
        several_words=bool(texts) and median(len(text.split()) for text in texts) >= 2,
        speaker=_speaker(values),
    )


def _speaker(values: list[Any]) -> str | None:
    last = [value[-1]["role"] for value in values if _is_messages(value)]
    if not values or len(last) < MOST * len(values):
        return None
    answers = sum(role == "assistant" for role in last)
    return "response" if answers >= MOST * len(last) else None if answers > len(last) / 2 else "prompt"


def _kind(name: str, values: list[Any]) -> str | None:
    words = words_of(name)
    if not values or (words and NEVER_LAST.fullmatch(words[-1])):
        return None

    def mostly(test: Any) -> bool:
        return sum(map(test, values)) >= MOST * len(values)

    if mostly(_is_number):
        return "number"
    if mostly(lambda value: _is_number(value) or _is_thumb(value)):
        return "thumbs"
    if mostly(_is_time):
        return None
    return "text" if mostly(lambda value: isinstance(value, str) or _is_messages(value)) else None


def _is_blank(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _is_number(value: Any) -> bool:
    if isinstance(value, (bool, list, Mapping)):
        return False
    try:
        return abs(float(value)) < float("inf")
    except (TypeError, ValueError, OverflowError):
        return False


def _is_thumb(value: Any) -> bool:
    return isinstance(value, (bool, str)) and rating_of(value) is not None


def _is_time(value: Any) -> bool:
    if not isinstance(value, str):
        return isinstance(value, datetime)
    try:
        datetime.fromisoformat(value.strip())
    except ValueError:
        return bool(re.fullmatch(r"[0-9a-fA-F-]{16,}", value.strip()))  # a UUID or a hash
    return True


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) and "role" in item for item in value)


def _contents(column: _Column) -> str:
    kind = {"text": "texts", "number": "numbers", "thumbs": "thumbs"}[column.kind or "text"]
    return f"{column.values} {kind}, {column.distinct} distinct"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
