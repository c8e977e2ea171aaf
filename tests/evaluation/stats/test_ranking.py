"""Bradley-Terry strengths."""

import math

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit, logit

from valuefree.errors import DataError
from valuefree.evaluation.stats import bradley_terry


def two(wins, losses, ties=0, **settings):
    scores = [1.0] * wins + [0.0] * losses + [0.5] * ties
    return bradley_terry(["a"] * len(scores), ["b"] * len(scores), scores, **settings)


def simulated(comparisons=400, seed=0, strengths=(1.0, 0.3, -0.2, -1.1)):
    generator = np.random.default_rng(seed)
    first = generator.integers(0, 4, comparisons)
    second = (first + generator.integers(1, 4, comparisons)) % 4
    chance = expit(np.array(strengths)[first] - np.array(strengths)[second])
    scores = np.where(generator.random(comparisons) < 0.1, 0.5, generator.random(comparisons) < chance)
    return first.tolist(), second.tolist(), scores


def test_two_items_in_closed_form():
    """The difference of the strengths is log(w/l), a tie being half of each: 12.5 to 4.5."""
    found = two(10, 2, 5, prior=0)
    assert found.strengths[0].value == pytest.approx(math.log(12.5 / 4.5) / 2)
    assert found.strengths[1].value == pytest.approx(-math.log(12.5 / 4.5) / 2)
    assert found.probability("a", "b").value == pytest.approx(12.5 / 17)
    assert found.wins == ((0.0, 12.5), (4.5, 0.0))


def test_the_default_prior_adds_half_a_win_and_half_a_loss():
    found = two(7, 0)
    assert found.strengths[0].value - found.strengths[1].value == pytest.approx(math.log(7.5 / 0.5))
    assert found.prior == 1.0


@pytest.mark.parametrize("prior", [0.0, 1.0, 3.0])
def test_four_items_are_those_of_a_general_optimiser(prior):
    """Logistic regression on difference columns, by BFGS, virtual ties as weighted rows."""
    first, second, scores = simulated()
    pairs = [(i, j) for i in range(4) for j in range(i)]
    one = np.array(first + [i for i, _ in pairs])
    other = np.array(second + [j for _, j in pairs])
    target = np.concatenate([scores, [0.5] * len(pairs)])
    weight = np.concatenate([np.ones(len(scores)), [prior] * len(pairs)])

    def loss(free):
        strengths = np.append(free, 0.0)
        gap = strengths[one] - strengths[other]
        return float(weight @ (np.logaddexp(0, gap) - target * gap))

    free = optimize.minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8}).x
    expected = np.append(free, 0.0) - np.append(free, 0.0).mean()
    found = bradley_terry(first, second, scores, names=[0, 1, 2, 3], prior=prior, resamples=50)
    assert [s.value for s in found.strengths] == pytest.approx(expected, abs=1e-5)


def test_expected_wins_equal_wins_at_the_maximum():
    """The likelihood equations: Σ_j n_ij P(i beats j) = Σ_j w_ij for each item."""
    first, second, scores = simulated(seed=3)
    found = bradley_terry(first, second, scores, names=[0, 1, 2, 3], prior=0, resamples=50)
    wins = np.array(found.wins)
    chance = np.array([[found.probability(i, j).value for j in range(4)] for i in range(4)])
    assert ((wins + wins.T) * chance * (1 - np.eye(4))).sum(axis=1) == pytest.approx(wins.sum(axis=1), abs=1e-6)
    assert sum(s.value for s in found.strengths) == pytest.approx(0.0, abs=1e-12)


def test_swapping_the_sides_of_every_comparison_changes_nothing():
    first, second, scores = simulated()
    one = bradley_terry(first, second, scores, names=[0, 1, 2, 3], resamples=200)
    other = bradley_terry(second, first, 1 - scores, names=[0, 1, 2, 3], resamples=200)
    for a, b in zip(one.strengths, other.strengths, strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-9)
        assert a.interval == pytest.approx(b.interval, abs=1e-6)


