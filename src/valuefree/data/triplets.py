"""Triplets of (prompt, response, reward): read, validate, group by prompt, split by prompt."""

import json
import logging
import random
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Literal

import datasets
import numpy as np
import pyarrow as pa

from valuefree.data.columns import batches, factorize, to_numpy, with_column
from valuefree.data.exports.feedback import NAMES, export_in
from valuefree.data.messages import TrainOn
from valuefree.data.prompts import decoded
from valuefree.data.reading import read_validated
from valuefree.data.reward_values import no_thumbs, read_categories
from valuefree.data.sources import rows_of
from valuefree.data.storage import RowStore
from valuefree.data.summary import DataSummary
from valuefree.data.validation import NESTED, ColumnNames, validate_triplets
from valuefree.errors import ConfigError

logger = logging.getLogger(__name__)


def read_triplets(
    source: Any,
    *,
    prompt: str = "prompt",
    response: str = "response",
    reward: str = "reward",
    split: str | None = None,
    on_bad: Literal["raise", "drop"] = "raise",
    thumbs: bool = False,
    desirable: str | None = None,
    ignore_case: bool = False,
    train_on: TrainOn = "last",
    json_prompts: Literal["parse", "text"] = "parse",
    from_: str = "auto",
    score_name: str | None = None,
    categories: Iterable[str] = (),
) -> datasets.Dataset:
    """Rows of (prompt, response, reward), validated.

    Args:
        source: a JSONL, JSON, CSV or Parquet file, a folder of these, a folder written by `save_to_disk`, a hub name,
            a `datasets.Dataset`, a list of rows, or an export that `valuefree.read_feedback` recognises. One row per
            response, or nested rows ``{"prompt": …, "responses": [{"text": …, "reward": …}, …]}`` (also ``answers`` or
            ``completions``).
        prompt, response, reward: names of the columns. A prompt is a string or a list of chat messages, a response a
            string or a list of messages that ends with the assistant's. In nested rows `reward` names the key of each
            response. A message has ``role`` and ``content`` (text, null beside tool calls, or parts of type text), and
            every other field of it reaches the chat template, ``tool_calls`` among them. Columns ``tools`` and
            ``chat_template_kwargs``, if there are any, are part of the prompt.
        split: of a hub data set or a `DatasetDict`; default ``train``.
        on_bad: ``raise`` one error that lists the faults, or ``drop`` the rows, counted in a log line.
        thumbs: also take true/false, up/down and other spellings of thumbs as rewards +1/−1, and stars (``4 stars``) as
            their number; where the rewards are 1 and 0 alone, these become +1 and −1.
        desirable: name of a column of true/false, which KTO reads in place of a threshold on the rewards. If the first
            row has no column ``reward``, the rewards are +1 and −1 according to this column.
        ignore_case: prompts that differ only in upper and lower case are also the same.
        train_on: of a response that is a list of messages, ``last``: the last message is the response, and those
            before it belong to the prompt; ``all``: the response starts at the first message of the assistant, and all
            of the assistant's messages in it are trained.
        json_prompts: ``parse`` a prompt that is JSON text of chat messages, or keep it as ``text``.
        from_, score_name: of an export, as of `valuefree.read_feedback`. categories: label → reward, as texts such as
            ``good=1,bad=-1``.

    Returns:
        Columns prompt (str; messages if any prompt is a list of messages; the parts of
        `valuefree.data.prompts.encoded` if any needs more), response (str), reward (float64), response_messages (str,
        JSON; only if the text of a response does not hold all of it),
        prompt_id (int64, 0 … P−1 by first appearance), and desirable (bool) if requested. Prompts are the same if
        `valuefree.data.validation.normalize` makes them equal: white space at the ends and the amount of white space
        between words are ignored. Each row keeps its own prompt text. More than 128 MB of rows are written to a
        temporary file under ``$VALUEFREE_CACHE`` (or ~/.cache/valuefree), which is mapped into memory and removed when
        the process ends. Prompts are compared by 128 bits of hash: among n distinct prompts any two collide with a
        probability of about n²/2¹²⁹, 10⁻²⁵ for ten million.

    Raises:
        DataError: faults, each with file, line and reason (the first 20 and the count), or no usable row.
        ConfigError: contradictory arguments.
    """
    knobs: dict[str, Any] = {"split": split, "on_bad": on_bad, "thumbs": thumbs, "desirable": desirable}
    knobs |= {"ignore_case": ignore_case, "train_on": train_on, "json_prompts": json_prompts}
    knobs |= {"from_": from_, "score_name": score_name, "categories": categories}
    return read_with_summary(source, prompt=prompt, response=response, reward=reward, **knobs)[0]


