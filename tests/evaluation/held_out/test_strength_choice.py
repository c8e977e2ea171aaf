"""The strength is as trained unless the rows show that another one is better."""

import numpy as np
import pytest

from held_out_logs import rows_of
from valuefree.errors import ConfigError
from valuefree.evaluation.held_out.strength_choice import SCALES, choose_strength

PROMPTS, RESPONSES = 150, 4


def at_scales(signal, noise, *, seed=0, reward_noise=0.3):
    """Rows of a log-linear policy: log-ratio scale · (signal · r* + noise · other), with the normaliser known."""
    generator = np.random.default_rng(seed)
    worth, other = generator.normal(size=(2, PROMPTS * RESPONSES))
    rewards = worth + reward_noise * generator.normal(size=worth.shape)
    prompt_of = np.repeat(np.arange(PROMPTS), RESPONSES)
    size = signal**2 + noise**2

    def rows(scale):
        move = scale * (signal * worth + noise * other) - scale**2 * size / 2
        return rows_of(move, rewards, prompt_of)

    return {scale: rows(scale) for scale in SCALES}


def test_a_timid_policy_is_made_stronger():
    choice = choose_strength(at_scales(0.2, 0.0), sampled=None)
    assert choice.scale == 2.0
    assert "larger reweighted gain" in choice.reason


def test_an_uncertain_gain_does_not_make_the_policy_weaker():
    for seed in range(5):
        choice = choose_strength(at_scales(0.02, 0.3, seed=seed), sampled=None)
        assert choice.scale == 1.0
        assert "no other strength" in choice.reason


def test_rows_of_another_author_choose_by_ranking():
    choice = choose_strength(at_scales(0.2, 0.0), sampled="a person wrote the rows")
    assert choice.scale == 1.0  # a scaled log-linear policy ranks as before
    assert all(point.gain is None and point.kl is None for point in choice.points)


def test_a_policy_that_ranks_better_at_half_its_strength_is_weakened():
    rows = at_scales(0.2, 0.0)
    spoilt = rows_of(-rows[1.0].logratios, rows[1.0].rewards, rows[1.0].prompt_of)
    choice = choose_strength({0.5: rows[0.5], 1.0: spoilt, 2.0: rows[2.0]}, sampled="a person wrote the rows")
    assert choice.scale == 0.5  # not 2, though it ranks as well
    assert "better ranking" in choice.reason


def test_the_largest_kl_is_respected():
    rows = at_scales(0.5, 0.0)
    free = choose_strength(rows, sampled=None)
    limited = choose_strength(rows, sampled=None, max_kl=0.05)
    kls = {point.scale: point.kl for point in limited.points}
    assert limited.scale < 1.0 <= free.scale
    assert kls[limited.scale] <= 0.05
    with pytest.raises(ConfigError, match="max_kl"):
        choose_strength(rows, sampled="a person wrote the rows", max_kl=0.05)
