"""① Triplets: read, validate, group by prompt, split by prompt."""

import difflib
import json
import logging
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import datasets

from valuefree.data.sources import Row, rows_of
from valuefree.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

THUMBS = {
    "up": 1.0,
    "true": 1.0,
    "thumbs_up": 1.0,
    "👍": 1.0,
    "down": -1.0,
    "false": -1.0,
    "thumbs_down": -1.0,
    "👎": -1.0,
}
NESTED = "responses"
TEXT_NAMES = ("text", "response")
ADVICE = "Mend these rows, or pass on_bad='drop' (--on-bad drop) to leave them out and count them."


@dataclass(frozen=True)
class DataSummary:
    """What was read: rows kept and prompts; rows dropped by reason; and what is odd but usable.

    duplicates: rows whose (prompt, response) stood before. singletons: prompts with one response. all_equal: prompts
    with several responses, all rewarded alike.
    """

    rows: int
    prompts: int
    duplicates: int
    singletons: int
    all_equal: int
    dropped: dict[str, int]

    def __str__(self) -> str:
        text = (
            f"{self.rows} responses to {self.prompts} prompts; {self.duplicates} duplicate rows, {self.singletons} "
            f"prompts with one response, {self.all_equal} with equal rewards"
        )
        if self.dropped:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in self.dropped.items())
            text += f"; dropped {sum(self.dropped.values())} rows ({reasons})"
        return text

    def to_dict(self) -> dict[str, Any]:
        """All counts."""
        return asdict(self)


@dataclass(frozen=True)
class _Columns:
    prompt: str
    response: str
    reward: str
    thumbs: bool


