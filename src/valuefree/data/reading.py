"""From a source of rows to a data set: every row is validated, usable rows are kept, faulty ones listed or counted."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal

import datasets
import numpy as np
import polars as pl
import pyarrow as pa

from valuefree.data.columns import PromptHashes, TextHashes, to_numpy, with_column
from valuefree.data.messages import messages_in
from valuefree.data.prompts import as_messages, encoded
from valuefree.data.sources import SCHEMA, ArrowRows, Chunk, RawRow, chunks_of
from valuefree.data.storage import RowStore
from valuefree.data.summary import DataSummary, summary_of
from valuefree.data.validation import NOT_A_NUMBER, RowError, normalize_column, prompt_key, prompt_text, usable_rows
from valuefree.errors import ConfigError, DataError, number_of

logger = logging.getLogger(__name__)

ADVICE = "Fix these rows, or pass on_bad='drop' (--on-bad drop) to leave them out and count them."
COLUMNS = (
    "Name the column by --prompt, --response or --reward (of pairs by --chosen or --rejected), in Python without --."
)
MESSAGES = pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
CONVERSATIONS = pa.struct({"messages": pa.string(), "tools": pa.string(), "chat_template_kwargs": pa.string()})
PROMPTS = (pa.string(), MESSAGES, CONVERSATIONS)  # each can hold what the ones before it hold
RESPONSE_MESSAGES = pa.field("response_messages", pa.string())
JSON_PROMPT = r"^\s*[\[{][\s\S]*\"role\""  # a prompt that may be JSON text of messages
ValidateRow = Callable[[RawRow], Iterator[tuple[str, tuple[Any, ...] | RowError]]]


def read_validated(
    source: Any,
    split: str | None,
    validate_row: ValidateRow,
    *,
    on_bad: Literal["raise", "drop"],
    prompt: str,
    names: tuple[str, str, str] | None = None,
    extra: pa.Field | None = None,
    ignore_case: bool = False,
) -> tuple[datasets.Dataset, DataSummary]:
    """Usable rows of `source` as a data set with a column prompt_id, and the counts.

    Responses that their text does not fully hold also have their messages, as JSON text, in a column
    ``response_messages``.

    Args:
        source, split: as of `valuefree.data.read_triplets`.
        validate_row: yields, for each response of a row, its place and either (prompt, response, reward, the value of
            `extra` if there is one, messages of the response or None) or the fault.
        on_bad: ``raise`` one error that lists the faults, or ``drop`` the rows.
        prompt: column of the prompt.
        names: columns of prompt, response and reward; Arrow arrays of these are validated as a whole, without
            `validate_row`.
        extra: a fourth column.
        ignore_case: prompts that differ only in case are the same prompt.

    Raises:
        DataError: faults, or no usable row. ConfigError: unknown `on_bad`.
    """
    if on_bad not in ("raise", "drop"):
        raise ConfigError(f"on_bad is {on_bad!r}; expected 'raise' or 'drop'.")
    reader = _Reader(validate_row, on_bad == "raise", prompt, names, extra, ignore_case)
    for chunk in chunks_of(source, split, names):
        reader.add(chunk)
    if reader.all_rows_have_one_fault():
        no_column = "no column " in reader.faults[0]
        also = f", and no other row has it. {COLUMNS}" if no_column else f"; so are all {reader.total} rows."
        raise DataError(f"{reader.faults[0]}{also}", faults=tuple(reader.faults))
    if reader.faults and on_bad == "raise":
        heading = f"{number_of(len(reader.faults), 'fault')} in {number_of(reader.total, 'row')}:"
        raise DataError.from_faults(heading, reader.faults, ADVICE)
    if not reader.store.rows:
        heading = f"no usable row in {source} ({reader.total} rows read):"
        raise DataError.from_faults(heading, reader.faults, "Nothing to train on.")
    dataset, summary = reader.finish()
    (logger.warning if summary.dropped else logger.info)("%s", summary)
    return dataset, summary


class _Reader:
    """Stores usable rows, hashes their texts and counts faults, chunk by chunk."""

    def __init__(
        self,
        validate_row: ValidateRow,
        strict: bool,
        prompt: str,
        names: tuple[str, str, str] | None,
        extra: pa.Field | None,
        ignore_case: bool,
    ):
        """`strict`: after one fault the usable rows are not needed, so they are not stored."""
        self.validate_row, self.strict, self.names, self.ignore_case = validate_row, strict, names, ignore_case
        self.prompt = prompt
        self.parsed = 0  # prompts that were JSON text of messages
        self.schema = SCHEMA if extra is None else SCHEMA.append(extra)
        self.store = RowStore()
        self.faults: list[str] = []
        self.total = 0
        self._dropped: Counter[str] = Counter()
        self._form, self._response_messages = pa.string(), False  # of the stored batches
        self._prompts, self._responses = PromptHashes(), TextHashes()

    def add(self, chunk: Chunk) -> None:
        if isinstance(chunk, ArrowRows) and self.names is not None:
            batch = chunk.triplets(self.names)
            if batch is not None and not pl.Series(batch.column("prompt")).str.contains(JSON_PROMPT).any():
                self._add_columns(chunk, batch)
                return
        self._add_rows(chunk)

    def _add_columns(self, chunk: ArrowRows, batch: pa.RecordBatch) -> None:
        usable_R = usable_rows(batch)
        bad = np.flatnonzero(~usable_R)
        for index in bad.tolist():
            for where, result in self.validate_row(chunk.row(index)):
                if not isinstance(result, RowError):
                    raise AssertionError(f"{where}: {result} is usable by row, and a fault by columns")
                self._refuse(where, result)
        self.total += len(batch)
        if self.strict and self.faults:
            return
        kept = batch.filter(pa.array(usable_R)) if len(bad) else batch
        if len(kept):
            texts = pl.Series(kept.column("prompt"))
            self._keep(kept, texts, normalize_column(texts, ignore_case=self.ignore_case))

    def _add_rows(self, rows: Chunk) -> None:
        usable: list[tuple[Any, ...]] = []
        for row in rows:
            for where, result in self.validate_row(row):
                self.total += 1
                if isinstance(result, RowError):
                    self._refuse(where, result)
                else:
                    usable.append(result)
                    self.parsed += not isinstance(result[0], str) and _is_json(row.values.get(self.prompt))
        if not usable or (self.strict and self.faults):
            return
        prompts, *rest, messages = (list(column) for column in zip(*usable, strict=True))
        schema = self.schema
        texts = pl.Series([prompt_text(prompt) for prompt in prompts], dtype=pl.String)
        keys = pl.Series([prompt_key(prompt, ignore_case=self.ignore_case) for prompt in prompts], dtype=pl.String)
        form = max((_form(prompt) for prompt in prompts), key=PROMPTS.index)
        if form != pa.string():
            prompts = [as_messages(prompt) if form == MESSAGES else encoded(prompt) for prompt in prompts]
            schema = schema.set(0, pa.field("prompt", form))
        if any(message is not None for message in messages):
            rest, schema = [*rest, messages], schema.append(RESPONSE_MESSAGES)
        arrays = dict(zip(schema.names, [prompts, *rest], strict=True))
        start = 0
        for batch in pa.table(arrays, schema=schema).to_batches():  # several where a text column exceeds 2 GB
            self._keep(batch, texts.slice(start, len(batch)), keys.slice(start, len(batch)))
            start += len(batch)

    def _refuse(self, where: str, fault: RowError) -> None:
        self._dropped[fault.reason] += 1
        if self.strict or not self.store.rows:  # otherwise no error will list them
            self.faults.append(f"{where}: {fault}")

    def all_rows_have_one_fault(self) -> bool:
        """Whether every row has the same fault of a column: the column is missing, or it has no numbers."""
        if len(self._dropped) != 1:
            return False
        ((reason, count),) = self._dropped.items()
        return count == self.total > 1 and (reason.startswith("no column ") or reason.endswith(NOT_A_NUMBER))

    def _keep(self, batch: pa.RecordBatch, prompts: pl.Series, keys: pl.Series) -> None:
        """Store rows. prompts, keys: `prompt_text` and `prompt_key` of each."""
        form = batch.schema.field("prompt").type
        wider = PROMPTS.index(form) > PROMPTS.index(self._form)
        messages = RESPONSE_MESSAGES.name in batch.schema.names and not self._response_messages
        self._form, self._response_messages = form if wider else self._form, self._response_messages or messages
        if (wider or messages) and self.store.rows:
            self.store = self.store.changed(self._widened)
        self.store.write(self._widened(batch))
        self._prompts.add(prompts, keys)
        self._responses.add(pl.Series(batch.column("response")))

    def _widened(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with its prompts in the stored form, and with the column of response messages if others have it."""
        if batch.schema.field("prompt").type != self._form:
            convert = as_messages if self._form == MESSAGES else encoded
            prompts = pa.array([convert(prompt) for prompt in batch.column("prompt").to_pylist()], self._form)
            batch = batch.set_column(0, pa.field("prompt", self._form), prompts)
        if self._response_messages and RESPONSE_MESSAGES.name not in batch.schema.names:
            batch = batch.append_column(RESPONSE_MESSAGES, pa.nulls(len(batch), pa.string()))
        return batch

    def finish(self) -> tuple[datasets.Dataset, DataSummary]:
        """The stored rows with prompt_id, and the counts."""
        pa.default_memory_pool().release_unused()  # Arrow would keep the memory of the batches
        if self.parsed:
            logger.info(
                "%d prompts are JSON text of chat messages and were read as messages; json_prompts='text' "
                "(--json-prompts text) keeps them as text",
                self.parsed,
            )
        ids_R, merged = self._prompts.take()
        dataset = with_column(self.store.dataset(), "prompt_id", ids_R)
        rewards_R = to_numpy(dataset["reward"], np.float64)
        return dataset, summary_of(ids_R, self._responses.take(), rewards_R, self._dropped, merged)


def _form(prompt: Any) -> pa.DataType:
    """The simplest Arrow type that holds the prompt."""
    return pa.string() if isinstance(prompt, str) else MESSAGES if isinstance(prompt, list) else CONVERSATIONS


def _is_json(value: Any) -> bool:
    return isinstance(value, str) and messages_in(value) is not None