def read_with_summary(
    source: Any,
    *,
    prompt: str = "prompt",
    response: str = "response",
    reward: str = "reward",
    split: str | None = None,
    on_bad: Literal["raise", "drop"] = "raise",
    thumbs: bool = False,
    desirable: str | None = None,
    ignore_case: bool = False,
    train_on: TrainOn = "last",
    json_prompts: Literal["parse", "text"] = "parse",
    from_: str = "auto",
    score_name: str | None = None,
    categories: Iterable[str] = (),
) -> tuple[datasets.Dataset, DataSummary]:
    """`read_triplets`, with the counts of rows read, dropped and merged."""
    names = (prompt, response, reward)
    if len({*names, desirable}) < 4:
        columns = ", ".join(repr(name) for name in (*names, desirable) if name is not None)
        raise ConfigError(f"prompt, response, reward and desirable need different columns; got {columns}.")
    chosen: dict[str, Any] = {"score_name": score_name, "categories": categories, "thumbs": thumbs}
    export = export_in(source, from_=from_, split=split, names=names, desirable=desirable, **chosen)
    if export is not None:
        if export.pairs:
            raise ConfigError(
                f"{source} holds pairs ({export.account.tool}), which have no rewards. In Python read_pairs reads "
                "them; on the command line train with --objective dpo, ipo, slic or reward-model."
            )
        source, split, names, thumbs = export.rows, None, NAMES, False
    elif score_name is not None:
        raise ConfigError(f"nothing reads score_name: {source} is no export with several scores. Leave it out.")
    prompt, response, reward = names
    stands_in = desirable is not None and reward == "reward" and _first_lacks(source, split, reward)
    stand_in = None if stands_in else reward
    chosen_rewards = (stand_in, thumbs, desirable, read_categories(categories))
    columns = ColumnNames(prompt, response, *chosen_rewards, train_on=train_on, json_prompts=json_prompts)
    validate_row = partial(validate_triplets, columns=columns)
    common: dict[str, Any] = {"prompt": prompt, "on_bad": on_bad, "ignore_case": ignore_case}
    if desirable is not None:
        rows, summary = read_validated(source, split, validate_row, extra=pa.field("desirable", pa.bool_()), **common)
    else:
        rows, summary = read_validated(source, split, validate_row, names=names, **common)
    return (_with_signs(rows) if thumbs else rows), summary


def _with_signs(rows: datasets.Dataset) -> datasets.Dataset:
    """The rows with rewards −1 and +1 where they are 0 and 1 alone; other numbers stay, and this is said."""
    rewards_R = to_numpy(rows["reward"], np.float64)
    found = set(np.unique(rewards_R))
    if not found <= {-1.0, 0.0, 1.0}:
        logger.info("%s", no_thumbs(found))
    if found != {0.0, 1.0}:
        return rows
    logger.info("the rewards are 0 and 1 only: with thumbs they are -1 and +1")
    return with_column(rows, "reward", 2 * rewards_R - 1).select_columns(rows.column_names)


def _first_lacks(source: Any, split: str | None, name: str) -> bool:
    """Whether the first row is readable and has neither the key nor nested responses that may have it."""
    first = next(rows_of(source, split), None)
    return first is not None and not first.fault and not {name, *NESTED} & first.values.keys()


def split_by_prompt(
    dataset: datasets.Dataset, *, test_prompts: int, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """(train, test) with `test_prompts` prompts in test and no prompt on both sides; each has prompt_id from 0.

    Prompts that differ only in white space are the same prompt, and so on the same side.

    Raises:
        ConfigError: fewer than one prompt would be left on either side.
    """
    ids_R = to_numpy(dataset["prompt_id"], np.int64)
    prompts = np.unique(ids_R)
    if not 0 < test_prompts < len(prompts):
        raise ConfigError(
            f"{test_prompts} of {len(prompts)} prompts cannot be held out: at least 1 must be held out, and at least 1 "
            "remain. Choose fewer (--test-prompts, --validation-prompts), or give more prompts."
        )
    held_out = prompts[random.Random(seed).sample(range(len(prompts)), test_prompts)]
    in_test_R = np.isin(ids_R, held_out)
    return selected(dataset, ids_R, ~in_test_R), selected(dataset, ids_R, in_test_R)


def prompts_of(dataset: datasets.Dataset) -> list[Any]:
    """The first prompt of each prompt_id, in order of appearance."""
    first = np.unique(to_numpy(dataset["prompt_id"], np.int64), return_index=True)[1]
    return [decoded(prompt) for prompt in dataset.select(np.sort(first))["prompt"][:]]


def written_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as `read_triplets` reads it: prompt and response in the form in which they are given.

    Responses that are lists of messages are read again as they were with ``train_on="all"``.
    """
    others = {name: value for name, value in row.items() if name != "response_messages"}
    messages = row.get("response_messages")
    response = row["response"] if messages is None else json.loads(messages)
    return {**others, "prompt": decoded(row["prompt"]), "response": response}


def renumbered(dataset: datasets.Dataset) -> datasets.Dataset:
    """The same rows with prompt_id from 0 to P − 1 by first appearance."""
    ids_R = to_numpy(dataset["prompt_id"], np.int64)
    return selected(dataset, ids_R, np.ones(len(ids_R), dtype=bool))


def selected(dataset: datasets.Dataset, ids_R: np.ndarray, chosen_R: np.ndarray) -> datasets.Dataset:
    """The chosen rows, copied batch by batch, with prompt_id from 0 by first appearance."""
    store = RowStore()
    start = 0
    for table in batches(dataset.remove_columns("prompt_id")):
        kept = table.filter(pa.array(chosen_R[start : start + len(table)]))
        for batch in kept.to_batches():
            store.write(batch)
        start += len(table)
    return with_column(store.dataset(), "prompt_id", factorize(ids_R[chosen_R]))
