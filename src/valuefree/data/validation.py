"""Validation of rows: one row at a time, with the precise fault, or whole Arrow columns at once."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from valuefree.data.faults import RowError, check_characters, check_there, shown, unreadable
from valuefree.data.messages import TrainOn, conversation, messages_in, messages_of, response_texts, split_turns
from valuefree.data.prompts import Conversation, Prompt, conversation_of
from valuefree.data.reward_values import number_in, spelled_reward, thumb_of
from valuefree.data.sources import RawRow

NESTED = ("responses", "answers", "completions")
TEXT_NAMES = ("text", "response", "content")
NOT_A_NUMBER = "is not a number"
SOMETHING = r"[^\s\x1c-\x1f]"  # a character that str.strip() keeps; Rust's \s lacks the four separators
ODD_SPACE = r"^ | $|  |[^\S ]|[\x1c-\x1f]"  # white space other than single spaces between words
NOT_LOWER = r"[^ -@\[-~]"  # a character that case folding may change


@dataclass(frozen=True)
class ColumnNames:
    """Names of the columns, and whether thumbs are rewards.

    desirable: None if no such column is read. reward: None if desirable stands in for it, as +1 and −1. categories:
    label → reward. train_on, json_prompts: as of `valuefree.data.read_triplets`.
    """

    prompt: str
    response: str
    reward: str | None
    thumbs: bool
    desirable: str | None = None
    categories: Mapping[str, float] = field(default_factory=dict)
    train_on: TrainOn = "last"
    json_prompts: Literal["parse", "text"] = "parse"


def are_responses(value: Any) -> bool:
    """Whether a cell holds a list of responses, which are objects that are not chat messages."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) and "role" not in v for v in value)