def test_two_items_have_the_delta_method_interval():
    """Standard error of log(w/l) is √(1/w + 1/l)."""
    gap = two(300, 200, prior=0).probability("a", "b")
    low, high = (logit(bound) for bound in gap.interval)
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(1 / 300 + 1 / 200), rel=0.04)


def test_comparisons_of_one_prompt_are_resampled_together():
    """Four copies of each comparison on its prompt say no more than one."""
    first, second, scores = simulated(300)
    alone = bradley_terry(first, second, scores, prior=0)
    copied = bradley_terry(first * 4, second * 4, np.tile(scores, 4), prior=0, clusters=list(range(300)) * 4)
    assert copied.strengths[0].n == 300
    assert copied.strengths[0].interval == pytest.approx(alone.strengths[0].interval, abs=1e-6)


def test_names_order_and_rank():
    found = bradley_terry([0, 2], [1, 1], [0.0, 1.0], names=["x", "y", "z"])
    assert found.names == ("x", "y", "z")
    assert found.ranked()[-1][0] == "x"
    by_name = bradley_terry(["x", "z"], ["y", "y"], [0.0, 1.0], names=["x", "y", "z"])
    assert by_name == found
    assert bradley_terry(["q", "p"], ["p", "q"], [0.5, 1.0]).names == ("q", "p")
    assert found.probability("x", "x").value == 0.5
    both = found.probability("x", "z"), found.probability("z", "x")
    assert both[0].value + both[1].value == pytest.approx(1.0)
    assert both[0].interval == pytest.approx((1 - both[1].interval[1], 1 - both[1].interval[0]))
    with pytest.raises(DataError, match="'w' was not ranked"):
        found.probability("w", "x")


def test_without_a_prior_an_unbeaten_item_is_an_error_that_names_it():
    first, second, scores = ["a", "a", "b", "c"], ["b", "c", "c", "b"], [1.0, 1.0, 1.0, 1.0]
    with pytest.raises(DataError, match=r"no finite maximum: 'a' never lost"):
        bradley_terry(first, second, scores, prior=0)
    assert bradley_terry(first, second, scores).ranked()[0][0] == "a"
    with pytest.raises(DataError, match="no finite maximum"):  # two islands
        bradley_terry(["a", "b", "c", "d"], ["b", "a", "d", "c"], [1.0] * 4, prior=0)


def test_a_circle_of_wins_is_a_tie_of_all():
    found = bradley_terry(["a", "b", "c"], ["b", "c", "a"], [1.0, 1.0, 1.0], prior=0, resamples=50)
    assert [s.value for s in found.strengths] == pytest.approx([0.0] * 3, abs=1e-9)
    assert found.strengths[0].interval is None  # a resample that leaves one out has no finite maximum


def test_extreme_counts_are_found():
    """9,999 to 1: from zero, Newton's bare step would overshoot or crawl."""
    first = ["a"] * 10_000 + ["b"] * 10_000
    second = ["b"] * 10_000 + ["c"] * 10_000
    found = bradley_terry(first, second, [1.0] * 9999 + [0.0] + [1.0] * 9999 + [0.0], prior=0, clusters=[0] * 20_000)
    assert found.strengths[0].value == pytest.approx(math.log(9999), rel=1e-6)
    assert found.strengths[2].value == pytest.approx(-math.log(9999), rel=1e-6)
    assert found.strengths[0].interval is None


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        ((["a"], ["a"], [1.0]), {"names": "ab"}, "comparison 0 is of 'a' with itself"),
        ((["a"], ["b"], [1.5]), {}, "between 0"),
        ((["a"], ["b"], [math.nan]), {}, "finite"),
        ((["a"], ["b"], []), {}, "scores 0"),
        (([], [], []), {}, "finite values"),
        ((["a"], ["b"], [1.0]), {"prior": -1}, "prior=-1"),
        ((["a"], ["d"], [1.0]), {"names": ["a", "b"]}, "'d' is neither"),
        ((["a"], ["a"], [1.0]), {}, "two or more"),
    ],
)
def test_what_cannot_be_ranked(arguments, settings, words):
    with pytest.raises(DataError, match=words):
        bradley_terry(*arguments, **settings)
