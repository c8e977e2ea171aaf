"""Values regressed on features of the prompts."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from valuefree.errors import ConfigError, DataError
from valuefree.partition import PartitionSettings, fit_partition, partition_values
from valuefree.partition.regression import STRENGTHS, ridge_predictions, ridge_values


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(features: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`ridge_values` and `ridge_predictions` by the hat matrix at each λ, from a dense SVD in float64."""
    prompts = len(targets)
    centred = features - features.mean(0)
    varies = centred.std(0) > 1e-10 * np.abs(features).max(0)
    u, s, _ = np.linalg.svd(centred[:, varies] / centred[:, varies].std(0), full_matrices=False)
    u, s = u[:, s > 1e-7 * s[0]], s[s > 1e-7 * s[0]]
    mean = targets.mean()
    fits, predictions, deviances, freedoms = [], [], [], []
    for strength in STRENGTHS.numpy() * s[0] ** 2:
        hat = (u * (s**2 / (s**2 + strength))) @ u.T
        left = np.eye(prompts) - hat  # (I + XXᵀ/λ)⁻¹ on what sums to zero
        fits.append(mean + hat @ (targets - mean))
        errors = left @ (targets - mean) / (np.diag(left) - 1 / prompts)
        predictions.append(targets - errors)
        restricted = (prompts - 1) * np.log((targets - mean) @ left @ (targets - mean))
        restricted += np.log(1 + s**2 / strength).sum()
        deviances.append((prompts * np.log((errors**2).sum()) + restricted) / 2)
        freedoms.append(1 + np.trace(hat))
    deviances = np.array(deviances)

    def weights(allowed):
        likelihood = np.where(allowed, np.exp(-(deviances - deviances[allowed].min()) / 2), 0)
        return likelihood / likelihood.sum()

    capped = weights(np.array(freedoms) <= prompts / 2)
    return capped @ np.array(fits), weights(deviances < np.inf) @ np.array(predictions)


def check_against_dense(features: torch.Tensor, targets: torch.Tensor, atol: float) -> None:
    fitted, predicted = dense(features.double().numpy(), targets.numpy())
    np.testing.assert_allclose(ridge_values(features, targets).numpy(), fitted, atol=atol, rtol=0)
    np.testing.assert_allclose(ridge_predictions(features, targets).numpy(), predicted, atol=atol, rtol=0)


@pytest.mark.parametrize(("prompts", "width"), [(300, 7), (60, 50), (50, 50), (12, 50)])
@pytest.mark.parametrize("batch", [2**21, 1000])
def test_solver_over_batches_equals_the_dense_singular_value_decomposition(prompts, width, batch, monkeypatch):
    monkeypatch.setattr("valuefree.partition.regression.BATCH_NUMBERS", batch)
    informative = random(prompts, width)
    features = informative * torch.logspace(-3, 3, width) + 5.0
    for noise in (0.5, 5.0):
        targets = informative[:, 0] + noise * random(prompts, seed=1) + 2.0
        # Fits through every point leave residuals of 1e-8, of which half of the digits are rounding.
        check_against_dense(features, targets, atol=1e-8 if prompts > width else 1e-7)


@pytest.mark.parametrize("prompts", [200, 20])
def test_collinear_and_constant_features_are_no_obstacle(prompts):
    """Copies of columns up to 1e-9, a constant and zeros: XᵀX is singular to working precision."""
    informative = random(prompts, 12)
    copies = informative[:, :6] + 1e-9 * random(prompts, 6, seed=1)
    constant = torch.tensor([1e6, 0.0]).double().expand(prompts, 2)
    features = torch.cat([informative, copies, informative[:, :1] * -1e-6 + 3.0, constant], dim=1)
    check_against_dense(features, informative[:, 0] + 0.5 * random(prompts, seed=2), atol=1e-6)


def test_features_may_be_float32_and_mapped_from_a_file(tmp_path):
    features, targets = random(80, 20).float(), random(80, seed=1)
    mapped = np.memmap(tmp_path / "features", dtype=np.float32, mode="w+", shape=(80, 20))
    mapped[:] = features.numpy()
    given = {"rewards": targets, "reference_logps": [-1000.0] * 80, "prompt_of": torch.arange(80), "tau": 1.0}
    found = partition_values(**given, estimator="informed", features=mapped)
    torch.testing.assert_close(found, ridge_predictions(features.double(), targets), atol=1e-9, rtol=0)


