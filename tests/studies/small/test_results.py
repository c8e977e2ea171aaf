"""Reward at a matched KL, the choice of settings, and the results of runs, worked by hand."""

import pytest

from studies.harness.cells import Row
from studies.harness.results import GAIN
from studies.small.cells import Cell
from studies.small.results import choose, end_gain, reward_at, score, worlds_of
from studies.small.scale import Scale

GROUP = ("t5", "on", "rpo")


def curve(*points):
    return [{"step": step, "kl": kl, "reward": reward} for step, (kl, reward) in enumerate(points)]


def row(points, *, seed=0, stage="report", lr=1e-3, strength=0.5, error=None):
    cell = Cell(*GROUP, lr, strength, seed, stage)
    return Row(cell, None if error else curve(*points), error, 1.0, 1.0, None)


def test_reward_between_checkpoints_is_linear_in_the_kl():
    run = curve((0, 0.5), (1, 0.6), (3, 0.8))
    assert reward_at(run, 0.5) == pytest.approx(0.55)
    assert reward_at(run, 2) == pytest.approx(0.7)
    assert reward_at(run, 3) == pytest.approx(0.8)


def test_outside_the_range_of_a_run_is_blank():
    assert reward_at(curve((0, 0.5), (1, 0.6)), 2) is None
    assert reward_at(curve((0, 0.5), (0, 0.5)), 0.5) is None


def test_a_run_that_turns_back_counts_where_it_first_gets_there():
    assert reward_at(curve((0, 0.5), (4, 0.9), (1, 0.3), (4, 0.1)), 2) == pytest.approx(0.7)


def test_tuning_maximises_the_mean_gain_at_the_levels():
    # at .5: .5 + .25 × .2; at 1: .5 + .5 × .2; at 2: .7; what comes after does not count
    assert score(curve((0, 0.5), (2, 0.7), (3, 0.1))) == pytest.approx((0.05 + 0.1 + 0.2) / 3)


def test_a_level_that_is_never_reached_is_no_gain_whatever_the_run_ends_at():
    """The run stays below .5 nats at a reward that none of the levels is worth; it is credited with nothing."""
    assert score(curve((0, 0.5), (0.4, 0.9))) == 0
    assert score(curve((0, 0.5), (1.9, 0.9))) == pytest.approx((0.4 * 0.5 / 1.9 + 0.4 / 1.9 + 0) / 3)
    assert score(curve((0, 0.5), (0.4, 0.47))) == pytest.approx(-0.03)  # a loss stays a loss
    arrives = curve((0, 0.5), (2, 0.6))
    assert score(arrives) > score(curve((0, 0.5), (0.4, 0.9)))


def test_a_gain_at_the_end_is_on_the_same_prompts():
    assert end_gain(curve((0, 0.5), (2, 0.7), (3, 0.6))) == pytest.approx(0.1)


def test_the_setting_with_the_highest_mean_gain_is_chosen_and_never_one_that_failed():
    good, bad = [(0, 0.5), (8, 0.7)], [(0, 0.5), (8, 0.6)]
    rows = [
        row(good, stage="tune", lr=1e-3, seed=1000),
        row([(0, 0.5), (8, 0.4)], stage="tune", lr=1e-3, seed=1001),
        row(bad, stage="tune", lr=2e-3, seed=1000),
        row(bad, stage="tune", lr=2e-3, seed=1001),
        row([(0, 0.5), (8, 0.9)], stage="tune", lr=3e-3, seed=1000),
        row([], stage="tune", lr=3e-3, seed=1001, error="diverged"),
    ]
    assert choose(rows) == {GROUP: (2e-3, 0.5)}
    assert choose(rows[-1:]) == {}


def test_a_failed_run_is_in_no_mean():
    rows = [row([(0, 0.5), (1, 0.6)], seed=0), row([], seed=1, error="out of memory"), row([(0, 0.5)], stage="tune")]
    world = worlds_of(rows, [GROUP], {}, Scale())["t5", "on"]
    assert world.values("rpo", GAIN) == {0: pytest.approx(0.1)}
    assert world.values("rpo", "at 0.5 nats") == {0: pytest.approx(0.55)}
    assert world.values("rpo", "at 2 nats") == {}


def test_a_control_is_apart_from_the_reported_runs():
    rows = [row([(0, 0.5), (9, 0.7)]), row([(0, 0.5), (9, 0.6)], stage="control-both")]
    world = worlds_of(rows, [GROUP], {}, Scale())["t5", "on"]
    assert world.controls == ["both"]
    assert world.values("rpo", GAIN, "both") == {0: pytest.approx(0.1)}
