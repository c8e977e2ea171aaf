"""Wins, ties, losses and the sign test."""

import pytest
from scipy import stats

from valuefree.errors import DataError
from valuefree.evaluation.stats import Estimate, p_shown, preferred, sign_test, win_tie_loss


def test_sign_test_by_hand():
    """3 wins, 1 loss: P(≥3 or ≤1 of 4) = (4 + 1 + 4 + 1)/16 = .625."""
    result = win_tie_loss([1, 2, 0.5, -1, 0, 0])
    assert (result.wins, result.ties, result.losses) == (3, 2, 1)
    assert result.p_value == sign_test(3, 1) == pytest.approx(0.625)
    assert win_tie_loss([0, 0]).p_value == win_tie_loss([]).p_value == 1.0


@pytest.mark.parametrize(("wins", "losses"), [(0, 5), (9, 1), (7, 7), (120, 80)])
def test_it_is_the_exact_binomial_test_and_symmetric(wins, losses):
    assert sign_test(wins, losses) == pytest.approx(stats.binomtest(wins, wins + losses).pvalue)
    assert sign_test(wins, losses) == pytest.approx(sign_test(losses, wins))


@pytest.mark.parametrize(
    ("interval", "wins", "losses", "expected"),
    [((0.55, 0.9), 4, 0, None), ((0.54, 1.0), 6, 0, 0), ((0.0, 0.46), 0, 6, 1), ((0.48, 0.9), 9, 1, None)],
    ids=["sign test p = .125", "p = .03", "the second", "interval holds one half"],
)
def test_a_preference_needs_the_interval_and_the_sign_test(interval, wins, losses, expected):
    """p of 4 : 0 is 2/16, of 6 : 0 2/64, of 9 : 1 22/1024."""
    assert preferred(Estimate(0.7, interval, 10), sign_test(wins, losses)) == expected


def test_a_p_value_is_printed_without_an_exponent():
    shown = [p_shown(value) for value in (5.65e-6, 1e-4, 0.000123, 0.03125, 0.0496, 0.5, 1.0)]
    assert shown == ["p < 0.0001", *(f"p = {p}" for p in ("0.0001", "0.000123", "0.0312", "0.0496", "0.5", "1"))]


def test_what_is_no_count_or_no_difference():
    with pytest.raises(DataError, match="-1"):
        sign_test(-1, 3)
    with pytest.raises(DataError, match="not finite"):
        win_tie_loss([float("nan"), 1.0])