class LargestDouble(TorchDispatchMode):
    """Numbers in the largest float64 tensor that any operation returned."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_flatten(result)[0]:
            if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64:
                self.numbers = max(self.numbers, leaf.numel())
        return result


@pytest.mark.parametrize("estimator", ["informed", "regressed"])
def test_features_are_never_held_in_float64_as_a_whole(estimator, monkeypatch):
    """5,000 prompts of width 30, in batches of 6,000 numbers: no tensor has the 150,000 of the features."""
    monkeypatch.setattr("valuefree.partition.regression.BATCH_NUMBERS", 6000, raising=False)
    data = {"rewards": random(5000), "reference_logps": -random(5000).abs(), "prompt_of": torch.arange(5000)}
    features = random(5000, 30).float()
    with LargestDouble() as largest:
        partition_values(**data, tau=1.0, estimator=estimator, features=features)
    assert largest.numbers <= 6000


# --------------------------------------------------------------------------- how strong the regression comes out


def distances(prompts: int, width: int, draws: int, power: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One response per prompt, rewards that are noise: distance of fits and of predictions to the mean of all prompts,
    root mean square over prompts in standard deviations of the rewards; slope of the predictions on own rewards.

    The standard deviation of the k-th feature direction is k^−power.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(draws):
        features = torch.randn(prompts, width, generator=generator, dtype=torch.float64)
        features *= torch.arange(1, width + 1).double() ** -power
        rotation = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))[0]
        rewards = torch.randn(prompts, generator=generator, dtype=torch.float64)
        fitted, predicted = (rule(features @ rotation, rewards) for rule in (ridge_values, ridge_predictions))
        own = rewards - rewards.mean()
        others = rewards - own * prompts / (prompts - 1)  # mean of the other prompts
        slope = ((predicted - others) * own).sum() / own.square().sum()
        spread = own.square().mean().sqrt()
        found.append([*((x - rewards.mean()).square().mean().sqrt() / spread for x in (fitted, predicted)), slope])
    return torch.tensor(found).unbind(1)


@pytest.mark.parametrize("power", [0.0, 0.75])
@pytest.mark.parametrize(("prompts", "most"), [(20, 0.10), (64, 0.02)])
def test_rewards_that_are_noise_leave_the_mean_of_the_prompts(prompts, most, power):
    """64 features. A fit at the reward itself has distance 1. Generalised cross-validation gave fits beyond .9 in 7 to
    29 % of draws, and predictions beyond .5 in up to 16 %."""
    fitted, predicted, slope = distances(prompts, 64, 150, power)
    assert fitted.max() < 0.75
    assert (fitted > 0.5).double().mean() <= 0.02
    assert (predicted > 0.5).double().mean() <= most
    assert slope.mean() < (0.07 if prompts == 20 else 0.02)  # the weights of the strengths hardly tell of own rewards


@pytest.mark.parametrize(
    ("prompts", "ratio", "least"), [(64, 1.0, 0.60), (64, 3.0, 0.80), (200, 0.3, 0.65), (200, 3.0, 0.92)]
)
def test_features_that_predict_are_followed(prompts, ratio, least):
    """64 features, reward = f + noise, f along the widest directions, var f = ratio: explained share of f.

    Generalised cross-validation reached .46, .78, .75 and .95.
    """
    generator = torch.Generator().manual_seed(0)
    explained = []
    for _ in range(40):
        features = torch.randn(prompts, 64, generator=generator, dtype=torch.float64)
        features *= torch.arange(1, 65).double() ** -0.75
        rotation = torch.linalg.qr(torch.randn(64, 64, generator=generator, dtype=torch.float64))[0]
        signal = features[:, :20] @ torch.randn(20, generator=generator, dtype=torch.float64)
        signal *= ratio**0.5 / signal.std()
        rewards = signal + torch.randn(prompts, generator=generator, dtype=torch.float64)
        error = ridge_predictions(features @ rotation, rewards) - signal
        explained.append(1 - error.square().mean() / ratio)
    assert torch.stack(explained).mean() > least


def test_effects_along_directions_of_little_variance_are_found():
    """The restricted likelihood alone takes the mean here (explained .02)."""
    generator = torch.Generator().manual_seed(0)
    explained = []
    for _ in range(10):
        features = torch.randn(200, 64, generator=generator, dtype=torch.float64)
        features *= torch.arange(1, 65).double() ** -0.75
        rotation = torch.linalg.qr(torch.randn(64, 64, generator=generator, dtype=torch.float64))[0]
        signal = features[:, 40]
        signal /= signal.std()
        rewards = signal + torch.randn(200, generator=generator, dtype=torch.float64)
        explained.append(1 - (ridge_predictions(features @ rotation, rewards) - signal).square().mean())
    assert torch.stack(explained).mean() > 0.6


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
    partition = fit_partition(*data, settings, features=random(20, 3))
    np.testing.assert_allclose(partition.report.values, regressed(on_policy=False).numpy())
    assert torch.equal(partition.rewards_R, data[0])


def test_quantile_form_of_two_and_of_four_responses_by_hand():
    """Mid-ranks (¼, ¾) and (⅛, ⅜, ⅝, ⅞): V̂ = τ log of the mean of e^{rank/τ}, at τ 1, whatever the rewards are."""
    rewards = torch.tensor([5.0, -9.0, 1.0, 2.0, 3.0, 400.0], dtype=torch.float64)
    prompt_of = torch.tensor([0, 0, 1, 1, 1, 1])
    settings = PartitionSettings(tau=1.0, estimator="quantile")
    partition = fit_partition(rewards, -rewards.abs(), prompt_of, settings)
    assert partition.rewards_R.tolist() == [0.75, 0.25, 0.125, 0.375, 0.625, 0.875]
    expected = [np.log(np.exp([0.25, 0.75]).mean()), np.log(np.exp([0.125, 0.375, 0.625, 0.875]).mean())]
    assert partition.values_P.tolist() == pytest.approx(expected)
