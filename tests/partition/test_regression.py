"""Values regressed on features of the prompts."""

import numpy as np
import pytest
import torch

from valuefree.errors import ConfigError, DataError
from valuefree.partition import PartitionSettings, partition_report, partition_targets, partition_values
from valuefree.partition.regression import STRENGTHS, ridge_values


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("prompts", "width"), [(40, 3), (12, 50)], ids=["tall", "wide"])
def test_the_fit_is_the_ridge_of_least_gcv_by_brute_force(prompts, width):
    """At each λ the hat matrix H = X(XᵀX + λ)⁻¹Xᵀ + 11ᵀ/P; GCV = P‖y − Hy‖²/(P − tr H)²; X is standardised."""
    features, noise = random(prompts, width), random(prompts, seed=1)
    targets = (features[:, 0] + 0.5 * noise + 2.0).numpy()
    x = features.numpy()
    x = (x - x.mean(0)) / x.std(0)
    largest = np.linalg.svd(x, compute_uv=False)[0] ** 2
    best, fitted = np.inf, None
    for strength in STRENGTHS.numpy() * largest:
        hat = x @ np.linalg.solve(x.T @ x + strength * np.eye(width), x.T) + 1 / prompts
        score = prompts * ((targets - hat @ targets) ** 2).sum() / (prompts - np.trace(hat)) ** 2
        if score < best:
            best, fitted = score, hat @ targets
    found = ridge_values(features, torch.from_numpy(targets)).numpy()
    # Interpolating strengths make both sides of the score's fraction tiny, so brute force is exact to few digits there.
    np.testing.assert_allclose(found, fitted, atol=1e-6 if prompts > width else 1e-2)


def test_features_that_tell_all_are_followed_and_those_that_tell_nothing_leave_the_mean():
    features = random(200, 4)
    truth = features @ torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64) + 7.0
    torch.testing.assert_close(ridge_values(features, truth), truth, atol=1e-4, rtol=0)
    noise = random(200, seed=3)
    assert ridge_values(features, noise).std() < 0.3 * noise.std()
    torch.testing.assert_close(ridge_values(torch.ones(3, 2).double(), truth[:3]), truth[:3].mean().expand(3))
    assert ridge_values(features[:1], truth[:1]).tolist() == truth[:1].tolist()


def test_scale_and_shift_of_a_feature_change_nothing_and_a_shift_of_rewards_shifts_the_value():
    features, targets = random(30, 4), random(30, seed=2)
    other = features * torch.tensor([1.0, 10.0, 0.1, -3.0]) + 5.0
    torch.testing.assert_close(ridge_values(other, targets), ridge_values(features, targets))
    torch.testing.assert_close(ridge_values(features, targets + 4), ridge_values(features, targets) + 4)


def regressed(**knobs) -> torch.Tensor:
    prompt_of = torch.arange(60) % 20
    data = {"rewards": random(60, seed=4), "reference_logps": -random(60).abs(), "prompt_of": prompt_of, "tau": 0.5}
    return partition_values(**data, **{"estimator": "regressed", "features": random(20, 3), **knobs})


def test_what_is_regressed_is_the_estimate_that_fits_the_data():
    """Rewards of prompt p: rows p, p + 20, p + 40. Off policy their mean, on policy τ log mean e^{r/τ}."""
    features, rewards = random(20, 3), random(60, seed=4).reshape(3, 20)
    torch.testing.assert_close(regressed(on_policy=False), ridge_values(features, rewards.mean(0)))
    log_mean = 0.5 * (torch.logsumexp(rewards / 0.5, 0) - np.log(3))
    torch.testing.assert_close(regressed(on_policy=True), ridge_values(features, log_mean))
    samples = {"reference_rewards": random(20, seed=6), "reference_prompt_of": torch.arange(20)}
    torch.testing.assert_close(regressed(on_policy=False, **samples), ridge_values(features, random(20, seed=6)))


def test_features_are_needed_and_checked():
    with pytest.raises(ConfigError, match="needs features"):
        regressed(features=None)
    with pytest.raises(DataError, match=r"expected \(20, d\)"):
        regressed(features=random(19, 3))
    with pytest.raises(DataError, match="not finite"):
        regressed(features=random(20, 3) / 0)


def test_the_report_knows_it():
    settings = PartitionSettings(tau=0.5, estimator="regressed")
    assert settings.needs_features
    data = (random(60, seed=4), -random(60).abs(), torch.arange(60) % 20)
    report = partition_report(*data, features=random(20, 3), **settings.knobs())
    rewards, values = partition_targets(*data, settings, features=random(20, 3))
    np.testing.assert_allclose(report.values, values.numpy())
    assert torch.equal(rewards, data[0])


def test_quantile_form_of_two_and_of_four_responses_by_hand():
    """Mid-ranks (¼, ¾) and (⅛, ⅜, ⅝, ⅞): V̂ = τ log of the mean of e^{rank/τ}, at τ 1, whatever the rewards are."""
    rewards = torch.tensor([5.0, -9.0, 1.0, 2.0, 3.0, 400.0], dtype=torch.float64)
    prompt_of = torch.tensor([0, 0, 1, 1, 1, 1])
    settings = PartitionSettings(tau=1.0, estimator="quantile")
    ranks, values = partition_targets(rewards, -rewards.abs(), prompt_of, settings)
    assert ranks.tolist() == [0.75, 0.25, 0.125, 0.375, 0.625, 0.875]
    expected = [np.log(np.exp([0.25, 0.75]).mean()), np.log(np.exp([0.125, 0.375, 0.625, 0.875]).mean())]
    assert values.tolist() == pytest.approx(expected)