class _Bad(Exception):
    """A fault of one row: `reason` is short and the same for like faults, `detail` says what was there."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}{detail}")
        self.reason = reason


def read_triplets(
    source: Any,
    *,
    prompt: str = "prompt",
    response: str = "response",
    reward: str = "reward",
    split: str | None = None,
    on_bad: Literal["raise", "drop"] = "raise",
    thumbs: bool = False,
) -> datasets.Dataset:
    """Rows of (prompt, response, reward), validated.

    Args:
        source: a JSONL, JSON, CSV or Parquet file, a folder of these, a folder written by `save_to_disk`, a hub name,
            or a `datasets.Dataset`. One row per response, or nested rows
            ``{"prompt": …, "responses": [{"text": …, "reward": …}, …]}``.
        prompt, response, reward: names of the columns. A prompt is a string or a list of
            ``{"role": …, "content": …}`` messages. In nested rows `reward` names the key of each response.
        split: of a hub data set or a `DatasetDict`; default ``train``.
        on_bad: ``raise`` one error that lists the faults, or ``drop`` the rows, counted in a log line.
        thumbs: also take true/false, up/down and thumbs_up/thumbs_down as rewards +1/−1.

    Returns:
        Columns prompt (str, or messages if any prompt is a list of messages), response (str), reward (float64) and
        prompt_id (int64, 0 … P−1 by first appearance).

    Raises:
        DataError: faults, each with file, line and reason (the first 20 and the count), or no usable row.
        ConfigError: contradictory arguments.
    """
    return read_with_summary(
        source, prompt=prompt, response=response, reward=reward, split=split, on_bad=on_bad, thumbs=thumbs
    )[0]


def read_with_summary(
    source: Any,
    *,
    prompt: str = "prompt",
    response: str = "response",
    reward: str = "reward",
    split: str | None = None,
    on_bad: Literal["raise", "drop"] = "raise",
    thumbs: bool = False,
) -> tuple[datasets.Dataset, DataSummary]:
    """As `read_triplets`, with the counts of what was read, dropped and odd."""
    if on_bad not in ("raise", "drop"):
        raise ConfigError(f"on_bad is {on_bad!r}; expected 'raise' or 'drop'.")
    if len({prompt, response, reward}) < 3:
        raise ConfigError(f"prompt, response and reward need three columns; got {prompt!r}, {response!r}, {reward!r}.")
    columns = _Columns(prompt, response, reward, thumbs)
    good: list[tuple[Any, str, float]] = []
    faults: list[str] = []
    dropped: Counter[str] = Counter()
    total = 0
    for row in rows_of(source, split):
        for where, item in _triplets(row, columns):
            total += 1
            if isinstance(item, _Bad):
                faults.append(f"{where}: {item}")
                dropped[item.reason] += 1
            else:
                good.append(item)
    if faults and on_bad == "raise":
        raise DataError.from_faults(f"{len(faults)} faults in {total} rows:", faults, ADVICE)
    if not good:
        raise DataError.from_faults(f"no usable row in {source} ({total} rows read):", faults, "Nothing to train on.")
    dataset = _dataset(good)
    summary = summarize(dataset, dict(dropped))
    (logger.warning if dropped else logger.info)("%s", summary)
    return dataset, summary


# ------------------------------------------------------------------------------------------------------- validation


def _triplets(row: Row, columns: _Columns) -> Iterator[tuple[str, "tuple[Any, str, float] | _Bad"]]:
    if row.fault:
        yield row.where, _Bad(row.fault.split(":")[0], row.fault[len(row.fault.split(":")[0]) :])
        return
    nested = row.values.get(NESTED) if columns.response not in row.values else None
    if nested is None:
        yield row.where, _checked(row.values, columns, row.typed)
        return
    if not isinstance(nested, list) or not nested:
        yield row.where, _Bad(f"'{NESTED}' is not a list of responses", f": {_shown(nested)}")
        return
    for number, item in enumerate(nested, start=1):
        where = f"{row.where}, response {number}"
        if not isinstance(item, Mapping):
            yield where, _Bad("response is not an object with text and reward", f": {_shown(item)}")
            continue
        text = next((name for name in (columns.response, *TEXT_NAMES) if name in item), TEXT_NAMES[0])
        values = {columns.prompt: row.values.get(columns.prompt)} | dict(item)
        inner = _Columns(columns.prompt, text, columns.reward, columns.thumbs)
        yield where, _checked(values, inner, row.typed)


def _checked(values: Mapping[str, Any], columns: _Columns, typed: bool) -> "tuple[Any, str, float] | _Bad":
    try:
        for name in (columns.prompt, columns.response, columns.reward):
            if name not in values:
                raise _Bad(f"no column {name!r}", f" (there are: {', '.join(values)}{_nearest(name, values)})")
            if values[name] is None or (not typed and name == columns.reward and values[name] == ""):
                raise _Bad(f"{name} is null")
        prompt = _prompt(values[columns.prompt], columns.prompt)
        response = values[columns.response]
        if not isinstance(response, str):
            raise _Bad(f"{columns.response} is not text", f": {_shown(response)}")
        if not response.strip():
            raise _Bad(f"{columns.response} is empty")
        for name, text in ((columns.prompt, prompt_key(prompt)), (columns.response, response)):
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise _Bad(f"{name} holds half a surrogate pair, which is no character")
        return prompt, response, _reward(values[columns.reward], columns, typed)
    except _Bad as fault:
        return fault


def _nearest(name: str, values: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(values), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _prompt(value: Any, name: str) -> Any:
    if isinstance(value, str):
        if not value.strip():
            raise _Bad(f"{name} is empty")
        return value
    if not isinstance(value, list):
        raise _Bad(f"{name} is neither text nor a list of messages", f": {_shown(value)}")
    if not value:
        raise _Bad(f"{name} is empty")
    messages = []
    for message in value:
        if not isinstance(message, Mapping) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise _Bad(f"{name} has a message without text role and content", f": {_shown(message)}")
        messages.append({"role": message["role"], "content": message["content"]})
    if not any(message["content"].strip() for message in messages):
        raise _Bad(f"{name} is empty")
    return messages


def _reward(value: Any, columns: _Columns, typed: bool) -> float:
    if columns.thumbs and isinstance(value, (bool, str)) and str(value).strip().lower() in THUMBS:
        return THUMBS[str(value).strip().lower()]
    hint = "" if columns.thumbs else " (thumbs=True, --thumbs, takes true/false and up/down)"
    if isinstance(value, bool):
        raise _Bad(f"{columns.reward} is not a number", f": {value}{hint}")
    if not typed:
        try:
            value = float(value)
        except ValueError:
            raise _Bad(f"{columns.reward} is not a number", f": {_shown(value)}{hint}") from None
    if not isinstance(value, (int, float)):
        raise _Bad(f"{columns.reward} is not a number", f": {_shown(value)}{hint if isinstance(value, str) else ''}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Bad(f"{columns.reward} is not finite", f": {number}")
    return number


# ---------------------------------------------------------------------------------------------------------- grouping


def prompt_key(prompt: Any) -> str:
    """Text by which two prompts are the same: exact equality, a string and its single user message being one."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return prompt[0]["content"]
    return json.dumps([[message["role"], message["content"]] for message in prompt], ensure_ascii=False)


