"""Cohen's κ."""

import numpy as np
import pytest

from valuefree.errors import DataError
from valuefree.evaluation.stats import cohen_kappa


def from_table(table, labels):
    pairs = [
        (a, b) for a, row in zip(labels, table, strict=True) for b, n in zip(labels, row, strict=True) for _ in range(n)
    ]
    return [a for a, _ in pairs], [b for _, b in pairs]


def test_two_labels_by_hand():
    """Cohen's own kind of table: agree 35 of 50; rows 25/25, columns 30/20 → expected .5, κ = (.7 − .5)/.5 = .4."""
    found = cohen_kappa(*from_table([[20, 5], [10, 15]], ["yes", "no"]))
    assert (found.observed, found.expected, found.n) == (pytest.approx(0.7), pytest.approx(0.5), 50)
    assert found.kappa.value == pytest.approx(0.4)
    assert found.kappa.interval[0] < 0.4 < found.kappa.interval[1]
    assert found.labels == ("no", "yes")
    assert found.table == ((15, 10), (5, 20))


def test_three_labels_by_hand():
    """Of 20 agree 6 + 4 + 3; rows 8, 7, 5, columns 9, 6, 5: expected (72 + 42 + 25)/400; κ = (.65 − .3475)/.6525."""
    found = cohen_kappa(*from_table([[6, 1, 1], [2, 4, 1], [1, 1, 3]], "ABN"))
    assert found.observed == pytest.approx(0.65)
    assert found.expected == pytest.approx(139 / 400)
    assert found.kappa.value == pytest.approx((0.65 - 0.3475) / 0.6525)


def test_the_interval_is_as_wide_as_the_asymptotic_one():
    """Standard error of κ after Fleiss, Cohen and Everitt (1969), for independent rows."""
    table = np.array([[120, 30, 10], [25, 90, 15], [10, 20, 80]])
    p = table / table.sum()
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = np.trace(p), rows @ columns
    kappa = (observed - expected) / (1 - expected)
    on = sum(p[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(3))
    off = (1 - kappa) ** 2 * sum(p[i, j] * (columns[i] + rows[j]) ** 2 for i in range(3) for j in range(3) if i != j)
    variance = (on + off - (kappa - expected * (1 - kappa)) ** 2) / (table.sum() * (1 - expected) ** 2)
    found = cohen_kappa(*from_table(table.tolist(), "ABN")).kappa
    assert found.value == pytest.approx(kappa)
    assert (found.interval[1] - found.interval[0]) / 2 == pytest.approx(1.96 * np.sqrt(variance), rel=0.05)


def test_rows_of_one_prompt_are_resampled_together():
    first, second = from_table([[20, 5], [10, 15]], "ab")
    alone = cohen_kappa(first, second).kappa
    copied = cohen_kappa(first * 4, second * 4, clusters=list(range(50)) * 4).kappa
    assert copied.n == 50
    assert copied.interval == pytest.approx(alone.interval)


def test_a_missing_label_is_left_out_and_counted():
    found = cohen_kappa(["A", None, "B", "A", None], ["A", "A", "B", "B", None])
    assert (found.n, found.missing) == (3, 2)
    assert found.observed == pytest.approx(2 / 3)
    assert found.labels == ("A", "B")


def test_judges_that_say_the_opposite():
    assert cohen_kappa(list("ABABAB"), list("BABABA")).kappa.value == pytest.approx(-1.0)


def test_undefined_is_none_with_its_reason():
    always = cohen_kappa(["A"] * 5, ["A"] * 5)
    assert always.kappa is None
    assert (always.observed, always.expected) == (1.0, 1.0)
    assert "always say 'A'" in always.reason
    assert "undefined" in str(always)
    nobody = cohen_kappa([None, "A"], ["A", None])
    assert (nobody.kappa, nobody.observed, nobody.n, nobody.missing) == (None, None, 0, 2)
    assert nobody.reason == "no row has both labels"


def test_an_interval_that_most_resamples_cannot_give_is_none_with_its_reason():
    """One disagreement among three rows: a resample without it has one label only, in (2/3)³ = 30 % of the cases."""
    found = cohen_kappa(["A", "A", "A"], ["A", "A", "B"])
    assert found.kappa.value == pytest.approx(0.0)
    assert found.kappa.interval is None
    assert "more than one resample in twenty" in found.reason
    assert cohen_kappa(["A", "B"], ["A", "B"], clusters=[1, 1]).reason == "no interval: one prompt"


def test_columns_of_different_length_are_named():
    with pytest.raises(DataError, match="first 2, second 1"):
        cohen_kappa(["A", "B"], ["A"])