def one_per_response(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of a nested row, with those of each of its responses in their place; other rows as they are."""
    name = next((name for name in NESTED if are_responses(values.get(name))), None)
    rest = {key: value for key, value in values.items() if key != name}
    return [dict(values)] if name is None else [{**rest, **item} for item in values[name]]


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
    own = row.values.get(columns.response)
    names = NESTED if columns.response not in row.values else (columns.response,) if are_responses(own) else ()
    name = next((name for name in names if row.values.get(name) is not None), None)
    if name is None and columns.response not in row.values:  # a list of another name, whose objects have the field
        lists = (key for key, value in row.values.items() if are_responses(value))
        name = next((key for key in lists if columns.response in row.values[key][0]), None)
    if name is None:
        yield row.where, _triplet(row.values, columns, row.typed)
        return
    nested = row.values[name]
    if not isinstance(nested, list) or not nested:
        yield row.where, RowError(f"{name!r} is not a list of responses", f": {shown(nested)}")
        return
    for number, item in enumerate(nested, start=1):
        where = f"{row.where}, response {number}"
        if not isinstance(item, Mapping):
            yield where, RowError("response is not an object with text and reward", f": {shown(item)}")
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
        prompt, response, messages = turns_of(
            values, columns.prompt, columns.response, train_on=columns.train_on, json_prompts=columns.json_prompts
        )
        desirable = None if columns.desirable is None else _truth(values[columns.desirable], columns.desirable)
        if columns.reward is None:
            return prompt, response, 1.0 if desirable else -1.0, desirable, messages
        reward = _reward(values[columns.reward], columns, typed)
        return (prompt, response, reward, *(() if desirable is None else (desirable,)), messages)
    except RowError as fault:
        return fault


def prompt_of(values: Mapping[str, Any], name: str, *, json_prompts: Literal["parse", "text"] = "parse") -> Prompt:
    """The prompt in column `name`, with ``tools`` and ``chat_template_kwargs`` of the row; raises `RowError`."""
    value = values[name]
    if isinstance(value, str):
        if not value.strip():
            raise RowError(f"{name} is empty")
        found = messages_in(value) if json_prompts == "parse" else None
        value = value if found is None else found
    tools, options = values.get("tools"), values.get("chat_template_kwargs")
    if isinstance(value, str) and (tools or options):
        value = [{"role": "user", "content": value}]
    prompt = value if isinstance(value, str) else conversation(value, name, tools, options).prompt()
    check_characters(prompt_text(prompt), name)
    return prompt


def turns_of(
    values: Mapping[str, Any],
    prompt: str,
    response: str,
    *,
    train_on: TrainOn = "last",
    json_prompts: Literal["parse", "text"] = "parse",
) -> tuple[Prompt, str, str | None]:
    """Prompt, response as text, and the response's messages as JSON text if the text does not hold all of them.

    Raises:
        RowError: a fault of the row.
    """
    question = prompt_of(values, prompt, json_prompts=json_prompts)
    answer = values[response]
    if isinstance(answer, str) and isinstance(values[prompt], str) and not isinstance(question, str):
        found = messages_in(answer)
        answer = found if isinstance(found, list) else answer
    answer = [answer] if isinstance(answer, Mapping) else answer
    if not isinstance(answer, list):
        return question, text_of(values, response), None
    before, own = split_turns(messages_of(answer, response), response, train_on)
    if before:
        start = conversation_of(question)
        question = Conversation([*start.messages, *before], start.tools, start.template_options).prompt()
    text, messages = response_texts(own, response)
    if not text.strip():
        raise RowError(f"{response} is empty")
    check_characters(text, response)
    return question, text, messages


def text_of(values: Mapping[str, Any], name: str) -> str:
    """The text in column `name`, or in its one message of the assistant; raises `RowError` if there is none."""
    text = values[name]
    if isinstance(text, list):
        only = messages_of(text, name)[0]
        if len(text) > 1 or only["role"] != "assistant":
            raise RowError(f"{name} is a list, but not of one message of the assistant", f": {shown(text)}")
        text = only["content"]
    if not isinstance(text, str):
        raise RowError(f"{name} is not text", f": {shown(text)}")
    if not text.strip():
        raise RowError(f"{name} is empty")
    check_characters(text, name)
    return text


def _truth(value: Any, name: str) -> bool:
    thumb = thumb_of(value)
    if thumb is not None:
        return thumb > 0
    raise RowError(f"{name} is not true or false", f": {shown(value)}")


def _reward(value: Any, columns: ColumnNames, typed: bool) -> float:
    spelled = spelled_reward(value, thumbs=columns.thumbs, categories=columns.categories)
    if spelled is not None:
        return spelled
    hint = "" if columns.thumbs else " (thumbs=True, --thumbs, takes true/false and up/down)"
    if isinstance(value, bool):
        raise RowError(f"{columns.reward} {NOT_A_NUMBER}", f": {value}{hint}")
    if not typed:
        number = number_in(value)
        if number is None:
            raise RowError(f"{columns.reward} {NOT_A_NUMBER}", f": {shown(value)}{hint}")
        value = number
    if not isinstance(value, (int, float)):
        raise RowError(f"{columns.reward} {NOT_A_NUMBER}", f": {shown(value)}{hint if isinstance(value, str) else ''}")
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


def prompt_text(prompt: Prompt) -> str:
    """The exact prompt as one text; a string and a single user message with that string are the same."""
    return _identity(conversation_of(prompt))


def prompt_key(prompt: Prompt, *, ignore_case: bool = False) -> str:
    """Two prompts are the same if their keys are: `prompt_text` after `normalize` of the prompt or of each message."""
    if isinstance(prompt, str):
        return normalize(prompt, ignore_case=ignore_case)
    found = conversation_of(prompt)
    messages = [
        message
        if message["content"] is None
        else {**message, "content": normalize(message["content"], ignore_case=ignore_case)}
        for message in found.messages
    ]
    return _identity(Conversation(messages, found.tools, found.template_options))


def _identity(found: Conversation) -> str:
    """Equal for equal conversations. The order of fields and of the keys of tools has no meaning."""
    first = found.messages[0]
    if found.plain and len(found.messages) == 1 and first["role"] == "user":
        return first["content"]
    if found.plain:
        return json.dumps([[message["role"], message["content"]] for message in found.messages], ensure_ascii=False)
    parts = [found.messages, found.tools, found.template_options]
    return json.dumps(parts, ensure_ascii=False, sort_keys=True)


def distinct_prompts(prompts: Iterable[Any]) -> list[Any]:
    """The prompts without those that have the `prompt_key` of an earlier one."""
    prompts = list(prompts)
    first = {prompt_key(prompt): prompt for prompt in reversed(prompts)}
    return list(reversed(first.values()))
