"""Pairs of a chosen and a rejected response, as the triplets that all objectives read."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import datasets
import pyarrow as pa

from valuefree.data.reading import read_validated
from valuefree.data.sources import RawRow
from valuefree.data.summary import DataSummary
from valuefree.data.validation import RowError, check_there, prompt_of, prompt_text, text_of, unreadable
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
) -> datasets.Dataset:
    """Rows of (prompt, chosen, rejected), validated, as two triplets each.

    Args:
        source, split, on_bad, ignore_case: as of `valuefree.data.read_triplets`.
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
    return read_pairs_with_summary(source, split=split, on_bad=on_bad, ignore_case=ignore_case, **names)[0]


def read_pairs_with_summary(
    source: Any,
    *,
    prompt: str = "prompt",
    chosen: str = "chosen",
    rejected: str = "rejected",
    split: str | None = None,
    on_bad: Literal["raise", "drop"] = "raise",
    ignore_case: bool = False,
) -> tuple[datasets.Dataset, DataSummary]:
    """`read_pairs`, with the counts of rows read, dropped and merged."""
    if len({prompt, chosen, rejected}) < 3:
        raise ConfigError(f"prompt, chosen and rejected need three columns; got {prompt!r}, {chosen!r}, {rejected!r}.")
    numbers = itertools.count()

    def validate_row(row: RawRow) -> Iterator[tuple[str, tuple[Any, ...] | RowError]]:
        pair = _pair(row, prompt, chosen, rejected)
        if isinstance(pair, RowError):
            yield row.where, pair
            return
        number = next(numbers)
        for text, reward in zip(pair[1:], (1.0, 0.0), strict=True):
            yield row.where, (pair[0], text, reward, number)

    extra = pa.field("pair_id", pa.int64())
    return read_validated(source, split, validate_row, on_bad=on_bad, extra=extra, ignore_case=ignore_case)


def _pair(row: RawRow, prompt: str, chosen: str, rejected: str) -> tuple[Any, str, str] | RowError:
    """Prompt, chosen and rejected text of a row, or its fault."""
    if row.fault:
        return unreadable(row.fault)
    try:
        values = _split_conversations(row.values, prompt, chosen, rejected)
        for name in (prompt, chosen, rejected):
            check_there(values, name)
        better, worse = text_of(values, chosen), text_of(values, rejected)
        if better == worse:
            raise RowError(f"{chosen} and {rejected} are the same text")
        return prompt_of(values, prompt), better, worse
    except RowError as fault:
        return fault


def _split_conversations(values: Mapping[str, Any], prompt: str, chosen: str, rejected: str) -> Mapping[str, Any]:
    """The values, with whole conversations split into the prompt and one message each."""
    better, worse = values.get(chosen), values.get(rejected)
    if not isinstance(better, list) or not isinstance(worse, list) or max(len(better), len(worse)) < 2:
        return values
    if better[:-1] != worse[:-1]:
        raise RowError(f"{chosen} and {rejected} differ before their last message")
    turns = prompt_of({chosen: better[:-1]}, chosen)
    if values.get(prompt) is not None:
        own_prompt = prompt_text(prompt_of(values, prompt))
        if own_prompt not in (prompt_text(turns), turns[-1]["content"]):
            raise RowError(f"{prompt} is not what {chosen} and {rejected} begin with")
    return {**values, prompt: turns, chosen: better[-1:], rejected: worse[-1:]}
