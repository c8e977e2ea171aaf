"""Rows are checked once, with errors that say what to do."""

import numpy as np
import pytest

from held_out_logs import rows_of
from valuefree.errors import DataError


def test_columns_become_float_and_prompts_are_counted():
    rows = rows_of([0, 1, 2], [1, 2, 3], [0, 1, 1], [4, 5, 6])
    assert (rows.logratios.dtype, rows.lengths.dtype) == (np.float64, np.float64)
    assert (len(rows), rows.prompts, rows.counts.tolist()) == (3, 2, [1, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logratios": [0.0, np.nan]}, "logratios"),
        ({"rewards": [0.0, np.inf]}, "rewards"),
        ({"logratios": [0.0, 1.0, 2.0]}, "one length"),
        ({"prompt_of": [0, 2]}, "prompt 1 has no row"),
        ({"prompt_of": [-1, 0]}, "0 and above"),
        ({"prompt_of": [0.0, 1.0]}, "float64"),
        ({"features": np.zeros((3, 2))}, r"\(2, d\)"),
        ({"features": np.full((2, 2), np.nan)}, "not finite"),
    ],
)
def test_unusable_rows_are_named(change, message):
    columns = {"logratios": [0.0, 1.0], "rewards": [0.0, 1.0], "prompt_of": [0, 1]} | change
    with pytest.raises(DataError, match=message):
        rows_of(**columns)


def test_chosen_prompts_are_numbered_anew():
    rows = rows_of([0, 1, 2, 3], [5, 6, 7, 8], [0, 1, 2, 1], features=np.array([[0.0], [1.0], [2.0]]))
    chosen = rows.select_prompts(np.array([2, 1]))
    assert chosen.prompt_of.tolist() == [1, 0, 1]
    assert chosen.rewards.tolist() == [6, 7, 8]
    assert chosen.features is not None
    assert chosen.features.tolist() == [[2.0], [1.0]]
