"""Intervals of a few prompts, and of prompts that all agree: they hold the truth, and never have width zero."""

import math

import numpy as np
import pytest
from scipy import stats

from valuefree.evaluation.stats import (
    bootstrap_mean,
    bradley_terry,
    clustered_mean,
    cohen_kappa,
    length_controlled_win_rate,
    sign_test,
    t_mean,
)
from valuefree.evaluation.stats.resampling import unanimous_interval

SHARE = (0.0, 1.0)


def rate_of(losses, ties, wins):
    scores = [0.0] * losses + [0.5] * ties + [1.0] * wins
    return bootstrap_mean(scores, bounds=SHARE, resamples=2000).interval


@pytest.mark.parametrize("prompts", [2, 5, 10, 20])
@pytest.mark.parametrize("ties", [0.0, 0.2])
def test_intervals_of_few_win_rates_hold_the_truth_in_95_of_100_data_sets(prompts, ties):
    """All outcomes, each as often as it happens: no noise of a simulation. The truth is the mean of 0, ½ and 1."""
    outcomes = [(losses, t, prompts - losses - t) for t in range(prompts + 1) for losses in range(prompts + 1 - t)]
    outcomes = [counts for counts in outcomes if ties or not counts[1]]
    intervals = [rate_of(*counts) for counts in outcomes]
    for wins in (0.5, 0.8, 0.95):
        chances = ((1 - wins) * (1 - ties), ties, wins * (1 - ties))
        truth = chances[2] + ties / 2
        often = stats.multinomial.pmf(outcomes, prompts, chances)
        held = [low <= truth <= high for low, high in intervals]
        assert float(often @ held) >= 0.95, (wins, ties)


def test_clusters_of_several_answers_hold_the_truth():
    """Three answers a prompt, whose chance to win differs by prompt: a mean of .8."""
    generator = np.random.default_rng(0)
    for prompts in (2, 5, 10):
        held = 0
        for seed in range(400):
            chances = generator.beta(4, 1, prompts)
            scores = (generator.random((prompts, 3)) < chances[:, None]).astype(float).ravel()
            keys = np.repeat(np.arange(prompts), 3).tolist()
            low, high = clustered_mean(scores, keys, bounds=SHARE, seed=seed, resamples=500).interval
            held += low <= 0.8 <= high
        assert held / 400 >= 0.93  # 400 data sets: the share has a standard error of 0.011


@pytest.mark.parametrize("prompts", [2, 5, 6, 48, 300])
def test_unanimous_wins_have_the_interval_of_clopper_and_pearson(prompts):
    found = stats.binomtest(prompts, prompts).proportion_ci(method="exact")
    assert bootstrap_mean([1.0] * prompts, bounds=SHARE).interval == pytest.approx((found.low, found.high))
    lost = bootstrap_mean([0.0] * prompts, bounds=SHARE).interval
    assert lost == pytest.approx((1 - found.high, 1 - found.low), abs=1e-12)


@pytest.mark.parametrize("prompts", range(2, 12))
def test_unanimous_wins_exclude_a_half_where_the_sign_test_does(prompts):
    low, _ = bootstrap_mean([1.0] * prompts, bounds=SHARE).interval
    assert (low > 0.5) == (sign_test(prompts, 0) < 0.05)


def test_all_neutral_leaves_both_sides_open():
    """Of 10 prompts up to 1 − .025^(1/10) = .3085 may win, or lose: ½ ± .3085/2."""
    assert bootstrap_mean([0.5] * 10, bounds=SHARE).interval == pytest.approx((0.3458, 0.6542), abs=1e-4)


def test_a_few_values_on_one_side_are_not_certain_either():
    """The smallest, .75, of two: .75·.1581 if the unseen 84 % were 0; resamples would end at .75."""
    assert bootstrap_mean([0.75, 1.0], bounds=SHARE).interval == pytest.approx((0.75 * 0.025**0.5, 1.0))


def test_a_tie_among_wins_does_not_make_them_more_certain():
    """Resamples of four wins and a tie end above .6; five wins, which are more, have .025^(1/5) = .478."""
    assert rate_of(0, 1, 4)[0] == pytest.approx(0.025**0.2)
    assert rate_of(4, 1, 0)[1] == pytest.approx(1 - 0.025**0.2)


def test_without_bounds_an_end_at_the_last_value_is_students():
    assert bootstrap_mean([0.1, 0.2]).interval == pytest.approx(t_mean([0.1, 0.2]).interval)
    low, high = bootstrap_mean([0.0, 0.0, 5.0]).interval
    assert low < 0.0 < 5.0 < high


def test_values_that_do_not_differ_give_no_interval_without_bounds():
    assert bootstrap_mean([1.0] * 48).interval is None
    assert bootstrap_mean([0.3 - 0.1, 0.2, 1.2 - 1.0]).interval is None  # equal but for rounding
    assert bootstrap_mean([8.0] * 5, bounds=(0.0, math.inf)).interval is None
    assert t_mean([0.5, 0.5, 0.5]).interval is None


def test_judges_that_always_agree_are_not_certain_to():
    """20 rows, ten of each label: chance ½; the share that agrees is at least .025^(1/20) = .8316."""
    found = cohen_kappa(["A", "B"] * 10, ["A", "B"] * 10)
    assert found.kappa.value == 1.0
    low = 0.025 ** (1 / 20)
    assert found.kappa.interval == pytest.approx(((low - 0.5) / 0.5, 1.0))
    assert found.reason is None


def test_the_rate_at_equal_length_of_unanimous_wins_is_as_uncertain_as_the_raw_one():
    found = length_controlled_win_rate([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.rate.interval == pytest.approx((0.025**0.2, 1.0))


def test_a_ranking_of_two_takes_in_the_losses_that_were_not_seen():
    found = bradley_terry(["a"] * 5, ["b"] * 5, [1.0] * 5)
    assert found.probability("a", "b").interval == pytest.approx((0.025**0.2, 1.0))
    assert found.probability("b", "a").interval == pytest.approx((0.0, 1 - 0.025**0.2))
    low, high = found.strengths[0].interval
    assert low == pytest.approx(math.log(0.025**0.2 / (1 - 0.025**0.2)) / 2)
    assert high == math.inf


def test_a_unanimous_pair_widens_the_strengths_of_that_pair_alone_in_sum():
    """a and b take turns, c loses to both: the ends of c are open below, those of a and b above."""
    first, second = ["a", "a", "b"] * 12, ["b", "c", "c"] * 12
    scores = [score for turn in range(12) for score in (float(turn % 2), 1.0, 1.0)]
    found = bradley_terry(first, second, scores, clusters=[n // 3 for n in range(36)])
    a, b, c = (strength.interval for strength in found.strengths)
    assert a[1] == b[1] == math.inf
    assert c[0] == -math.inf
    assert found.probability("a", "c").interval[0] <= 0.025 ** (1 / 12)
    low, high = found.probability("a", "b").interval
    assert 0.0 < low < 0.5 < high < 1.0


def test_ties_alone_leave_a_ranking_open_on_both_sides():
    low, high = bradley_terry(["a"] * 4, ["b"] * 4, [0.5] * 4).probability("a", "b").interval
    assert (low, high) == pytest.approx(unanimous_interval(0.5, 4, bounds=SHARE))
