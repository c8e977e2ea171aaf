"""Intervals of means, of one value per prompt and of several."""

import math

import numpy as np
import pytest
from scipy import stats

from shape_checks import unchecked
from valuefree.errors import DataError
from valuefree.evaluation.stats import bootstrap_mean, clustered_mean, crossed_mean, paired_difference, t_mean
from valuefree.evaluation.stats.resampling import expanded_quantile

SCORES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


def win_rates(sets, prompts, seed, weights=(0.1, 0.05, 0.15, 0.1, 0.6)):
    return np.random.default_rng(seed).choice(SCORES, (sets, prompts), p=weights), float(SCORES @ np.array(weights))


def share_covered(estimates, truth):
    return float(np.mean([e.interval[0] <= truth <= e.interval[1] for e in estimates]))


# 2,000 data sets: the share has a standard error of 0.005.


def test_95_percent_intervals_of_200_win_rates_hold_the_truth_in_95_of_100_data_sets():
    data, truth = win_rates(2000, 200, seed=0)
    found = [bootstrap_mean(row, seed=number, resamples=1000) for number, row in enumerate(data)]
    assert 0.93 <= share_covered(found, truth) <= 0.97


def test_95_percent_intervals_of_48_win_rates_hold_the_truth_too():
    data, truth = win_rates(2000, 48, seed=1)
    found = [bootstrap_mean(row, seed=number, resamples=1000) for number, row in enumerate(data)]
    assert 0.93 <= share_covered(found, truth) <= 0.97


def test_intervals_of_several_rows_per_prompt_hold_the_truth():
    """Three rows a prompt that share the prompt's effect; as independent rows they would cover some 75 %."""
    generator = np.random.default_rng(2)
    prompt = np.repeat(np.arange(200), 3)
    clustered, rowwise = [], []
    for seed in range(2000):
        rows = generator.normal(0.4, 1, 200)[prompt] + generator.normal(0, 0.5, 600)
        clustered.append(clustered_mean(rows, prompt.tolist(), seed=seed, resamples=1000))
        if seed < 300:
            rowwise.append(bootstrap_mean(rows, seed=seed, resamples=500))
    assert 0.93 <= share_covered(clustered, 0.4) <= 0.97
    assert share_covered(rowwise, 0.4) < 0.85


def test_intervals_of_paired_differences_hold_the_truth():
    generator = np.random.default_rng(3)
    found = []
    for seed in range(2000):
        difficulty = generator.normal(0, 3, 200)
        first, second = (difficulty + generator.gamma(2, 1, 200) for _ in range(2))
        found.append(paired_difference(first + 0.3, second, seed=seed, resamples=1000))
    assert 0.93 <= share_covered(found, 0.3) <= 0.97


def test_from_200_prompts_on_the_interval_is_that_of_scipy():
    data = win_rates(1, 250, seed=4)[0][0]
    rng = np.random.default_rng(7)
    theirs = stats.bootstrap((data,), np.mean, n_resamples=10_000, batch=1000, method="percentile", rng=rng)
    assert bootstrap_mean(data, seed=7).interval == pytest.approx(theirs.confidence_interval, abs=1e-12)


@pytest.mark.parametrize("prompts", [20, 48, 199])
def test_below_200_prompts_it_is_the_bca_of_scipy_at_the_expanded_level(prompts):
    """BCa maps a normal quantile z to a level of the draws; with t·√(n/(n − 1)) for z it is BCa at another level."""
    data = np.random.default_rng(prompts).exponential(size=prompts)
    quantile = stats.t.ppf(0.975, prompts - 1) * math.sqrt(prompts / (prompts - 1))
    theirs = stats.bootstrap(
        (data,),
        np.mean,
        n_resamples=10_000,
        batch=1000,
        confidence_level=2 * stats.norm.cdf(quantile) - 1,
        method="BCa",
        rng=np.random.default_rng(7),
    )
    assert bootstrap_mean(data, seed=7).interval == pytest.approx(theirs.confidence_interval, rel=1e-4)
    assert expanded_quantile(prompts, 0.95) == pytest.approx(quantile)


def test_on_normal_data_the_expanded_interval_is_as_wide_as_students():
    generator = np.random.default_rng(5)
    ratios = []
    for seed in range(100):
        data = generator.normal(size=20)
        ours, student = bootstrap_mean(data, seed=seed, resamples=4000).interval, t_mean(data).interval
        ratios.append((ours[1] - ours[0]) / (student[1] - student[0]))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)


def test_seeded():
    data = [0.0, 1.0, 0.5, 0.2]
    assert bootstrap_mean(data, seed=4) == bootstrap_mean(data, seed=4)
    assert bootstrap_mean(win_rates(1, 300, 0)[0][0]) != bootstrap_mean(win_rates(1, 300, 0)[0][0], seed=1)


