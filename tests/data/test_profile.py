"""Numbers of small logs, counted by hand."""

import datasets
import numpy as np
import pytest

from valuefree.data import read_triplets
from valuefree.data.profile import histogram, profile


def rows(*triplets: tuple[str, str, float]) -> datasets.Dataset:
    names = ("prompt", "response", "reward")
    return read_triplets(datasets.Dataset.from_list([dict(zip(names, row, strict=True)) for row in triplets]))


def test_several_responses():
    """Within a: deviations ±1, sum of squares 2, degrees of freedom 3 − 2. Characters: 1 + 1 of prompts, 2 + 4 + 3.
    Rows have 3, 4 and 5: the percentile is at .99 · 2 = 1.98 of them, 4 + .98."""
    found = profile(rows(("a", "xx", 1.0), ("a", "xxxx", 3.0), ("b", "xxx", 7.0)))
    assert found.group_sizes == {1: 1, 2: 1}
    assert (found.differs, found.singles) == (True, False)
    assert found.reward_std == pytest.approx(2**0.5)
    assert found.characters == 11
    assert found.long_characters == pytest.approx(4.98)


def test_single_responses_take_the_deviation_over_all_rows():
    found = profile(rows(("a", "x", -1.0), ("b", "x", 1.0)))
    assert (found.differs, found.singles, found.reward_std) == (False, True, 1.0)
    assert profile(rows(("a", "x", 0.0), ("a", "y", 1.0), ("b", "x", 1.0), ("c", "x", 1.0))).singles  # 2 of 3 prompts


def test_bars_of_values_and_of_bins():
    assert histogram(np.array([1.0, -1.0, 1.0, 1.0, 1.0])) == ("-1 | ########## 1", " 1 | " + 40 * "#" + " 4")
    bins = histogram(np.arange(20.0))
    assert len(bins) == 10
    assert bins[0] == "    0 to 1.9 | " + 40 * "#" + " 2"
