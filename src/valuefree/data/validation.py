"""Validation of rows: one row at a time, with the precise fault, or whole Arrow columns at once."""

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from valuefree.data.reward_values import rating_of, thumb_of
from valuefree.data.sources import RawRow, not_unicode

NESTED = ("responses", "answers", "completions")
TEXT_NAMES = ("text", "response")
NOT_A_NUMBER = "is not a number"
SOMETHING = r"[^\s\x1c-\x1f]"  # a character that str.strip() keeps; Rust's \s lacks the four separators
ODD_SPACE = r"^ | $|  |[^\S ]|[\x1c-\x1f]"  # white space other than single spaces between words
NOT_LOWER = r"[^ -@\[-~]"  # a character that case folding may change


@dataclass(frozen=True)
class ColumnNames:
    """Names of the columns, and whether thumbs are rewards.

    desirable: None if no such column is read. reward: None if desirable stands in for it, as +1 and −1.
    categories: label → reward.
    """

    prompt: str
    response: str
    reward: str | None
    thumbs: bool
    desirable: str | None = None
    categories: Mapping[str, float] = field(default_factory=dict)


class RowError(Exception):
    """A fault of one row. `reason` is the same for every fault of a kind; `detail` adds the value at fault."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}{detail}")
        self.reason = reason


def usable_rows(batch: pa.RecordBatch) -> np.ndarray:
    """Which rows of text, text and float64 columns (valid UTF-8) `validate_triplets` would accept; (R,)."""
    prompt, response, reward = (pl.Series(column) for column in batch.columns)
    frame = pl.DataFrame({"prompt": prompt, "response": response, "reward": reward})
    not_blank = [pl.col(name).str.contains(SOMETHING) for name in ("prompt", "response")]
    usable = pl.all_horizontal(*not_blank, pl.col("reward").is_finite()).fill_null(False)
    return frame.select(usable).to_series().to_numpy()


def validate_triplets(row: RawRow, columns: ColumnNames) -> Iterator[tuple[str, "tuple[Any, ...] | RowError"]]:
    """For each response of a row its place and (prompt, response, reward[, desirable]), or the fault."""
    if row.fault:
        yield row.where, unreadable(row.fault)
        return
    names = () if columns.response in row.values else NESTED
    name = next((name for name in names if row.values.get(name) is not None), None)
    if name is None:
        yield row.where, _triplet(row.values, columns, row.typed)
        return
    nested = row.values[name]
    if not isinstance(nested, list) or not nested:
        yield row.where, RowError(f"{name!r} is not a list of responses", f": {_shown(nested)}")
        return
    for number, item in enumerate(nested, start=1):
        where = f"{row.where}, response {number}"
        if not isinstance(item, Mapping):
            yield where, RowError("response is not an object with text and reward", f": {_shown(item)}")
            continue
        text = next((name for name in (columns.response, *TEXT_NAMES) if name in item), TEXT_NAMES[0])
        values = {columns.prompt: row.values.get(columns.prompt)} | dict(item)
        inner = replace(columns, response=text)
        yield where, _triplet(values, inner, row.typed)


def _triplet(values: Mapping[str, Any], columns: ColumnNames, typed: bool) -> "tuple[Any, ...] | RowError":
    names = (columns.prompt, columns.response, columns.reward, columns.desirable)
    try:
        for name in filter(None, names):
            check_there(values, name)
            if not typed and name == columns.reward and values[name] == "":
                raise RowError(f"{name} is null")
        prompt = prompt_of(values, columns.prompt)
        response = text_of(values, columns.response)
        desirable = None if columns.desirable is None else _truth(values[columns.desirable], columns.desirable)
        if columns.reward is None:
            return prompt, response, 1.0 if desirable else -1.0, desirable
        reward = _reward(values[columns.reward], columns, typed)
        return (prompt, response, reward) if desirable is None else (prompt, response, reward, desirable)
    except RowError as fault:
        return fault


def unreadable(fault: str) -> RowError:
    """The fault of a row that could not be read."""
    reason = fault.split(":")[0]
    return RowError(reason, fault[len(reason) :])


def check_there(values: Mapping[str, Any], name: str) -> None:
    """Raise `RowError` unless column `name` has a value."""
    if name not in values:
        raise RowError(f"no column {name!r}", f" (there are: {', '.join(values)}{_nearest(name, values)})")
    if values[name] is None:
        raise RowError(f"{name} is null")


def prompt_of(values: Mapping[str, Any], name: str) -> Any:
    """The prompt in column `name`, as text or messages; raises `RowError`."""
    prompt = _prompt(values[name], name)
    _check_characters(prompt_text(prompt), name)
    return prompt


def text_of(values: Mapping[str, Any], name: str) -> str:
    """The text in column `name`, or in its one assistant message; raises `RowError` if there is no text."""
    text = values[name]
    if isinstance(text, list):
        text = answer_in(text, name)
    if not isinstance(text, str):
        raise RowError(f"{name} is not text", f": {_shown(text)}")
    if not text.strip():
        raise RowError(f"{name} is empty")
    _check_characters(text, name)
    return text


def answer_in(messages: list[Any], name: str) -> Any:
    """Content of the only message, which is the assistant's; raises `RowError`."""
    if len(messages) == 1 and isinstance(messages[0], Mapping) and messages[0].get("role") == "assistant":
        return messages[0].get("content")
    raise RowError(f"{name} is a list, but not of one message of the assistant", f": {_shown(messages)}")


