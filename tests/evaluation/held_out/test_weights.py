"""Gain, KL and checks: a policy of two actions, for which all is known exactly; coverage by simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from held_out_logs import gaussian_rows, rows_of
from valuefree.evaluation.held_out import measure
from valuefree.evaluation.held_out.intervals import controlled, skewed_estimate, skewed_mean
from valuefree.evaluation.held_out.weights import baselines, estimate_gain, gain_terms, weigh

REFERENCE, POLICY = 0.5, 0.7  # probability of the good action


def two_actions(responses, copies=10):
    """Every outcome of `responses` draws of the reference, each as often as it happens; the reward is the action."""
    actions = np.array(list(itertools.product([0, 1], repeat=responses)) * copies)
    logratios = np.where(actions == 1, np.log(POLICY / REFERENCE), np.log((1 - POLICY) / (1 - REFERENCE)))
    return rows_of(logratios.ravel(), actions.ravel(), np.repeat(np.arange(len(actions)), responses))


@pytest.mark.parametrize("responses", [2, 4])
def test_gain_and_divergences_of_two_actions_are_exact(responses):
    rows = two_actions(responses)
    gain = estimate_gain(rows, weigh(rows), tau=0.5)
    assert gain.mean_weight.value == pytest.approx(1)
    assert gain.effective_share == pytest.approx(1 / (POLICY**2 / REFERENCE + (1 - POLICY) ** 2 / (1 - REFERENCE)))
    assert gain.plain == pytest.approx(POLICY - REFERENCE)
    assert gain.gain.value == pytest.approx(POLICY - REFERENCE)
    assert gain.self_normalised.value == pytest.approx(POLICY - REFERENCE)
    forward = stats.entropy([POLICY, 1 - POLICY], [REFERENCE, 1 - REFERENCE])
    assert gain.kl_policy.value == pytest.approx(forward)
    assert gain.kl_reference.value == pytest.approx(stats.entropy([REFERENCE, 1 - REFERENCE], [POLICY, 1 - POLICY]))
    assert gain.objective is not None
    assert gain.objective.value == pytest.approx(POLICY - REFERENCE - 0.5 * forward)


def test_one_response_uses_the_other_prompts_as_baseline():
    """The sample covariance of w and r over P prompts: exact up to P / (P − 1)."""
    rows = two_actions(1)
    assert estimate_gain(rows, weigh(rows), tau=None).plain == pytest.approx((POLICY - REFERENCE) * 20 / 19)


def test_terms_of_several_responses_are_sample_covariances():
    rows = gaussian_rows(5, 4)
    weights = np.exp(rows.logratios)
    terms = gain_terms(rows, weights, baselines(rows))
    expected = [np.cov(w, r)[0, 1] for w, r in zip(weights.reshape(5, 4), rows.rewards.reshape(5, 4), strict=True)]
    assert terms == pytest.approx(np.array(expected))


def test_baselines_by_hand():
    """Prompt 0 has rewards 1, 2, 6; prompts 1 and 2 have 4 and 9, and the means of the others are 6 and 3.5."""
    rows = rows_of(np.zeros(5), [1, 2, 6, 4, 9], [0, 0, 0, 1, 2])
    assert baselines(rows).tolist() == [4, 3.5, 1.5, 6, 3.5]
    assert baselines(rows, np.array([0.0, -1.0, -2.0])).tolist() == [4, 3.5, 1.5, -1, -2]


def test_constants_change_the_gain_only_where_they_should():
    """A constant per prompt added to the rewards cancels; with one response only a constant for all does."""
    rows = gaussian_rows(30, 3)
    shift = np.arange(30.0)[rows.prompt_of]
    moved = rows_of(rows.logratios, rows.rewards + shift, rows.prompt_of, rows.lengths)
    first, second = (estimate_gain(each, weigh(each), tau=None) for each in (rows, moved))
    assert first.gain.value == pytest.approx(second.gain.value)
    assert first.self_normalised.value == pytest.approx(second.self_normalised.value)
    single = gaussian_rows(50, 1)
    moved = rows_of(single.logratios, single.rewards + 7, single.prompt_of, single.lengths)
    first, second = (estimate_gain(each, weigh(each), tau=None) for each in (single, moved))
    assert first.gain.value == pytest.approx(second.gain.value)
    assert first.self_normalised.value == pytest.approx(second.self_normalised.value)


def test_the_untouched_reference_gains_nothing():
    rows = gaussian_rows(30, 1)
    same = rows_of(np.zeros(30), rows.rewards, rows.prompt_of, rows.lengths)
    gain = estimate_gain(same, weigh(same), tau=0.1)
    assert (gain.gain.value, gain.self_normalised.value, gain.kl_policy.value) == (0, 0, 0)
    assert gain.gain.interval is None
    assert weigh(same).failed() is None


def test_huge_log_ratios_fail_the_check_without_overflow():
    rows = gaussian_rows(40, 2)
    found = measure(rows_of(rows.logratios * 1e5, rows.rewards, rows.prompt_of, rows.lengths), tau=0.1)
    assert found.gain is None
    assert found.no_gain is not None
    assert "effective sample size is 1 % of the rows" in found.no_gain
    assert found.effective_share is not None
    assert np.isfinite(found.effective_share)


def test_rows_of_another_sampler_fail_by_the_mean_weight():
    rows = gaussian_rows(200, 2, kl=0.02)
    found = measure(rows_of(rows.logratios + 0.3, rows.rewards, rows.prompt_of, rows.lengths))
    assert found.gain is None
    assert found.no_gain is not None
    assert "must average 1 on rows that the reference wrote, and they average" in found.no_gain
    assert found.mean_weight is not None
    assert found.mean_weight.value == pytest.approx(np.exp(0.3), abs=0.05)


def test_few_prompts_have_no_gain():
    assert weigh(gaussian_rows(19, 4, kl=0.02)).failed() is not None
    assert weigh(gaussian_rows(20, 4, kl=0.02)).failed() is None


# ------------------------------------------------------------------------------------------------------------ intervals


def test_without_skewness_the_interval_is_students():
    values = np.concatenate([np.arange(20.0), -np.arange(20.0)])
    expected = stats.t.interval(0.95, 39, 0, values.std(ddof=1) / np.sqrt(40))
    assert skewed_mean(values).interval == pytest.approx(expected)


def test_a_long_right_tail_moves_the_upper_end_and_keeps_students_lower_end():
    values = np.exp(np.random.default_rng(0).normal(size=60))
    low, high = stats.t.interval(0.95, 59, values.mean(), values.std(ddof=1) / np.sqrt(60))
    found = skewed_mean(values).interval
    assert found is not None
    assert found[0] == pytest.approx(low)
    assert found[1] > high
    mirrored = skewed_mean(-values).interval
    assert mirrored == pytest.approx((-found[1], -found[0]))


def test_the_transformation_is_inverted():
    """g(T) of Hall at the upper end is Student's quantile."""
    values = np.exp(np.random.default_rng(1).normal(size=50))
    found = skewed_mean(values)
    assert found.interval is not None
    statistic = (found.value - found.interval[1]) / (values.std(ddof=1) / np.sqrt(50))
    a = stats.skew(values) / np.sqrt(50)
    transformed = statistic + a * statistic**2 / 3 + a**2 * statistic**3 / 27 + a / 6
    assert transformed == pytest.approx(-stats.t.ppf(0.975, 49))


