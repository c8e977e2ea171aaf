"""V̂(x): values worked by hand, invariances, and limits that tie the estimators together."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from valuefree.errors import ConfigError, DataError
from valuefree.partition import ESTIMATORS, partition_values, rank_rewards
from valuefree.partition.segments import log1mexp, segment_logsumexp

LOGS = [math.log(p) for p in (0.5, 0.3, 0.2)]


def values(rewards, logps, prompt_of, **knobs):
    return partition_values(rewards, logps, prompt_of, **{"tau": 1.0, **knobs})


def test_full_observation_gives_the_log_partition():
    # Z = .5e + .3 + .2/e
    assert values([1, 0, -1], LOGS, [0, 0, 0]).item() == pytest.approx(0.549690582760, abs=1e-12)


def test_two_of_three_observed():
    rewards, logps, prompt_of = [1, -1], [LOGS[0], LOGS[2]], [0, 0]
    assert values(rewards, logps, prompt_of).item() == pytest.approx(0.359572503680, abs=1e-12)
    monte_carlo = values(rewards, logps, prompt_of, estimator="monte_carlo").item()
    assert monte_carlo == pytest.approx(math.log(math.cosh(1)), abs=1e-12)


def test_reference_misses_the_truth_by_the_log_coverage_of_the_optimum():
    optimum = 0.78439876 + 0.04246273
    bias = values([1, -1], [LOGS[0], LOGS[2]], [0, 0]).item() - 0.549690582760
    assert bias == pytest.approx(math.log(optimum), abs=1e-7)


def test_very_improbable_responses_and_a_small_temperature():
    data = ([2, -1, 3], [-5000, -4990, -5100], [0, 0, 0])
    assert values(*data, tau=0.01).item() == pytest.approx(-47.9930685281944, abs=1e-9)
    assert values(*data, tau=0.01, estimator="monte_carlo").item() == pytest.approx(2.989013877113, abs=1e-11)


def test_output_is_float64_on_the_cpu_without_gradient():
    rewards = torch.tensor([1.0, 2.0], requires_grad=True)
    result = values(rewards, torch.zeros(2), [0, 1])
    assert (result.dtype, result.device.type, result.requires_grad) == (torch.float64, "cpu", False)


def test_prompts_in_any_order():
    rewards, logps = [1.0, 5.0, 2.0, 6.0], [-1.0, -2.0, -3.0, -4.0]
    for estimator in ESTIMATORS:
        knobs = {"estimator": estimator, "features": torch.tensor([[1.0], [3.0]])}
        mixed = values(rewards, logps, [1, 0, 1, 0], **knobs)
        sorted_ = values([5.0, 6.0, 1.0, 2.0], [-2.0, -4.0, -1.0, -3.0], [0, 0, 1, 1], **knobs)
        torch.testing.assert_close(mixed, sorted_)


@settings(deadline=None)  # shapes are checked at every call
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6), st.floats(-5, 5), st.floats(0.2, 3))
def test_a_shift_of_the_rewards_shifts_the_value(rewards, shift, tau):
    logps = [-1.0 - k for k in range(len(rewards))]
    prompt_of = [k % 2 for k in range(len(rewards))]
    moved = [r + shift for r in rewards]
    for estimator in ("reference", "monte_carlo", "coverage", "mean", "pooled"):
        before = values(rewards, logps, prompt_of, tau=tau, estimator=estimator)
        after = values(moved, logps, prompt_of, tau=tau, estimator=estimator)
        torch.testing.assert_close(after, before + shift, atol=1e-8, rtol=1e-8)


def test_a_shift_of_one_prompt_moves_that_prompt_alone():
    logps = [-1.0, -2.0, -1.5, -0.5]
    for estimator in ("monte_carlo", "coverage", "reference"):
        before = values([1, 0, 2, 3], logps, [0, 0, 1, 1], estimator=estimator)
        after = values([1, 0, 7, 8], logps, [0, 0, 1, 1], estimator=estimator)
        torch.testing.assert_close(after, before + torch.tensor([0.0, 5.0], dtype=torch.float64))


def test_constant_rewards_give_target_zero_except_under_eq_19():
    logps, prompt_of = [LOGS[0], LOGS[2]], [0, 0]
    for estimator in ("monte_carlo", "coverage", "mean", "pooled"):
        assert values([2, 2], logps, prompt_of, estimator=estimator).item() == pytest.approx(2)
    assert 2 - values([2, 2], logps, prompt_of).item() == pytest.approx(math.log(1 / 0.7))


def test_one_response_ignores_its_reward_under_eq_19():
    """V̂ = τℓ + r, so the target (r − V̂)/τ = −ℓ: log π_θ = 0 for a thumbs-down as for a thumbs-up."""
    for reward in (-1.0, 1.0):
        assert reward - values([reward], [-7.0], [0]).item() == pytest.approx(7.0)
    assert values([-1.0], [-7.0], [0], estimator="monte_carlo").item() == -1.0


def test_coverage_runs_from_monte_carlo_to_eq_19():
    rewards, prompt_of = [1.0, 0.0, -1.0], [0, 0, 0]
    full = values(rewards, LOGS, prompt_of, estimator="coverage")
    torch.testing.assert_close(full, values(rewards, LOGS, prompt_of))
    rare = [ell - 800 for ell in LOGS]
    none = values(rewards, rare, prompt_of, estimator="coverage")
    torch.testing.assert_close(none, values(rewards, rare, prompt_of, estimator="monte_carlo"))


def test_coverage_off_policy_takes_the_mean_for_what_is_unseen():
    # observed .5e + .2/e, unseen .3·e^{r̄} with r̄ = 0: exactly Z, as the unseen reward is 0
    result = values([1, -1], [LOGS[0], LOGS[2]], [0, 0], estimator="coverage", on_policy=False)
    assert result.item() == pytest.approx(math.log(1.732716802464), abs=1e-12)
    on_policy = values([1, -1], [LOGS[0], LOGS[2]], [0, 0], estimator="coverage").item()
    assert on_policy == pytest.approx(math.log(1.895640992908), abs=1e-12)


def test_coverage_above_one_is_clamped():
    assert values([1, 0], [0.0, -0.1], [0, 0], estimator="coverage").isfinite().all()


def test_mean_shrinks_by_the_ratio_of_variances():
    """r̄ = (1, 4), s_w² = (.5 + .5)/(4 − 2) = .5·… = 1/2 + 1/2 over 2 → .5; s_b² = 4.5 − .25 = 4.25; a = 4.25/4.5."""
    result = values([0.5, 1.5, 3.5, 4.5], [0] * 4, [0, 0, 1, 1], estimator="mean")
    weight = 4.25 / 4.5
    expected = [weight * 1 + (1 - weight) * 2.5, weight * 4 + (1 - weight) * 2.5]
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64))


def test_mean_of_singletons_is_the_mean_of_all_and_of_one_prompt_its_own():
    assert values([1, 2, 6], [0] * 3, [0, 1, 2], estimator="mean").tolist() == [3, 3, 3]
    assert values([1, 2], [0] * 2, [0, 0], estimator="mean").tolist() == [1.5]


def test_pooled_with_the_jackknife_by_hand():
    rewards = [[0.0, 1.0, 3.0], [2.0, -1.0, 0.5]]

    def log_mean_exp(row):
        return math.log(sum(map(math.exp, row)) / len(row))

    estimates = [log_mean_exp(row) for row in rewards]
    variances = []
    for row in rewards:
        left_out = [log_mean_exp(row[:k] + row[k + 1 :]) for k in range(3)]
        centre = sum(left_out) / 3
        variances.append(2 / 3 * sum((v - centre) ** 2 for v in left_out))
    middle = sum(estimates) / 2
    between = max(0.0, sum((v - middle) ** 2 for v in estimates) - sum(variances) / 2)
    weights = [between / (between + v) for v in variances]
    expected = [a * v + (1 - a) * middle for a, v in zip(weights, estimates, strict=True)]
    result = values([r for row in rewards for r in row], [0] * 6, [0] * 3 + [1] * 3, estimator="pooled")
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64))


def test_pooled_is_finite_when_one_reward_dominates():
    result = values([0, 0, 9], [0] * 3, [0, 0, 0], tau=0.001, estimator="pooled")
    assert result.item() == pytest.approx(9 - 0.001 * math.log(3))
    mixed = values([0, 0, 9, 1, 4], [0] * 5, [0, 0, 0, 1, 2], tau=0.001, estimator="pooled")
    assert mixed.isfinite().all()


@pytest.mark.parametrize("tau", [1e-3, 1e-17, 1e-30, 1e-305])
def test_pooled_at_small_temperatures_is_the_limit_of_the_largest_rewards(tau):
    """τ → 0: V̂ is the largest reward, and without one response the largest of the others: (3, 3, 3), (4, 9), (5, 2).
    Jackknife variance (n − 1)/n times the sum of squares about their mean: 0, ½·12.5, ½·4.5."""
    rewards, prompt_of = [3.0, 3.0, 1.0, 9.0, 4.0, 2.0, 5.0], [0, 0, 0, 1, 1, 2, 2]
    largest, variances = torch.tensor([3.0, 9.0, 5.0]), torch.tensor([0.0, 6.25, 2.25])
    between = largest.var() - variances.mean()
    weights = between / (between + variances)
    expected = weights * largest + (1 - weights) * largest.mean()
    for shift in (0.0, 1e6):
        found = values([r + shift for r in rewards], [0] * 7, prompt_of, tau=tau, estimator="pooled")
        torch.testing.assert_close(found - shift, expected.double(), atol=max(2 * tau, 1e-6), rtol=0)


def test_monte_carlo_counts_ties_whatever_the_size_of_the_rewards():
    """τ log mean e^{r/τ} of (r, r) is r, of (r, r, −∞) it is r − τ log 3/2; r/τ of 1e300 and beyond is no obstacle."""
    found = values([1e10, 1e10, 7.0, 7.0, -1e300], [0] * 5, [0, 0, 1, 1, 1], tau=1e-300, estimator="monte_carlo")
    assert found.tolist() == [1e10, 7.0]


def test_mid_ranks_with_ties():
    ranks = rank_rewards([5, 1, 5, 9, 7], [0, 0, 0, 0, 1])
    assert ranks.tolist() == [0.5, 0.125, 0.5, 0.875, 0.5]


def test_quantile_is_the_same_for_every_prompt_without_ties():
    result = values([5, 1, 9, -3, 0, 100], [0] * 6, [0, 0, 0, 1, 1, 1], tau=0.3, estimator="quantile")
    expected = 0.3 * math.log(sum(math.exp((k - 0.5) / 3 / 0.3) for k in (1, 2, 3)) / 3)
    assert result.tolist() == pytest.approx([expected] * 2)


def test_quantile_with_reference_samples_equals_simulation():
    """E e^{q̂/τ} for iid continuous rewards and m reference samples is Z_m, not ∫ e^{q/τ} dq."""
    generator = torch.Generator().manual_seed(0)
    m, tau = 3, 0.7
    draws = torch.rand(200_000, m + 1, generator=generator, dtype=torch.float64)
    shares = (draws[:, 1:] <= draws[:, :1]).double().mean(1)
    simulated = tau * (shares / tau).exp().mean().log().item()
    samples = {"reference_rewards": [1, 2, 3], "reference_prompt_of": [0, 0, 0]}
    result = values([0.5], [0.0], [0], tau=tau, estimator="quantile", **samples).item()
    assert result == pytest.approx(simulated, abs=3e-3)
    assert rank_rewards([2, 0], [0, 0], **samples).tolist() == [2 / 3, 0.0]


def test_monte_carlo_uses_reference_samples_when_there_are_any():
    samples = {"reference_rewards": [1, 0, 4], "reference_prompt_of": [1, 0, 1]}
    result = values([9, 9], [0, 0], [0, 1], estimator="monte_carlo", **samples)
    assert result.tolist() == pytest.approx([0.0, math.log((math.e + math.e**4) / 2)])


def test_monte_carlo_is_unbiased_in_the_partition():
    generator = torch.Generator().manual_seed(1)
    rewards = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    draws = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 400_000, replacement=True, generator=generator)
    prompt_of = torch.arange(100_000).repeat_interleave(4)
    estimates = values(rewards[draws], torch.zeros(400_000), prompt_of, estimator="monte_carlo").exp()
    error = estimates.mean().item() - 1.732716802464
    assert abs(error) < 4 * (estimates.std() / 100_000**0.5).item()


def test_duplicates_count_once_with_their_mean_reward():
    single = values([2.0, 0.0], [LOGS[0], LOGS[1]], [0, 0])
    twice = values([1.0, 3.0, 0.0], [LOGS[0], LOGS[0], LOGS[1]], [0, 0, 0], response_of=[5, 5, 2])
    torch.testing.assert_close(single, twice)
    counted = values([1.0, 1.0], [LOGS[0], LOGS[0]], [0, 0]).item()
    assert counted == pytest.approx(values([1.0], [LOGS[0]], [0]).item() + math.log(2))


def test_response_numbers_are_per_prompt():
    result = values([1.0, 2.0], [LOGS[0], LOGS[0]], [0, 1], response_of=[3, 3])
    torch.testing.assert_close(result, values([1.0, 2.0], [LOGS[0], LOGS[0]], [0, 1]))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([1.0], [0.0], [1]), DataError, "without a gap"),
        (([1.0, 2.0], [0.0, 0.0], [0, 2]), DataError, r"\[1\]"),
        (([1.0], [0.0], [-1]), DataError, "negative"),
        (([math.nan], [0.0], [0]), DataError, "not finite"),
        (([1.0], [-math.inf], [0]), DataError, "not finite"),
        (([1.0, 2.0], [0.0], [0, 0]), DataError, "equal counts"),
        (([], [], []), DataError, "no rows"),
    ],
)
def test_unusable_input_says_what_is_wrong(arguments, error, words):
    with pytest.raises(error, match=words):
        values(*arguments)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"tau": 0}, "positive"),
        ({"estimator": "meen"}, "choose from"),
        ({"estimator": "mean", "reference_rewards": [1.0], "reference_prompt_of": [0]}, "not read by"),
        ({"estimator": "monte_carlo", "reference_rewards": [1.0]}, "go together"),
    ],
)
def test_unusable_knobs_say_what_is_wrong(knobs, words):
    with pytest.raises(ConfigError, match=words):
        values([1.0], [0.0], [0], **knobs)


def test_prompts_without_reference_samples_are_named():
    samples = {"reference_rewards": [1.0], "reference_prompt_of": [1]}
    with pytest.raises(DataError, match="1 of 2 prompts have no reference sample"):
        values([1.0, 2.0], [0.0, 0.0], [0, 1], estimator="monte_carlo", **samples)


def test_log1mexp_at_both_ends():
    x = torch.tensor([-1e-12, -800.0, -math.log(2)], dtype=torch.float64)
    assert log1mexp(x).tolist() == pytest.approx([math.log(1e-12), 0.0, -math.log(2)], rel=1e-9)


def test_segment_logsumexp_of_impossible_rows():
    inf = float("inf")
    result = segment_logsumexp(torch.tensor([-inf, -inf, 0.0]), torch.tensor([0, 0, 1]), 2)
    assert result.tolist() == [-inf, 0.0]
