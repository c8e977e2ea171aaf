"""Plain logs: a table (CSV, JSONL, Parquet) with columns of any name for prompt, response and reward."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from valuefree.data.exports.account import Account, Record, Settings, SkippedRecord
from valuefree.data.exports.guess import ColumnGuess, guess_columns
from valuefree.data.exports.messages import prompt_of, response_of
from valuefree.data.reward_values import is_missing, ratings_of
from valuefree.data.validation import one_per_response
from valuefree.errors import ConfigError

KINDS = {"rows": ()}
ROLES = ("prompt", "response", "reward")


def read(tables: Mapping[str, Sequence[Record]], settings: Settings, account: Account) -> list[dict[str, Any]]:
    """One row per row with a prompt, a response and a reward.

    Raises:
        ConfigError: a column does not exist, with the guess and the flags that choose it.
    """
    records = [row for record in tables.get("rows", ()) for row in one_per_response(record)]
    names = {role: getattr(settings, role) or role for role in ROLES}
    for role, name in names.items():
        if not any(name in record for record in records):
            raise ConfigError(f"no column {name!r} for the {role}. {advice(records)}")
    values = [record.get(names["reward"]) for record in records]
    rewards, notes = ratings_of(
        values, name=f"column {names['reward']!r}", categories=settings.categories, thumbs=settings.thumbs
    )
    account.notes += notes
    rows = []
    for record, reward in zip(records, rewards, strict=True):
        try:
            if reward is None:
                raise SkippedRecord("no reward")
            prompt = prompt_of(record.get(names["prompt"]))
            response = response_of(record.get(names["response"]), prompt)
        except SkippedRecord as reason:
            account.skipped[str(reason)] += 1
            continue
        rows.append({"prompt": prompt, "response": response, "reward": reward})
    return rows


def with_guess(records: Sequence[Record], settings: Settings) -> tuple[Settings, ColumnGuess]:
    """The settings with the guessed column for each that the user did not name, and the guess."""
    guess = guess_columns(records)
    found = {role: getattr(settings, role) or getattr(guess, role) for role in ROLES}
    return replace(settings, **found), guess


def flags_of(settings: Settings) -> str:
    """The flags that choose the columns of the settings, as one copies them into a shell."""
    named = [f"--{role} {shlex.quote(getattr(settings, role) or 'COLUMN')}" for role in ROLES]
    return " ".join([*named, *(["--thumbs"] if settings.thumbs else [])])


def is_zero_or_one(records: Sequence[Record], column: str | None) -> bool:
    """Whether the column holds 1 and 0 alone."""
    found = [record[column] for record in records if column is not None and column in record]
    values = {str(value).strip() for value in found if not is_missing(value)}
    return bool(values) and values <= {"0", "1", "0.0", "1.0"}


def advice(records: Sequence[Record]) -> str:
    """The guessed columns with their reasons, and the flags to type."""
    nested = any(len(one_per_response(record)) > 1 for record in records)
    records = [row for record in records for row in one_per_response(record)]
    settings, guess = with_guess(records, Settings())
    settings = replace(settings, thumbs=guess.thumbs or is_zero_or_one(records, guess.reward))
    empty = any(is_missing(row.get(getattr(guess, role))) for row in records for role in ROLES)
    drop = " --on-bad drop" if nested and empty else ""  # --from csv leaves such rows out by itself
    lines = [f"  {role}: {getattr(guess, role) or '?'} ({guess.reasons.get(role, 'no column fits')})" for role in ROLES]
    there = ", ".join(dict.fromkeys(name for record in records for name in record))
    return "\n".join(
        [
            f"The columns are {there}. A guess:",
            *lines,
            f"If it is right, add: {'' if nested else '--from csv '}{flags_of(settings)}{drop}",
        ]
    )