def test_edges():
    assert bootstrap_mean([2.0]).interval is None
    assert bootstrap_mean([2.0, 2.0]).interval is None
    assert bootstrap_mean([0.0, 1.0], bounds=(0, 1)).interval == (0.0, 1.0)
    with pytest.raises(DataError, match="within"):
        bootstrap_mean([0.0, 1.5], bounds=(0, 1))
    assert all(math.isfinite(bound) for bound in bootstrap_mean([0.0, 0.0, 5.0]).interval)
    for wrong in ([], [math.nan, 1.0], [[1.0]], [None, 1.0], ["a"]):
        with unchecked(), pytest.raises(DataError):
            bootstrap_mean(wrong)


def test_clusters_are_resampled_whole():
    """Ten copies of each of four values are four observations, not forty."""
    values = [0.0, 1.0, 2.0, 3.0] * 10
    clustered = clustered_mean(values, ["a", "b", "c", "d"] * 10)
    assert clustered.n == 4
    assert clustered.value == 1.5
    narrow = bootstrap_mean(values).interval
    assert clustered.interval[1] - clustered.interval[0] > 2 * (narrow[1] - narrow[0])


def test_prompts_weigh_the_same_however_many_rows_they_have():
    assert clustered_mean([0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"]).value == 0.5
    with pytest.raises(DataError, match="3 clusters for 4 rows"):
        clustered_mean([0.0, 0.0, 0.0, 1.0], ["a", "a", "b"])


def test_what_is_common_to_both_systems_cancels():
    """Differences .1, .3, .2, whatever the prompt adds."""
    second = [0.0, 100.0, -50.0]
    found = paired_difference([0.1, 100.3, -49.8], second)
    assert found.value == pytest.approx(0.2)
    assert found.interval == pytest.approx(t_mean([0.1, 0.3, 0.2]).interval)  # resamples of three end at their values
    swapped = paired_difference(second, [0.1, 100.3, -49.8])
    assert swapped.value == pytest.approx(-0.2)


def test_paired_rows_of_one_prompt_are_one_observation():
    first, second = [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]
    found = paired_difference(first, second, ["a", "a", "b"])
    assert (found.value, found.n) == (1.0, 2)  # prompt a: 2, prompt b: 0


def test_pairs_that_do_not_match_are_named():
    with pytest.raises(DataError, match="first 2, second 1"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="`second`"):
        paired_difference([1.0, 2.0], [1.0, math.nan])


def test_students_interval_by_hand():
    """1, 2, 3: mean 2, standard error 1/√3, t(.975, 2) = 4.3027."""
    found = t_mean([1.0, 2.0, 3.0])
    assert found.interval == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), rel=1e-5)


def test_runs_and_prompts_by_hand():
    """Means of runs 1, 3, of prompts 1, 2, 3; mean squares 6 and 2 of them, 0 of their interaction: (6 + 2) / 6 = 4/3.

    Satterthwaite's degrees of freedom are 8² / (6² / 1 + 2² / 2) = 64 / 38.
    """
    found = crossed_mean(np.array([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]))
    half = stats.t.ppf(0.975, 64 / 38) * math.sqrt(4 / 3)
    assert (found.value, found.n) == (2.0, 3)
    assert found.interval == pytest.approx((2 - half, 2 + half))


def test_one_run_is_students_interval_over_prompts_and_one_prompt_that_over_runs():
    values = [0.0, 1.0, 0.5, 0.25]
    assert crossed_mean(np.array([values])) == t_mean(values)
    assert crossed_mean(np.array([values]).T).interval == t_mean(values).interval
    assert crossed_mean(np.array([values]).T).n == 1
    assert crossed_mean(np.ones((3, 4))).interval is None


def test_runs_that_are_equal_leave_the_interval_over_prompts():
    values = [0.0, 1.0, 0.5, 0.25]
    assert crossed_mean(np.array([values] * 3)).interval == pytest.approx(t_mean(values).interval)


def test_intervals_over_runs_and_prompts_hold_the_truth_where_those_over_prompts_do_not():
    """Three runs whose means have a standard deviation of .03 between seeds."""
    generator = np.random.default_rng(8)
    crossed, prompts = [], []
    for _ in range(2000):
        data = generator.normal(0, 0.15, 80) + generator.normal(0, 0.03, (3, 1)) + generator.normal(0, 0.2, (3, 80))
        crossed.append(crossed_mean(data))
        prompts.append(t_mean(data.mean(axis=0)))
    assert 0.93 <= share_covered(crossed, 0.0) <= 0.97
    assert share_covered(prompts, 0.0) < 0.9
