"""Rows grouped by key: all rows of a key, in order, by both functions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from valuefree.batches.grouping import groups_of, rows_of_prompts

KEYS = st.lists(st.integers(0, 5), max_size=20)


@given(KEYS)
def test_groups_are_in_order_of_first_appearance(keys):
    expected = [[row for row, other in enumerate(keys) if other == key] for key in dict.fromkeys(keys)]
    assert groups_of(keys) == expected


@given(KEYS)
def test_rows_of_prompts_are_in_order_of_the_numbers(keys):
    expected = [[row for row, other in enumerate(keys) if other == key] for key in sorted(set(keys))]
    assert [rows.tolist() for rows in rows_of_prompts(np.array(keys, dtype=np.int64))] == expected
