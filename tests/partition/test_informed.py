"""`informed`: what other prompts predict, what a prompt's own rewards add, and the default on singletons."""

import math

import pytest
import torch

from valuefree.errors import ConfigError
from valuefree.objectives import RPO, TrainingRows
from valuefree.partition import partition_values
from valuefree.partition.regression import STRENGTHS, ridge_predictions, ridge_values

FAR = -1000.0  # log π_ref of responses that cover nothing


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def values(rewards, prompt_of, features, **more) -> torch.Tensor:
    given = {"tau": 1.0, "estimator": "informed", "features": features} | more
    return partition_values(rewards, [FAR] * len(rewards), prompt_of, **given)


def random_regression(prompts: int = 12, width: int = 4):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(prompts, width, generator=generator, dtype=torch.float64)
    targets = features[:, 0] + 0.5 * torch.randn(prompts, generator=generator, dtype=torch.float64)
    return features, targets


def test_prediction_of_a_prompt_is_the_fit_without_it(monkeypatch):
    """At one strength λ, leaving out a row and solving the penalised least squares, intercept free, gives ŷ_{−i}."""
    strength = 1e-2
    monkeypatch.setattr("valuefree.partition.regression.STRENGTHS", STRENGTHS.new_tensor([strength]))
    features, targets = random_regression()
    scaled = (features - features.mean(0)) / features.std(0, correction=0)
    penalty = strength * torch.linalg.svdvals(scaled)[0].square() * torch.eye(5, dtype=torch.float64)
    penalty[0, 0] = 0.0
    design = torch.cat([torch.ones(12, 1, dtype=torch.float64), scaled], dim=1)
    expected = []
    for left_out in range(12):
        kept = torch.arange(12) != left_out
        gram = design[kept].T @ design[kept] + penalty
        expected.append(design[left_out] @ torch.linalg.solve(gram, design[kept].T @ targets[kept]))
    torch.testing.assert_close(ridge_predictions(features, targets), torch.stack(expected))


def test_a_prompt_does_not_predict_itself(monkeypatch):
    """At one strength the own reward has no influence; on the weights of all strengths it has that of one in P."""
    features, targets = random_regression(48)
    changed = targets.clone()
    changed[5] += 1e-4
    moved = (ridge_predictions(features, changed) - ridge_predictions(features, targets)).abs()
    assert moved[5] < 0.02 * 1e-4
    assert (ridge_values(features, changed) - ridge_values(features, targets)).abs()[5] > 0.05 * 1e-4
    monkeypatch.setattr("valuefree.partition.regression.STRENGTHS", STRENGTHS.new_tensor([1e-2]))
    moved = (ridge_predictions(features, changed) - ridge_predictions(features, targets)).abs()
    assert moved[5] < 1e-9 < moved.max()


def test_features_that_say_nothing_leave_the_mean_of_the_others():
    """r̄ = (1, 5), predicted (5, 1); own variance 2/2 = 1, unexplained 16 − 1: V̂ = (15 + 5)/16, (75 + 1)/16."""
    found = values([0, 2, 4, 6], [0, 0, 1, 1], torch.ones(2, 3))
    assert found.tolist() == pytest.approx([1.25, 4.75])


def test_prediction_that_explains_everything_is_taken():
    """r̄ is exactly linear in the feature, and the responses' noise is what is left: own share zero."""
    feature = torch.arange(20, dtype=torch.float64)
    rewards = torch.stack([feature - 1, feature + 1], dim=1).flatten()
    prompt_of = torch.arange(20).repeat_interleave(2)
    torch.testing.assert_close(values(rewards, prompt_of, feature[:, None]), feature, atol=1e-3, rtol=0)


def test_one_response_each_takes_the_prediction_alone():
    features, targets = random_regression()
    found = values(targets, torch.arange(12), features)
    torch.testing.assert_close(found, ridge_predictions(features, targets))


def test_observed_probability_counts_exactly():
    """With responses that exhaust the reference, V̂ is eq. 19: the numbers of three known outcomes."""
    logps = double(0.5, 0.3, 0.2).log()
    found = partition_values(
        double(1, 0, -1), logps, [0, 0, 0], tau=1.0, estimator="informed", features=torch.ones(1, 2)
    )
    assert found.item() == pytest.approx(0.549690582760, abs=1e-9)


def test_reference_samples_give_the_level():
    """Rewards of the data 10, of the reference's samples (0, 2) and (4, 6): the values of the test above."""
    samples = {"reference_rewards": [0, 2, 4, 6], "reference_prompt_of": [0, 0, 1, 1]}
    found = values([10, 10], [0, 1], torch.ones(2, 3), **samples)
    assert found.tolist() == pytest.approx([1.25, 4.75])


def test_a_constant_on_all_rewards_moves_all_values():
    features, targets = random_regression()
    rewards = torch.stack([targets - 0.3, targets + 0.4], dim=1).flatten()
    prompt_of = torch.arange(12).repeat_interleave(2)
    torch.testing.assert_close(values(rewards + 7, prompt_of, features), values(rewards, prompt_of, features) + 7)


def test_default_asks_to_lower_a_thumbs_down_and_eq_19_does_not():
    """Singletons, +1 and −1: the default's targets have the sign of the thumb, those of eq. 19 are all −log π_ref."""
    rewards = double(1, -1, 1, -1, 1, 1, -1, 1, -1, 1)
    prompt_of = torch.arange(10)
    features = torch.randn(10, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rpo = RPO().resolve(TrainingRows(rewards, rewards, prompt_of))
    targets = (rewards - values(rewards, prompt_of, features, tau=rpo.tau)) / rpo.tau
    assert torch.equal(targets.sign(), rewards.sign())
    paper = partition_values(rewards, [-30.0] * 10, prompt_of, tau=1.0, estimator="reference")
    torch.testing.assert_close(rewards - paper, torch.full((10,), 30.0, dtype=torch.float64))
    assert math.isclose(rpo.level, 1.0)


def test_features_are_needed():
    with pytest.raises(ConfigError, match="needs features"):
        values([1.0, 2.0], [0, 1], None)
