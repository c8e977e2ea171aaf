"""The permutations of the controls, each by what it removes and what it keeps."""

import random

import pytest

from studies.harness.controls import REMOVES, controls_of, permuted, removes_all

PROMPTS, N = 200, 4
PROMPT_OF = [prompt for prompt in range(PROMPTS) for _ in range(N)]
_draw = random.Random(1)
LEVELS = [_draw.gauss(0, 1) for _ in range(PROMPTS)]
REWARDS = [LEVELS[prompt] + _draw.gauss(0, 1) for prompt in PROMPT_OF]


def groups(values):
    return [values[start : start + N] for start in range(0, len(values), N)]


def means(values):
    return [sum(group) / N for group in groups(values)]


def correlation(one, two):
    a, b = (sum(values) / len(values) for values in (one, two))
    products = sum((x - a) * (y - b) for x, y in zip(one, two, strict=True))
    return products / (sum((x - a) ** 2 for x in one) * sum((y - b) ** 2 for y in two)) ** 0.5


def within(values):
    return [value - mean for group, mean in zip(groups(values), means(values), strict=True) for value in group]


@pytest.mark.parametrize("control", list(REMOVES))
def test_every_permutation_keeps_the_values_and_repeats_with_its_seed(control):
    found = permuted(REWARDS, PROMPT_OF, control, seed=3)
    assert sorted(found) == sorted(REWARDS)
    assert found == permuted(REWARDS, PROMPT_OF, control, seed=3)
    assert found != permuted(REWARDS, PROMPT_OF, control, seed=4)


@pytest.mark.parametrize(
    ("control", "means_stay", "order_stays"), [("within", 1, 0), ("between", 0, 1), ("both", 0, 0)]
)
def test_what_a_permutation_removes_and_keeps(control, means_stay, order_stays):
    """Correlations of 200 means and of 800 residuals: .25 is beyond three standard errors of independence."""
    found = permuted(REWARDS, PROMPT_OF, control, seed=0)
    of_means, of_residuals = correlation(means(REWARDS), means(found)), correlation(within(REWARDS), within(found))
    assert of_means == pytest.approx(1) if means_stay else abs(of_means) < 0.25
    assert of_residuals > 0.6 if order_stays else abs(of_residuals) < 0.25


@pytest.mark.parametrize("control", ["between", "both"])
def test_whole_groups_go_to_prompts_with_equally_many_responses(control):
    prompt_of = [0, 1, 1, 2, 3, 3, 4, 4]
    found = permuted([1, 20, 21, 2, 30, 31, 40, 41], prompt_of, control, seed=1)
    assert {found[0], found[3]} == {1, 2}
    pairs = [tuple(sorted(found[i : i + 2])) for i in (1, 4, 6)]
    assert sorted(pairs) == [(20, 21), (30, 31), (40, 41)]


def test_with_one_response_the_exchange_between_prompts_is_the_only_control():
    assert controls_of(1) == ("between",)
    assert (removes_all(("between",)), removes_all(controls_of(4)), removes_all(())) == ("between", "both", None)
    assert permuted([1.0, 2.0], [0, 1], "within", seed=0) == [1.0, 2.0]
