"""Explained share, progress, implied temperature and partial correlation: closed forms and invariances."""

import numpy as np
import pytest
from scipy import stats

from held_out_logs import gaussian_rows, rows_of
from valuefree.evaluation.held_out.contrasts import contrasts_of
from valuefree.evaluation.held_out.moments import explained, moments_of, partial, products, rms


def moments(rows, tau=0.1, by="pairs"):
    return moments_of(contrasts_of(rows, by), tau=tau, seed=0)


def optimum(share=1.0, tau=0.1):
    """A policy that has made `share` of the move to the optimum ρ = (r − V) / τ."""
    rows = gaussian_rows(40, 4)
    return rows_of(share * rows.rewards / tau, rows.rewards, rows.prompt_of, rows.lengths)


def test_at_the_optimum_all_is_explained_and_the_temperature_is_tau():
    found = moments(optimum())
    assert found.implied_tau == pytest.approx(0.1)
    assert found.explained_share.value == pytest.approx(1)
    assert found.progress is not None
    assert found.progress.value == pytest.approx(1)


def test_a_fifth_of_the_move_has_progress_a_fifth_and_five_times_the_temperature():
    found = moments(optimum(0.2))
    assert found.progress is not None
    assert found.progress.value == pytest.approx(0.2)
    assert found.implied_tau == pytest.approx(0.5)


def test_progress_at_the_optimum_is_the_reliability_of_the_rewards():
    generator = np.random.default_rng(0)
    expected = generator.normal(size=40_000)
    noisy = expected + 0.5 * generator.normal(size=40_000)
    found = moments(rows_of(expected / 0.1, noisy, np.repeat(np.arange(4000), 10)))
    assert found.progress is not None
    assert found.progress.value == pytest.approx(1 / 1.25, abs=0.02)
    assert found.implied_tau == pytest.approx(0.1, abs=0.002)


def test_a_policy_against_the_rewards_explains_a_negative_share_and_has_no_temperature():
    found = moments(optimum(-1.0))
    assert found.explained_share.value == pytest.approx(-1)
    assert found.implied_tau is None
    assert found.progress is not None
    assert found.progress.value == pytest.approx(-1)


def test_constants_per_prompt_change_nothing():
    rows = gaussian_rows(30, 3)
    shift = 10 * np.random.default_rng(1).normal(size=(2, 30))[:, rows.prompt_of]
    moved = rows_of(rows.logratios + shift[0], rows.rewards + shift[1], rows.prompt_of, rows.lengths)
    first, second = moments(rows), moments(moved)
    assert first.explained_share.value == pytest.approx(second.explained_share.value)
    assert first.explained_share.interval == pytest.approx(second.explained_share.interval)
    assert first.partial_correlation.value == pytest.approx(second.partial_correlation.value)
    assert rms(contrasts_of(rows, "pairs")) == pytest.approx(rms(contrasts_of(moved, "pairs")))


def test_partial_correlation_is_that_of_the_residuals_after_length():
    rows = gaussian_rows(200, 1, between=0.0)
    longer = rows_of(rows.logratios + rows.lengths / 50, rows.rewards - rows.lengths / 30, rows.prompt_of, rows.lengths)
    residuals = [
        values - np.polyval(np.polyfit(rows.lengths, values, 1), rows.lengths)
        for values in (longer.logratios, longer.rewards)
    ]
    found = moments(longer, by="rows")
    assert found.partial_correlation.value == pytest.approx(stats.pearsonr(*residuals).statistic)
    assert found.explained_share.value < 0 < found.partial_correlation.value


def test_where_length_determines_the_log_ratio_nothing_is_left():
    rows = gaussian_rows(30, 3)
    short = rows_of(-rows.lengths, rows.rewards, rows.prompt_of, rows.lengths)
    assert moments(short).partial_correlation.value == 0


def test_the_untouched_reference_explains_nothing():
    rows = gaussian_rows(30, 3)
    found = moments(rows_of(np.full(90, 0.1), rows.rewards, rows.prompt_of, rows.lengths))
    assert (found.explained_share.value, found.partial_correlation.value, found.implied_tau) == (0, 0, None)
    assert found.explained_share.interval is None


@pytest.mark.parametrize("seed", range(20))
def test_resamples_in_which_a_variable_is_constant_explain_nothing(seed):
    constants = np.random.default_rng(seed).normal(size=(3, 1)) * [[1.0], [3.0], [40.0]]
    values = np.repeat(constants, 7, axis=1)  # the subtraction of the mean leaves a rounding error of either sign
    left, right = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]
    sums = np.concatenate([np.ones((1, 7)), values, values[left] * values[right]]).sum(axis=1)
    found = products(sums[None])
    assert found[:3].tolist() == [[0], [0], [0]]
    assert (explained(found), partial(found)) == ([0], [0])
