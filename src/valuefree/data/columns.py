"""Columns of a data set as arrays. Equal texts are found by hash, so that millions of rows need no Python objects."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from datasets.arrow_dataset import Column

from valuefree.data.storage import release_pages

BATCH_ROWS = 65536
MAPPED_BATCHES = 8  # after so many batches their pages are released
SEEDS = (0x5DEECE66D, 0xB5AD4ECEDA1CE2A9)  # for the two halves of a 128-bit hash
SPREAD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # odd, so that multiplication by them modulo 2⁶⁴ is a bijection


def batches(
    dataset: datasets.Dataset, names: Sequence[str] | None = None, rows: int | None = None
) -> Iterator[pa.Table]:
    """The rows in order, `rows` (`BATCH_ROWS`) at a time, as Arrow tables of the columns `names` (default all)."""
    rows = rows or BATCH_ROWS
    view = dataset.select_columns(list(names)) if names is not None else dataset
    view = view.with_format("arrow")
    for start in range(0, len(view), rows):
        yield view[start : start + rows]
        if (start // rows) % MAPPED_BATCHES == MAPPED_BATCHES - 1 or start + rows >= len(view):
            release_pages(view)


def with_column(dataset: datasets.Dataset, name: str, values: np.ndarray) -> datasets.Dataset:
    """The data set with a column of numbers; a column of that name is replaced."""
    others = dataset.remove_columns(name) if name in dataset.column_names else dataset
    return others.add_column(name, values)  # type: ignore[call-arg, arg-type]  # a decorator hides `new_fingerprint`


def to_numpy(values: Sequence[float] | Sequence[int] | Column, dtype: type) -> np.ndarray:
    """Numbers as an array, shape (R,); a column of a data set is read without Python numbers in between."""
    if not _is_stored(values):
        return np.asarray(values, dtype=dtype)
    column: Any = values  # a `Column`, as `_is_stored` checked
    parts = [table.column(0).to_numpy() for table in batches(column.source, [column.column_name])]
    return np.concatenate(parts or [[]]).astype(dtype, copy=False)


def lengths_of(dataset: datasets.Dataset, name: str) -> np.ndarray:
    """Length of each list of a column, int64 of shape (R,)."""
    length = pc.list_value_length  # type: ignore[attr-defined]  # defined when pyarrow.compute is imported
    parts = [length(table.column(0)).to_numpy() for table in batches(dataset, [name])]
    return np.concatenate(parts or [[]]).astype(np.int64, copy=False)


def nonnegative_counts(dataset: datasets.Dataset, name: str) -> np.ndarray:
    """How many integers of each list of a column are not negative, int64 of shape (R,)."""
    counts = []
    for table in batches(dataset, [name]):
        for lists in table.column(0).chunks:
            flags = lists.flatten().to_numpy() >= 0
            ends = np.concatenate([[0], np.cumsum(flags)])
            offsets = lists.offsets.to_numpy() - lists.offsets[0].as_py()
            counts.append(np.diff(ends[offsets]))
    return np.concatenate(counts or [[]]).astype(np.int64, copy=False)


def _is_stored(values: object) -> bool:
    """Whether `values` is a column of a data set without a format that changes the stored values."""
    source = values.source if isinstance(values, Column) else None
    return isinstance(source, datasets.Dataset) and source.format["type"] is None


class TextHashes:
    """128 bits of hash per text, gathered batch by batch in two growing arrays."""

    def __init__(self) -> None:
        self._halves = (array("Q"), array("Q"))

    def add(self, texts: pl.Series) -> None:
        """Hash more texts (or bytes)."""
        for half, seed in zip(self._halves, SEEDS, strict=True):
            half.frombytes(texts.hash(seed).to_numpy().tobytes())

    def take(self) -> tuple[np.ndarray, np.ndarray]:
        """Both halves, uint64 of shape (R,); the object is empty afterwards."""
        first, second = self._halves
        self._halves = (array("Q"), array("Q"))
        return np.asarray(first), np.asarray(second)


class PromptHashes:
    """Hashes of the keys by which prompts are compared, and of the prompts that differ from their key."""

    def __init__(self) -> None:
        self._keys, self._others = TextHashes(), TextHashes()
        self._differs: list[np.ndarray] = []

    def add(self, texts: pl.Series, keys: pl.Series) -> None:
        """Add prompts: their exact texts and their keys."""
        differs = texts != keys
        self._keys.add(keys)
        self._others.add(texts.filter(differs))
        self._differs.append(differs.to_numpy())

    def take(self) -> tuple[np.ndarray, int]:
        """Number of each row's prompt, 0 … P−1 by first appearance, int64 (R,); and how many exact prompts exceed P."""
        ids_R = factorize(*self._keys.take())
        others = factorize(*self._others.take())
        prompts = int(ids_R.max(initial=-1)) + 1
        has_key_P = np.zeros(prompts, dtype=bool)  # whether some row's exact prompt is the key itself
        has_key_P[ids_R[~np.concatenate(self._differs or [np.empty(0, dtype=bool)])]] = True
        self._differs = []
        return ids_R, int(others.max(initial=-1)) + 1 + int(has_key_P.sum()) - prompts


