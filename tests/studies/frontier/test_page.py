"""What the page computes: gains at a KL by hand, pairing by seed and prompt, words that follow the interval."""

import numpy as np
import pytest

from studies.frontier.cells import REFERENCE, Cell
from studies.frontier.page import Runs, verdict
from studies.harness.cells import Row

PROMPTS = [f"p{number}" for number in range(12)]


def row(label, seed, points):
    curve = [{"kl": kl, "rewards": rewards, "length": 9.0, "ranking_accuracy": 0.6} for kl, rewards in points]
    return Row(Cell(label, seed), curve, None, 1.0, 1.0, None)


def level(value, spread=0.01):
    """Rewards that differ a little between prompts, with this mean."""
    return (value + spread * np.linspace(-1, 1, len(PROMPTS))).tolist()


@pytest.fixture
def runs():
    rows = [
        row("RPO()", 0, [(1.0, level(0.7)), (4.0, level(0.9))]),
        row("RPO()", 1, [(0.5, level(0.6)), (0.8, level(0.6))]),
        row("KTO()", 0, [(2.0, level(0.6, 0.02)), (4.0, level(1.0, 0.02))]),
        row("KTO()", 1, [(2.0, level(0.6, 0.02)), (4.0, level(1.0, 0.02))]),
    ]
    reference = {"prompts": PROMPTS, "rewards": [0.5] * len(PROMPTS), "length": 9.0}
    return Runs([*rows, *(Row(Cell(REFERENCE, seed), [reference], None, 1.0, 1.0, None) for seed in (0, 1))])


def test_gain_at_a_kl_is_linear_in_its_root_between_measurements(runs):
    """Seed 0 of RPO(): .2 at 1 nat, .4 at 4: .3 at 1.5² = 2.25, and .1 at ¼, between the reference and the first."""
    assert runs.gains_at("RPO()", 0, 2.25).mean() == pytest.approx(0.3)
    assert runs.gains_at("RPO()", 0, 0.25).mean() == pytest.approx(0.1)
    assert runs.gains_at("RPO()", 1, 1.0) is None


def test_only_seeds_that_reach_the_kl_count(runs):
    estimate, reached = runs.gain("RPO()", 2.25)
    assert (reached, estimate.value) == (1, pytest.approx(0.3))
    assert runs.gain("RPO()", 5.0) == (None, 0)


def test_differences_are_paired_by_seed_and_prompt(runs):
    """At 4 nats seed 0 alone has both: .4 − .5. At the end: (.4 + .1)/2 − .5."""
    difference, seeds = runs.gain("RPO()", 4.0, less="KTO()")
    assert (seeds, difference.value) == (1, pytest.approx(-0.1))
    assert runs.gain("RPO()", None, less="KTO()")[0].value == pytest.approx(-0.25)


def test_the_sentence_follows_the_interval(runs):
    (sentence,) = verdict(runs, "RPO()")
    assert "at the end -0.250 [" in sentence.split("Losses: ")[1].split("Wins")[0]
    assert "at 2 nats +0.183 [" in sentence.split("Wins: ")[1]