def _dataset(rows: list[tuple[Any, str, float]]) -> datasets.Dataset:
    prompts, responses, rewards = (list(column) for column in zip(*rows, strict=True))
    if any(isinstance(prompt, list) for prompt in prompts):
        prompts = [[{"role": "user", "content": p}] if isinstance(p, str) else p for p in prompts]
    known: dict[str, int] = {}
    ids = [known.setdefault(prompt_key(prompt), len(known)) for prompt in prompts]
    return datasets.Dataset.from_dict({"prompt": prompts, "response": responses, "reward": rewards, "prompt_id": ids})


def summarize(dataset: datasets.Dataset, dropped: Mapping[str, int] | None = None) -> DataSummary:
    """Counts over a data set that `read_triplets` made."""
    rewards: dict[int, list[float]] = {}
    seen: set[tuple[int, str]] = set()
    columns = (dataset[name] for name in ("prompt_id", "response", "reward"))
    for prompt, response, reward in zip(*columns, strict=True):
        rewards.setdefault(prompt, []).append(reward)
        seen.add((prompt, response))
    return DataSummary(
        rows=len(dataset),
        prompts=len(rewards),
        duplicates=len(dataset) - len(seen),
        singletons=sum(len(group) == 1 for group in rewards.values()),
        all_equal=sum(len(group) > 1 and min(group) == max(group) for group in rewards.values()),
        dropped=dict(dropped or {}),
    )


def split_by_prompt(
    dataset: datasets.Dataset, *, test_prompts: int, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """(train, test) with `test_prompts` prompts in test, and no prompt on both sides; prompt_id numbered anew in each.

    Raises:
        ConfigError: fewer than one prompt would be left on either side.
    """
    prompts = sorted(set(dataset["prompt_id"]))
    if not 0 < test_prompts < len(prompts):
        raise ConfigError(
            f"test_prompts is {test_prompts} of {len(prompts)} prompts; expected at least 1 on either side."
        )
    held_out = set(random.Random(seed).sample(prompts, test_prompts))
    ids = dataset["prompt_id"]
    sides = ([row for row, prompt in enumerate(ids) if (prompt in held_out) == test] for test in (False, True))
    train, test = (renumbered(dataset.select(rows)) for rows in sides)
    return train, test


def renumbered(dataset: datasets.Dataset) -> datasets.Dataset:
    """The same rows with prompt_id from 0 to P − 1 by first appearance."""
    known: dict[int, int] = {}
    ids = [known.setdefault(prompt, len(known)) for prompt in dataset["prompt_id"]]
    return dataset.remove_columns("prompt_id").add_column("prompt_id", ids)  # type: ignore[call-arg]