def list_numbers(dataset: datasets.Dataset, name: str) -> np.ndarray:
    """Number of each row's list of integers, equal where the lists are, by first appearance; int64, shape (R,)."""
    hashes = TextHashes()
    for table in batches(dataset, [name]):
        for part in table.column(0).chunks:
            hashes.add(pl.Series(_list_bytes(part)))
    return factorize(*hashes.take())


def _list_bytes(lists: pa.ListArray) -> pa.LargeBinaryArray:
    """The bytes of each list, without copying them."""
    values = lists.values
    width = values.type.bit_width // 8
    offsets = (lists.offsets.to_numpy().astype(np.int64) + values.offset) * width
    buffers = [None, pa.py_buffer(offsets), values.buffers()[1]]
    return pa.Array.from_buffers(pa.large_binary(), len(lists), buffers)  # type: ignore[return-value]  # the stubs say Array


def column_hashes(texts: Sequence[str] | Column) -> tuple[np.ndarray, np.ndarray]:
    """128 bits of hash per text of a list, or of a column of a data set, which is read batch by batch."""
    hashes = TextHashes()
    for part in _text_batches(texts):
        hashes.add(part)
    return hashes.take()


def _text_batches(texts: Sequence[str] | Column) -> Iterator[pl.Series]:
    if _is_stored(texts):
        column: Any = texts  # a `Column`, as `_is_stored` checked
        for table in batches(column.source, [column.column_name]):
            yield pl.Series(table.column(0))
        return
    for start in range(0, len(texts), BATCH_ROWS):
        part = texts[start : start + BATCH_ROWS]  # type: ignore[index]  # a `Column` takes slices as well
        # A list of texts may contain half of a surrogate pair, which UTF-8 cannot encode.
        yield pl.Series([text.encode("utf-8", "surrogatepass") for text in part], dtype=pl.Binary)


def combine_hashes(owners_R: np.ndarray, hashes: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes that are equal where both the owner (an integer) and the hash are equal."""
    owners = owners_R.astype(np.uint64)
    return hashes[0] + owners * np.uint64(SPREAD[0]), hashes[1] + owners * np.uint64(SPREAD[1])


def factorize(keys_R: np.ndarray, *more_R: np.ndarray) -> np.ndarray:
    """A number for each distinct row of the columns, 0, 1, … by first appearance; int64, shape (R,).

    Rows are sorted by `keys_R` alone, and by all columns only if `more_R` differ between rows of one key.
    """
    if len(keys_R) == 0:
        return np.empty(0, dtype=np.int64)
    order = np.argsort(keys_R)
    starts = _changes(keys_R, order)
    if any((_changes(column, order) & ~starts).any() for column in more_R):
        order = np.lexsort((keys_R, *more_R))
        starts = np.logical_or.reduce([_changes(column, order) for column in (keys_R, *more_R)])
    begin = np.flatnonzero(starts)
    first = np.minimum.reduceat(order, begin)
    is_first = np.zeros(len(order), dtype=bool)
    is_first[first] = True
    rank = (np.cumsum(is_first) - 1)[first]
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.repeat(rank, np.diff(begin, append=len(order)))
    return numbers


def _changes(column_R: np.ndarray, order: np.ndarray) -> np.ndarray:
    """True where a row, in this order, differs from the one before; true for the first."""
    ordered = column_R[order]
    return np.concatenate([[True], ordered[1:] != ordered[:-1]])
