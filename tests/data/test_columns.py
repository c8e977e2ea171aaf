"""Columns as arrays, and numbers for equal texts, against plain Python."""

import sys

import datasets
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuefree.data import columns
from valuefree.data.columns import column_hashes, combine_hashes, factorize, to_numpy
from valuefree.data.validation import SOMETHING

TEXTS = st.lists(st.sampled_from(["", "a", "b", "ab", "é", "\x00", "long text " * 30]), max_size=40)


def by_first_appearance(items) -> list[int]:
    known: dict = {}
    return [known.setdefault(item, len(known)) for item in items]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=60))
def test_rows_are_numbered_by_first_appearance(rows):
    """Also where rows agree in the first column alone, as they would if half a hash collided."""
    keys = [np.array([row[place] for row in rows], dtype=np.uint64) for place in range(3)]
    assert factorize(*keys).tolist() == by_first_appearance(rows)


@given(TEXTS)
def test_texts_are_equal_where_their_hashes_are(texts):
    assert factorize(*column_hashes(texts)).tolist() == by_first_appearance(texts)
    if texts:
        column = datasets.Dataset.from_dict({"text": texts})["text"]
        assert factorize(*column_hashes(column)).tolist() == by_first_appearance(texts)


def test_half_a_surrogate_pair_in_a_list_is_a_text_like_any_other():
    assert factorize(*column_hashes(["\ud83d", "a", "\ud83d"])).tolist() == [0, 1, 0]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), min_size=1))
def test_the_same_text_of_another_owner_is_another_row(rows):
    owners, texts = zip(*rows, strict=True)
    pairs = combine_hashes(np.array(owners), column_hashes(list(texts)))
    assert factorize(*pairs).tolist() == by_first_appearance(rows)


def test_the_two_halves_of_a_hash_are_independent():
    """Among 100,000 texts 2²⁰ values of 20 bits are shared by about 4,650 pairs; both halves' by a chance of 0.5 %."""
    halves = column_hashes([f"text number {number}" for number in range(100_000)])
    low = [half & np.uint64(2**20 - 1) for half in halves]
    assert len(np.unique(halves[0])) == len(np.unique(halves[1])) == 100_000
    both = low[0] << np.uint64(20) | low[1]
    assert 100_000 - len(np.unique(both)) <= 1


def test_the_size_of_batches_changes_nothing(monkeypatch):
    dataset = datasets.Dataset.from_dict(
        {"text": [f"t{i % 17}" for i in range(100)], "number": [i / 7 for i in range(100)]}
    )
    expected = [half.tolist() for half in column_hashes(dataset["text"])]
    monkeypatch.setattr(columns, "BATCH_ROWS", 7)
    assert [half.tolist() for half in column_hashes(dataset["text"])] == expected
    assert [half.tolist() for half in column_hashes(dataset["text"][:])] == expected
    assert to_numpy(dataset["number"], np.float64).tolist() == dataset["number"][:]


@pytest.mark.parametrize("kind", [None, "numpy", "torch"])
def test_arrays_of_columns_rows_chosen_in_any_order(kind):
    dataset = datasets.Dataset.from_dict({"number": [1.5, 2.5, 1 / 3]}).select([2, 0]).with_format(kind)
    assert to_numpy(dataset["number"], np.float64).tolist() == pytest.approx([1 / 3, 1.5])
    assert to_numpy([1, 2], np.int64).dtype == np.int64
    assert to_numpy(datasets.Dataset.from_dict({"n": []})["n"], np.float64).shape == (0,)


def test_blank_is_what_python_strips():
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    said = pl.Series(characters).str.contains(SOMETHING).to_list()
    assert said == [bool(character.strip()) for character in characters]
