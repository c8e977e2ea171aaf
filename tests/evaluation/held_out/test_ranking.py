"""Pairs, permutations: by hand, by enumeration, and against scipy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from held_out_logs import gaussian_rows, rows_of
from valuefree.errors import DataError
from valuefree.evaluation.held_out.contrasts import comparison_of, contrasts_of
from valuefree.evaluation.held_out.ranking import (
    accuracy_difference,
    accuracy_estimates,
    concordance,
    permutation_p,
    permutation_z,
    rank_pairs,
)


def ranked(rows, by="pairs", values=None):
    contrasts = contrasts_of(rows, by)
    return rank_pairs(contrasts, contrasts.logratios if values is None else values)


def test_accuracy_by_hand():
    """Prompt 0: rewards 1 < 2 < 3 and log-ratios 0, 0, -1: a tie (½) and two pairs that disagree. Prompt 1: 1 of 1."""
    found = ranked(rows_of([0, 0, -1, 1, 5], [1, 2, 3, 0, 1], [0, 0, 0, 1, 1]))
    assert found.pairs == 4
    assert found.accuracy == 1.5 / 4


def test_pairs_are_pooled_not_averaged_over_prompts():
    """Three pairs of one prompt, all right, and one of another, wrong: ¾, where the mean of the prompts is ½."""
    assert ranked(rows_of([1, 2, 3, 1, 0], [1, 2, 3, 0, 1], [0, 0, 0, 1, 1])).accuracy == 0.75


def test_counts_equal_those_of_all_pairs():
    generator = np.random.default_rng(0)
    values, rewards, block = (generator.integers(0, high, 200).astype(float) for high in (6, 5, 4))
    agreeing, compared = concordance(values, rewards, block.astype(int))
    same = block[:, None] == block[None]
    order = np.sign(rewards[:, None] - rewards[None]) * same
    agree = (np.sign(values[:, None] - values[None]) * order + 1) / 2 * (order != 0)
    assert np.array_equal(compared, (order != 0).sum(axis=1))
    assert np.array_equal(agreeing, agree.sum(axis=1))


def test_one_response_per_prompt_gives_the_area_under_the_curve():
    generator = np.random.default_rng(1)
    rewards = generator.integers(0, 2, 60).astype(float)
    logratios = np.round(generator.normal(size=60) + 0.5 * rewards, 1)  # with ties
    found = ranked(rows_of(logratios, rewards, np.arange(60)), "rows")
    wins = stats.mannwhitneyu(logratios[rewards == 1], logratios[rewards == 0]).statistic
    assert found.accuracy == pytest.approx(wins / ((rewards == 1).sum() * (rewards == 0).sum()))


def test_standard_error_of_the_area_is_delongs():
    generator = np.random.default_rng(2)
    rewards = np.repeat([0.0, 1.0], [40, 60])
    logratios = generator.normal(size=100) + rewards
    found = ranked(rows_of(logratios, rewards, np.arange(100)), "rows")
    wins = (logratios[rewards == 1][:, None] > logratios[rewards == 0][None]).astype(float)
    delong = np.sqrt(wins.mean(axis=1).var(ddof=1) / 60 + wins.mean(axis=0).var(ddof=1) / 40)
    assert found.standard_error() == pytest.approx(delong, rel=0.01)


def test_standard_error_of_pairs_is_the_spread_of_its_estimates():
    found = [ranked(gaussian_rows(100, 3, seed=seed)) for seed in range(200)]
    spread = np.std([one.accuracy for one in found], ddof=1)
    assert np.mean([one.standard_error() for one in found]) == pytest.approx(spread, rel=0.15)


def test_the_untouched_reference_has_exactly_half_and_no_interval():
    for by in ("pairs", "rows"):
        (estimate,) = accuracy_estimates([ranked(rows_of(np.zeros(6), range(6), [0, 0, 1, 1, 2, 2]), by)], seed=0)
        assert (estimate.value, estimate.interval) == (0.5, None)


def test_pairs_that_all_agree_have_the_interval_of_clopper_and_pearson():
    rows = rows_of(np.tile([0, 1], 10), np.tile([0, 1], 10), np.repeat(np.arange(10), 2))
    (estimate,) = accuracy_estimates([ranked(rows)], seed=0)
    assert estimate.interval == pytest.approx((0.025 ** (1 / 10), 1.0))


def exact_permutations(rows):
    """T under each permutation of the rewards within prompts."""
    centred = rows.logratios - (np.bincount(rows.prompt_of, rows.logratios) / rows.counts)[rows.prompt_of]
    groups = [np.flatnonzero(rows.prompt_of == prompt) for prompt in range(rows.prompts)]
    sums = [[float(centred[g] @ rows.rewards[list(p)]) for p in itertools.permutations(g)] for g in groups]
    return np.array([sum(parts) for parts in itertools.product(*sums)])


def test_permutation_p_and_z_equal_those_of_all_permutations():
    rows = rows_of([0.3, -0.2, 1.1, 0.4, 0.5, 0.1, 0.9], [1, 0, 2, 3, 2, 0, 1], [0, 0, 0, 1, 1, 1, 1])
    every = exact_permutations(rows)  # 6 · 24
    contrasts = contrasts_of(rows, "pairs")
    observed = float(contrasts.centred[0] @ contrasts.centred[1])
    exact = float((every >= observed - 1e-9).mean())
    assert 0.05 < exact < 0.6
    assert permutation_p(contrasts, seed=0) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999) + 1e-4)
    assert every.mean() == pytest.approx(0, abs=1e-12)
    assert permutation_z(contrasts) == pytest.approx(observed / every.std())


def test_rows_are_permuted_among_prompts_with_as_many_rows():
    """Prompts 0 to 2 have one row and prompt 3 has two: 3! permutations, of which the identity is the largest."""
    contrasts = contrasts_of(rows_of([1, 2, 3, 9, 9], [1, 2, 3, 9, 9], [0, 1, 2, 3, 3]), "rows")
    assert permutation_p(contrasts, seed=0) == pytest.approx(1 / 6, abs=0.015)


def test_half_or_twenty_varied_prompts_are_compared_within():
    varied, constant = [0, 1], [1, 1]
    for prompts, first, by in ((4, 2, "pairs"), (4, 1, "rows"), (100, 20, "pairs"), (100, 19, "rows")):
        rewards = np.array([varied] * first + [constant] * (prompts - first)).ravel()
        assert comparison_of(rows_of(rewards, rewards, np.repeat(np.arange(prompts), 2))) == by


def test_equal_rewards_cannot_be_ranked():
    with pytest.raises(DataError, match="all 4 held-out rewards are 2"):
        comparison_of(rows_of(range(4), [2] * 4))
    with pytest.raises(DataError, match="nothing can be ranked"):
        ranked(rows_of(range(4), [1, 1, 2, 2], [0, 0, 1, 1]))


@pytest.mark.parametrize(("responses", "by"), [(3, "pairs"), (1, "rows")])
def test_difference_of_a_policy_with_itself_is_zero_and_with_noise_is_not(responses, by):
    rows = gaussian_rows(150, responses)
    first, noise = ranked(rows, by), np.random.default_rng(5).normal(size=150 * responses)
    second = ranked(rows, by, noise)
    same = accuracy_difference(first, first, seed=0)
    assert (same.value, same.interval) == (0.0, None)
    difference = accuracy_difference(first, second, seed=0)
    assert difference.value == pytest.approx(first.accuracy - second.accuracy)
    assert difference.interval is not None
    assert 0 < difference.interval[0] < difference.value < difference.interval[1]