def test_one_value_and_equal_values_have_no_interval():
    assert skewed_mean(np.array([2.0])).interval is None
    assert skewed_mean(np.full(9, 0.1)).interval is None


def test_the_control_variate_is_the_intercept_of_a_regression():
    generator = np.random.default_rng(2)
    control = generator.normal(size=40) + 0.2
    values = 3 + 2 * control + generator.normal(size=40)
    value, influence = controlled(values, control)
    assert value == pytest.approx(stats.linregress(control, values).intercept)
    classical = stats.linregress(control, values).intercept_stderr
    assert influence.std(ddof=1) / np.sqrt(40) == pytest.approx(classical, rel=0.2)
    assert controlled(values, np.full(40, 0.3))[0] == pytest.approx(values.mean())


def test_the_interval_of_the_gain_covers_and_half_of_it_does_not():
    """Student's interval of Ĝ covers less: 320 prompts, KL .3, rewards that follow the log-ratio."""
    truth, held, half, student = 0.8 * np.sqrt(0.6), 0, 0, 0
    for seed in range(400):
        rows = gaussian_rows(320, 1, correlation=0.8, kl=0.3, seed=seed)
        weighted = weigh(rows)
        gain = estimate_gain(rows, weighted, tau=None).gain
        assert gain.interval is not None
        held += gain.interval[0] <= truth <= gain.interval[1]
        low, high = ((end + gain.value) / 2 for end in gain.interval)
        half += low <= truth <= high
        terms = gain_terms(rows, weighted.weights, baselines(rows))
        student += abs(terms.mean() - truth) <= stats.t.ppf(0.975, 319) * terms.std(ddof=1) / np.sqrt(320)
    assert 0.92 <= held / 400 <= 0.985
    assert half / 400 < 0.8
    assert student < held


def test_influence_of_the_gain_is_its_spread():
    values = [
        estimate_gain(rows, weigh(rows), tau=None).gain for rows in (gaussian_rows(100, 2, seed=s) for s in range(300))
    ]
    widths = [each.interval[1] - each.interval[0] for each in values if each.interval]
    assert np.mean(widths) / 4 == pytest.approx(np.std([each.value for each in values]), rel=0.15)
    assert skewed_estimate(1.0, np.zeros(5)).interval is None
