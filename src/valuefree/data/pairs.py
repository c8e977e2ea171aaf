"""Pairs of a chosen and a rejected response, as the triplets that all objectives read."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import datasets
import pyarrow as pa

from valuefree.data.messages import TrainOn
from valuefree.data.prompts import conversation_of
from valuefree.data.reading import read_validated
from valuefree.data.sources import RawRow
from valuefree.data.summary import DataSummary
from valuefree.data.validation import RowError, check_there, prompt_of, prompt_text, turns_of, unreadable
from valuefree.errors import ConfigError


def read_pairs(
    source: Any,
    *,
    prompt: str = "prompt",
    chosen: str = "chosen",
    rejected: str = "rejected",
    split: str | None = None,
    on_bad: Literal["raise", "drop"] = "raise",
    ignore_case: bool = False,
    train_on: TrainOn = "last",
    json_prompts: Literal["parse", "text"] = "parse",
) -> datasets.Dataset:
    """Rows of (prompt, chosen, rejected), validated, as two triplets each.

    Args:
        source, split, on_bad, ignore_case, train_on, json_prompts: as of `valuefree.data.read_triplets`.
        prompt, chosen, rejected: names of the columns. A prompt is a string or a list of messages. The others are text
            or lists of messages that end with the assistant's; the messages before it are then the prompt, and a column
            for it is optional.

    Returns:
        For each pair the chosen row with reward 1, then the rejected one with reward 0: columns prompt, response,
        reward, prompt_id as of `read_triplets`, and pair_id (int64, 0 … N−1), which the pairwise objectives read.

    Raises:
        DataError: faults, each with file, line and reason (also two equal texts), or no usable row.
        ConfigError: contradictory arguments.
    """
    names = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    knobs: dict[str, Any] = {"train_on": train_on, "json_prompts": json_prompts}
    return read_pairs_with_summary(source, split=split, on_bad=on_bad, ignore_case=ignore_case, **names, **knobs)[0]


def read_pairs_with_summary(
    source: Any,
    *,
    prompt: str = "prompt",
    chosen: str = "chosen",
    rejected: str = "rejected",
    split: str | None = None,
    on_bad: Literal["raise", "drop"] = "raise",
    ignore_case: bool = False,
    train_on: TrainOn = "last",
    json_prompts: Literal["parse", "text"] = "parse",
) -> tuple[datasets.Dataset, DataSummary]:
    """`read_pairs`, with the counts of rows read, dropped and merged."""
    if len({prompt, chosen, rejected}) < 3:
        raise ConfigError(f"prompt, chosen and rejected need three columns; got {prompt!r}, {chosen!r}, {rejected!r}.")
    numbers = itertools.count()

    def validate_row(row: RawRow) -> Iterator[tuple[str, tuple[Any, ...] | RowError]]:
        pair = _pair(row, (prompt, chosen, rejected), {"train_on": train_on, "json_prompts": json_prompts})
        if isinstance(pair, RowError):
            yield row.where, pair
            return
        number = next(numbers)
        for (question, text, messages), reward in zip(pair, (1.0, 0.0), strict=True):
            yield row.where, (question, text, reward, number, messages)

    extra = pa.field("pair_id", pa.int64())
    return read_validated(
        source, split, validate_row, on_bad=on_bad, prompt=prompt, extra=extra, ignore_case=ignore_case
    )


Turns = tuple[Any, str, str | None]  # as `turns_of` returns


def _pair(row: RawRow, names: tuple[str, str, str], knobs: Mapping[str, Any]) -> tuple[Turns, Turns] | RowError:
    """Prompt and response of the chosen and of the rejected, or the fault of the row."""
    if row.fault:
        return unreadable(row.fault)
    prompt, chosen, rejected = names
    try:
        values = _split_conversations(row.values, prompt, chosen, rejected)
        for name in names:
            check_there(values, name)
        better, worse = (turns_of(values, prompt, name, **knobs) for name in (chosen, rejected))
        if prompt_text(better[0]) != prompt_text(worse[0]):
            raise RowError(f"{chosen} and {rejected} differ before their last message")
        if better[1:] == worse[1:]:
            raise RowError(f"{chosen} and {rejected} are the same text")
        return better, worse
    except RowError as fault:
        return fault


def _split_conversations(values: Mapping[str, Any], prompt: str, chosen: str, rejected: str) -> Mapping[str, Any]:
    """The values, with whole conversations split into the messages that both share, which are the prompt, and the rest.

    A response begins at the latest with its last message, and at the first message of the assistant that differs.
    """
    better, worse = values.get(chosen), values.get(rejected)
    if not isinstance(better, list) or not isinstance(worse, list) or max(len(better), len(worse)) < 2:
        return values
    most = min(len(better), len(worse)) - 1
    same = next((index for index in range(most) if better[index] != worse[index]), most)
    own = None if values.get(prompt) is None else prompt_of(values, prompt)
    if same == 0:
        if own is None:
            raise RowError(f"{chosen} and {rejected} differ before their last message")
        return values
    turns = prompt_of({chosen: better[:same]}, chosen)
    messages = conversation_of(turns).messages
    if own is not None and prompt_text(own) not in (prompt_text(turns), messages[-1]["content"]):
        if messages[0]["role"] == "assistant":  # the prompt has a column of its own, and both continue alike
            return values
        raise RowError(f"{prompt} is not what {chosen} and {rejected} begin with")
    return {**values, prompt: turns, chosen: better[same:], rejected: worse[same:]}
