"""Win rate at equal length."""

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit, logit

from valuefree.errors import DataError
from valuefree.evaluation.stats import clustered_mean, length_controlled_win_rate


def simulated(prompts=200, seed=0, intercept=0.3, slope=0.8):
    generator = np.random.default_rng(seed)
    lengths = generator.normal(40, 100, prompts)
    return generator.binomial(4, expit(intercept + slope * lengths / 100)) / 4, lengths


def two_lengths():
    """Win rate .8 where 10 longer, .4 where 10 shorter: as many lengths as parameters, so the fit goes through both."""
    return [1.0] * 8 + [0.0] * 2 + [1.0] * 4 + [0.0] * 6, [10.0] * 10 + [-10.0] * 10


def test_two_lengths_in_closed_form():
    """The intercept is the mean of the two logits, the coefficient half their difference (deviation 10)."""
    found = length_controlled_win_rate(*two_lengths())
    assert found.rate.value == pytest.approx(expit((logit(0.8) + logit(0.4)) / 2))
    assert found.coefficient == pytest.approx((logit(0.8) - logit(0.4)) / 2)
    assert (found.raw.value, found.length_deviation) == (pytest.approx(0.6), 10.0)
    assert found.correlation == pytest.approx(np.corrcoef(*two_lengths())[0, 1])
    assert found.reason is None


def test_it_is_the_fit_of_a_general_optimiser():
    scores, lengths = simulated()
    scaled = lengths / lengths.std()

    def loss(parameters):
        line = parameters[0] + parameters[1] * scaled
        return float((np.logaddexp(0, line) - scores * line).sum())

    intercept, slope = optimize.minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
    found = length_controlled_win_rate(scores, lengths, resamples=100)
    assert found.rate.value == pytest.approx(expit(intercept), abs=1e-6)
    assert found.coefficient == pytest.approx(slope, abs=1e-5)


def test_swapping_the_systems_mirrors_the_rate():
    scores, lengths = simulated()
    one = length_controlled_win_rate(scores, lengths)
    other = length_controlled_win_rate(1 - scores, -lengths)
    assert other.rate.value == pytest.approx(1 - one.rate.value)
    assert other.rate.interval == pytest.approx((1 - one.rate.interval[1], 1 - one.rate.interval[0]), abs=1e-6)
    assert other.coefficient == pytest.approx(one.coefficient)


def test_the_unit_of_length_does_not_matter():
    scores, lengths = simulated()
    one, other = (length_controlled_win_rate(scores, factor * lengths) for factor in (1, 0.01))
    assert other.rate.value == pytest.approx(one.rate.value)
    assert other.coefficient == pytest.approx(one.coefficient)


def test_a_judge_of_length_alone_is_seen_through():
    """Longer by 100 ± 60 and judged on that only: the raw rate is .71, at equal length ½ is within the interval."""
    generator = np.random.default_rng(1)
    lengths = generator.normal(100, 60, 400)
    scores = (generator.random(400) < expit(lengths / 100)).astype(float)
    found = length_controlled_win_rate(scores, lengths)
    assert found.raw.interval[0] > 0.6
    assert found.rate.interval[0] < 0.5 < found.rate.interval[1]
    assert found.coefficient > 0.3


def test_where_lengths_do_not_vary_the_rate_is_the_raw_one():
    found = length_controlled_win_rate([1.0, 0.0, 1.0, 0.5], [7.0] * 4)
    assert found.rate == found.raw
    assert found.rate.value == 0.625
    assert (found.coefficient, found.correlation, found.length_deviation) == (None, None, 0.0)
    assert "all length differences are 7" in found.reason


def test_where_lengths_say_nothing_the_rate_is_near_the_raw_one():
    """The same scores at both lengths: the coefficient is zero and the rate the raw one, exactly."""
    found = length_controlled_win_rate([1.0, 0.0, 1.0] * 2, [5.0] * 3 + [-5.0] * 3)
    assert found.coefficient == pytest.approx(0.0, abs=1e-9)
    assert found.rate.value == pytest.approx(2 / 3)


def test_equal_scores_are_the_rate():
    found = length_controlled_win_rate([1.0, 1.0, 1.0], [3.0, -2.0, 5.0])
    assert (found.rate.value, found.coefficient, found.correlation) == (1.0, 0.0, None)
    assert "all scores are 1" in found.reason


@pytest.mark.parametrize(
    ("scores", "lengths"),
    [
        ([1.0, 1.0, 0.0, 0.0], [5.0, 9.0, -3.0, -4.0]),
        ([0.0, 0.0, 1.0, 1.0], [5.0, 9.0, -3.0, -4.0]),
        ([1.0, 0.5, 0.0], [5.0, 2.0, -3.0]),  # a tie at the threshold
    ],
)
def test_separation_is_none_with_its_reason(scores, lengths):
    found = length_controlled_win_rate(scores, lengths)
    assert found.rate is None
    assert found.coefficient is None
    assert "separate wins from losses" in found.reason
    assert found.raw.value == pytest.approx(np.mean(scores))
    assert "undefined" in str(found)


def test_resamples_that_separate_leave_a_finite_interval():
    """One loss among the longer: the resamples without it separate."""
    found = length_controlled_win_rate([1, 1, 1, 0, 0, 0, 0], [5, 9, 4, 7, -3, -4, -6])
    low, high = found.rate.interval
    assert 0 <= low <= found.rate.value <= high <= 1


def test_prompts_weigh_the_same_and_are_resampled_whole():
    scores, lengths = simulated(60)
    alone = length_controlled_win_rate(scores, lengths)
    rows, clusters = np.repeat(np.arange(60), np.arange(60) % 4 + 1), None
    clusters = rows.tolist()
    copied = length_controlled_win_rate(scores[rows], lengths[rows], clusters)
    assert copied.rate.n == 60
    assert copied.rate.value == pytest.approx(alone.rate.value)
    assert copied.rate.interval == pytest.approx(alone.rate.interval, abs=1e-6)
    assert copied.raw == clustered_mean(scores[rows], clusters)


def test_what_cannot_be_controlled():
    with pytest.raises(DataError, match="scores 1, length_differences 2"):
        length_controlled_win_rate([1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="between 0"):
        length_controlled_win_rate([2.0, 0.0], [1.0, 2.0])
    with pytest.raises(DataError, match="length difference per row"):
        length_controlled_win_rate([1.0, 0.0], [1.0, float("nan")])


def test_the_maximum_is_found_on_hard_data():
    """Lengths with a long tail, and wins that they nearly separate: the slope of the likelihood is zero there."""
    generator = np.random.default_rng(0)
    fitted = 0
    for _ in range(500):
        size = int(generator.integers(5, 40))
        lengths = generator.standard_t(2, size) + generator.choice([0.0, 3.0])
        scores = (generator.random(size) < expit(generator.normal() + 3 * generator.normal() * lengths)).astype(float)
        found = length_controlled_win_rate(scores, lengths, resamples=1)
        if found.rate is None or found.coefficient == 0.0:
            continue
        fitted += 1
        scaled = lengths / lengths.std()
        left = scores - expit(logit(found.rate.value) + found.coefficient * scaled)
        assert abs(left.sum()) < 1e-4 * size
        assert abs((left * scaled).sum()) < 1e-4 * size
    assert fitted > 200
