"""From a source of rows to a data set: every row is judged, good ones are kept, bad ones listed or counted."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

import datasets
import numpy as np
import polars as pl
import pyarrow as pa

from valuefree.data.columns import PromptHashes, TextHashes, to_numpy
from valuefree.data.sources import SCHEMA, Columns, Row, chunks_of
from valuefree.data.storage import RowStore
from valuefree.data.summary import DataSummary, summary_of
from valuefree.data.validation import NOT_A_NUMBER, RowError, normalize_column, prompt_key, prompt_text, usable
from valuefree.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

ADVICE = "Fix these rows, or pass on_bad='drop' (--on-bad drop) to leave them out and count them."
COLUMNS = (
    "Name the column by --prompt, --response or --reward (of pairs by --chosen or --rejected), in Python without --."
)
MESSAGES = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
Judge = Callable[[Row], Iterator[tuple[str, tuple[Any, ...] | RowError]]]


def read_judged(
    source: Any,
    split: str | None,
    judge: Judge,
    *,
    on_bad: Literal["raise", "drop"],
    names: tuple[str, str, str] | None = None,
    extra: pa.Field | None = None,
    ignore_case: bool = False,
) -> tuple[datasets.Dataset, DataSummary]:
    """Rows of `source` that `judge` finds good, with prompt_id, and the counts.

    Args:
        source, split: as of `valuefree.data.read_triplets`.
        judge: gives place and (prompt, response, reward, and the value of `extra`) of each response of a row, or what
            is wrong with it.
        on_bad: ``raise`` one error that lists the faults, or ``drop`` the rows.
        names: of prompt, response and reward, where Arrow columns of these need no judging row by row.
        extra: a fourth column.
        ignore_case: prompts that differ in case alone are the same.

    Raises:
        DataError: faults, or no usable row. ConfigError: unknown `on_bad`.
    """
    if on_bad not in ("raise", "drop"):
        raise ConfigError(f"on_bad is {on_bad!r}; expected 'raise' or 'drop'.")
    reading = _Reading(judge, on_bad == "raise", names, extra, ignore_case)
    for chunk in chunks_of(source, split, names):
        reading.add(chunk)
    if reading.one_fault():
        lacks = "no column " in reading.faults[0]
        also = f", and neither has any other row. {COLUMNS}" if lacks else f"; so are all {reading.total} rows."
        raise DataError(f"{reading.faults[0]}{also}", faults=tuple(reading.faults))
    if reading.faults and on_bad == "raise":
        heading = f"{len(reading.faults)} faults in {reading.total} rows:"
        raise DataError.from_faults(heading, reading.faults, ADVICE)
    if not reading.store.rows:
        heading = f"no usable row in {source} ({reading.total} rows read):"
        raise DataError.from_faults(heading, reading.faults, "Nothing to train on.")
    dataset, summary = reading.finish()
    (logger.warning if summary.dropped else logger.info)("%s", summary)
    return dataset, summary


class _Reading:
    """Good rows stored, their texts hashed, bad rows counted, as chunks come in."""

    def __init__(
        self,
        judge: Judge,
        strict: bool,
        names: tuple[str, str, str] | None = None,
        extra: pa.Field | None = None,
        ignore_case: bool = False,
    ):
        """`strict`: one fault makes the good rows useless, so that they need not be kept."""
        self.judge, self.strict, self.names, self.ignore_case = judge, strict, names, ignore_case
        self.schema = SCHEMA if extra is None else SCHEMA.append(extra)
        self.store = RowStore()
        self.faults: list[str] = []
        self.total = 0
        self._dropped: Counter[str] = Counter()
        self._messages = False
        self._prompts, self._responses = PromptHashes(), TextHashes()

    def add(self, chunk: Columns | list[Row]) -> None:
        if isinstance(chunk, Columns) and self.names is not None:
            batch = chunk.triplets(self.names)
            if batch is not None:
                self._add_columns(chunk, batch)
                return
        self._add_rows(chunk)

    def _add_columns(self, chunk: Columns, batch: pa.RecordBatch) -> None:
        good = usable(batch)
        bad = np.flatnonzero(~good)
        for index in bad.tolist():
            for where, item in self.judge(chunk.row(index)):
                if not isinstance(item, RowError):
                    raise AssertionError(f"{where}: {item} is judged unlike by columns and by row")
                self._refuse(where, item)
        self.total += len(batch)
        if self.strict and self.faults:
            return
        kept = batch.filter(pa.array(good)) if len(bad) else batch
        if len(kept):
            texts = pl.Series(kept.column("prompt"))
            self._keep(kept, texts, normalize_column(texts, ignore_case=self.ignore_case))

    def _add_rows(self, rows: Columns | list[Row]) -> None:
        good: list[tuple[Any, ...]] = []
        for row in rows:
            for where, item in self.judge(row):
                self.total += 1
                if isinstance(item, RowError):
                    self._refuse(where, item)
                else:
                    good.append(item)
        if not good or (self.strict and self.faults):
            return
        prompts, *rest = (list(column) for column in zip(*good, strict=True))
        schema = self.schema
        texts = pl.Series([prompt_text(prompt) for prompt in prompts], dtype=pl.String)
        keys = pl.Series([prompt_key(prompt, ignore_case=self.ignore_case) for prompt in prompts], dtype=pl.String)
        if any(isinstance(prompt, list) for prompt in prompts):
            prompts = [[{"role": "user", "content": p}] if isinstance(p, str) else p for p in prompts]
            schema = schema.set(0, pa.field("prompt", MESSAGES))
        arrays = dict(zip(schema.names, [prompts, *rest], strict=True))
        start = 0
        for batch in pa.table(arrays, schema=schema).to_batches():  # several where a text column passes 2 GB
            self._keep(batch, texts.slice(start, len(batch)), keys.slice(start, len(batch)))
            start += len(batch)

    def _refuse(self, where: str, fault: RowError) -> None:
        self._dropped[fault.reason] += 1
        if self.strict or not self.store.rows:  # otherwise nobody asks for them
            self.faults.append(f"{where}: {fault}")

    def one_fault(self) -> bool:
        """Whether every row was refused for the same fault of a column: it is not there, or holds no rewards."""
        reasons = list(self._dropped)
        of_a_column = len(reasons) == 1 and (reasons[0].startswith("no column ") or reasons[0].endswith(NOT_A_NUMBER))
        return of_a_column and self._dropped[reasons[0]] == self.total > 1

    def _keep(self, batch: pa.RecordBatch, prompts: pl.Series, keys: pl.Series) -> None:
        """Store rows. prompts, keys: `prompt_text` and `prompt_key` of each."""
        messages = batch.schema.field("prompt").type == MESSAGES
        if messages and not self._messages:
            self._messages = True
            self.store = self.store.changed(_as_messages)
        self.store.write(batch if messages or not self._messages else _as_messages(batch))
        self._prompts.add(prompts, keys)
        self._responses.add(pl.Series(batch.column("response")))

    def finish(self) -> tuple[datasets.Dataset, DataSummary]:
        """All that was kept, with prompt_id."""
        pa.default_memory_pool().release_unused()  # the batches are gone; their memory would stay with Arrow
        ids_R, merged = self._prompts.take()
        dataset = self.store.dataset().add_column("prompt_id", ids_R)  # type: ignore[call-arg]
        rewards_R = to_numpy(dataset["reward"], np.float64)
        return dataset, summary_of(ids_R, self._responses.take(), rewards_R, self._dropped, merged)


def _as_messages(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Prompts that are strings as lists of one user message."""
    contents = batch.column("prompt")
    roles = pa.array(["user"] * len(batch), pa.string())
    messages = pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGES.value_type))
    prompts = pa.ListArray.from_arrays(pa.array(range(len(batch) + 1), pa.int32()), messages)
    return batch.set_column(0, pa.field("prompt", MESSAGES), prompts.cast(MESSAGES))