def _check_characters(text: str, name: str) -> None:
    if not_unicode(text):
        raise RowError(f"{name} holds half a surrogate pair, which is no character")


def _truth(value: Any, name: str) -> bool:
    thumb = thumb_of(value)
    if thumb is not None:
        return thumb > 0
    raise RowError(f"{name} is not true or false", f": {_shown(value)}")


def _nearest(name: str, values: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(values), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _prompt(value: Any, name: str) -> Any:
    if isinstance(value, str):
        if not value.strip():
            raise RowError(f"{name} is empty")
        return value
    if not isinstance(value, list):
        raise RowError(f"{name} is neither text nor a list of messages", f": {_shown(value)}")
    if not value:
        raise RowError(f"{name} is empty")
    messages = []
    for message in value:
        if not isinstance(message, Mapping) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise RowError(f"{name} has a message without text role and content", f": {_shown(message)}")
        messages.append({"role": message["role"], "content": message["content"]})
    if not any(message["content"].strip() for message in messages):
        raise RowError(f"{name} is empty")
    return messages


def _reward(value: Any, columns: ColumnNames, typed: bool) -> float:
    thumb = thumb_of(value) if columns.thumbs else None
    if thumb is not None:
        return thumb
    if columns.categories and isinstance(value, str) and (rating := rating_of(value, columns.categories)) is not None:
        return rating.value
    hint = "" if columns.thumbs else " (thumbs=True, --thumbs, takes true/false and up/down)"
    if isinstance(value, bool):
        raise RowError(f"{columns.reward} {NOT_A_NUMBER}", f": {value}{hint}")
    if not typed:
        try:
            value = float(value)
        except ValueError:
            raise RowError(f"{columns.reward} {NOT_A_NUMBER}", f": {_shown(value)}{hint}") from None
    if not isinstance(value, (int, float)):
        raise RowError(f"{columns.reward} {NOT_A_NUMBER}", f": {_shown(value)}{hint if isinstance(value, str) else ''}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RowError(f"{columns.reward} is not finite", f": {number}")
    return number


def normalize(text: str, *, ignore_case: bool = False) -> str:
    """A prompt's text for comparison: stripped, each run of white space as one space; optionally with case folded.

    Texts that differ only in a final newline, line breaks or indentation are the same prompt. Only the keys are
    normalised: training and evaluation use the original text.
    """
    text = " ".join(text.split())
    return text.casefold() if ignore_case else text


def normalize_column(texts: pl.Series, *, ignore_case: bool = False) -> pl.Series:
    """`normalize` of every text. A vectorised pass finds the few texts that it would change."""
    odd = texts.str.contains(ODD_SPACE)
    if ignore_case:
        odd |= texts.str.contains(NOT_LOWER)
    places = odd.arg_true()
    if not len(places):
        return texts
    changed = [normalize(text, ignore_case=ignore_case) for text in texts.gather(places).to_list()]
    return texts.clone().scatter(places, pl.Series(changed, dtype=pl.String))


def prompt_text(prompt: Any) -> str:
    """The exact prompt as one text; a string and a single user message with that string are the same."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return prompt[0]["content"]
    return json.dumps([[message["role"], message["content"]] for message in prompt], ensure_ascii=False)


def prompt_key(prompt: Any, *, ignore_case: bool = False) -> str:
    """Two prompts are the same if their keys are: `prompt_text` after `normalize` of the prompt or of each message."""
    if isinstance(prompt, str):
        return normalize(prompt, ignore_case=ignore_case)
    contents = (normalize(message["content"], ignore_case=ignore_case) for message in prompt)
    pairs = zip(prompt, contents, strict=True)
    return prompt_text([{"role": message["role"], "content": content} for message, content in pairs])


def distinct_prompts(prompts: Iterable[Any]) -> list[Any]:
    """The prompts without those that have the `prompt_key` of an earlier one."""
    prompts = list(prompts)
    first = {prompt_key(prompt): prompt for prompt in reversed(prompts)}
    return list(reversed(first.values()))
