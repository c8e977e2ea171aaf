"""Wins, ties, losses and the sign test."""

import pytest
from scipy import stats

from valuefree.errors import DataError
from valuefree.evaluation.stats import sign_test, win_tie_loss


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


def test_what_is_no_count_or_no_difference():
    with pytest.raises(DataError, match="-1"):
        sign_test(-1, 3)
    with pytest.raises(DataError, match="not finite"):
        win_tie_loss([float("nan"), 1.0])
