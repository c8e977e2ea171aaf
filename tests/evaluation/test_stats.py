"""Intervals and the sign test."""

import math

import numpy as np
import pytest

from valuefree.errors import DataError
from valuefree.evaluation.stats import bootstrap_mean, clustered_mean, win_tie_loss


def test_the_interval_covers_the_mean_of_a_known_distribution():
    """95 % intervals of 40 draws from N(0, 1): nominal coverage within the noise of 300 repetitions."""
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        low, high = bootstrap_mean(generator.normal(size=40), seed=seed).interval
        covered += low <= 0 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_the_interval_is_about_two_standard_errors_for_many_prompts():
    data = np.random.default_rng(1).normal(size=900)
    low, high = bootstrap_mean(data).interval
    assert (high - low) / 2 == pytest.approx(1.96 * data.std() / 30, rel=0.05)


def test_seeded():
    data = [0.0, 1.0, 0.5, 0.2]
    assert bootstrap_mean(data, seed=4) == bootstrap_mean(data, seed=4)


def test_edges():
    assert bootstrap_mean([2.0]).interval is None
    assert bootstrap_mean([2.0, 2.0]).interval == (2.0, 2.0)
    for wrong in ([], [math.nan, 1.0], [[1.0]]):
        with pytest.raises(DataError):
            bootstrap_mean(wrong)


def test_clusters_are_resampled_whole():
    """Ten copies of each of four values are four observations, not forty."""
    values = [0.0, 1.0, 2.0, 3.0] * 10
    clustered = clustered_mean(values, ["a", "b", "c", "d"] * 10)
    assert clustered.n == 4
    assert clustered.value == 1.5
    narrow = bootstrap_mean(values).interval
    assert clustered.interval[1] - clustered.interval[0] > 2 * (narrow[1] - narrow[0])


def test_sign_test_by_hand():
    """3 wins, 1 loss: P(≥3 or ≤1 of 4) = (4 + 1 + 4 + 1)/16 = .625."""
    result = win_tie_loss([1, 2, 0.5, -1, 0, 0])
    assert (result.wins, result.ties, result.losses) == (3, 2, 1)
    assert result.p_value == pytest.approx(0.625)
    assert win_tie_loss([0, 0]).p_value == 1.0
