"""Correlation of log-ratio and reward: explained share, progress, implied temperature, and the part of length."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from valuefree.evaluation.held_out.contrasts import Contrasts
from valuefree.evaluation.held_out.ranking import resamples_for
from valuefree.evaluation.stats.estimate import Estimate
from valuefree.evaluation.stats.resampling import bootstrap_intervals

_LEFT, _RIGHT = np.array([0, 1, 2, 0, 0, 1]), np.array([0, 1, 2, 1, 2, 2])  # products of ρ̃, r̃ and length


@dataclass(frozen=True)
class Moments:
    """Correlations of ρ̃ and r̃; the attributes are those of `Learned`."""

    explained_share: Estimate
    partial_correlation: Estimate
    progress: Estimate | None
    implied_tau: float | None


def unit_sums(contrasts: Contrasts) -> Float[np.ndarray, "U 10"]:
    """Sums over the points of each unit: their number, ρ̃, r̃, length, and the six products."""
    values = contrasts.centred
    table = np.concatenate([np.ones((1, values.shape[1])), values, values[_LEFT] * values[_RIGHT]])
    return np.stack([np.bincount(contrasts.unit, weights=column) for column in table], axis=1)


def products(sums: Float[np.ndarray, "B 10"]) -> Float[np.ndarray, "6 B"]:
    """Sums of squares of ρ̃, r̃ and length, then ρ̃ r̃, ρ̃ length and r̃ length, about the means of the resample.

    A sum of squares that is only the rounding error of the subtraction, of either sign, is 0.
    """
    means = sums[:, 1:4] / sums[:, :1]
    about = (sums[:, 4:] - sums[:, :1] * means[:, _LEFT] * means[:, _RIGHT]).T
    squares = about[:3]
    about[:3] = np.where(squares > 1e-12 * sums[:, 4:7].T, squares, 0.0)
    return about


def explained(found: Float[np.ndarray, "6 B"]) -> Float[np.ndarray, " B"]:
    """Squared correlation of ρ̃ and r̃ with the sign of the correlation; 0 where one of them is constant."""
    own, reward, _, cross, _, _ = found
    size = own * reward
    return np.where(size > 0, cross * np.abs(cross) / np.where(size > 0, size, 1.0), 0.0)


def partial(found: Float[np.ndarray, "6 B"]) -> Float[np.ndarray, " B"]:
    r"""Correlation of ρ̃ and r̃ given the length, (r_ρr − r_ρl r_rl) / √((1 − r_ρl²)(1 − r_rl²)).

    0 where length determines one of them.
    """
    own, reward, length, cross, own_length, reward_length = found
    safe = np.where(length > 0, length, 1.0)
    rest = cross - own_length * reward_length / safe
    left = np.maximum(own - own_length**2 / safe, 0.0), np.maximum(reward - reward_length**2 / safe, 0.0)
    determined = (left[0] <= 1e-12 * own) | (left[1] <= 1e-12 * reward)
    return np.where(determined, 0.0, rest / np.sqrt(np.where(determined, 1.0, left[0] * left[1])))


def moments_of(contrasts: Contrasts, *, tau: float | None, seed: int) -> Moments:
    """Correlations with intervals that resample prompts.

    tau: temperature of the objective in units of the rewards, for `progress`.
    """
    table = unit_sums(contrasts)

    def statistic(weights: Float[np.ndarray, "B U"]) -> Float[np.ndarray, "B 3"]:
        found = products(weights @ table)
        slope = np.where(found[1] > 0, found[3] / np.where(found[1] > 0, found[1], 1.0), 0.0)
        return np.stack([explained(found), partial(found), slope], axis=1)

    values = statistic(np.ones((1, len(table))))[0]
    intervals = bootstrap_intervals(statistic, len(table), seed=seed, resamples=resamples_for(len(table)))
    share, given_length, slope = (
        Estimate(float(value), interval, len(table)) for value, interval in zip(values, intervals, strict=True)
    )
    progress = None
    if tau is not None:
        ends = None if slope.interval is None else (tau * slope.interval[0], tau * slope.interval[1])
        progress = Estimate(tau * slope.value, ends, slope.n)
    return Moments(share, given_length, progress, implied_temperature(contrasts))


def implied_temperature(contrasts: Contrasts) -> float | None:
    """Σ ρ̃ r̃ / Σ ρ̃², the slope of the reward on the log-ratio; None unless positive."""
    logratios, rewards, _ = contrasts.centred
    cross = float(logratios @ rewards)
    return cross / float(logratios @ logratios) if cross > 0 else None


def rms(contrasts: Contrasts) -> float:
    """Root mean square of ρ̃ in nats; n − 1 of n responses of a prompt are independent, which is not corrected for."""
    return float(np.sqrt((contrasts.centred[0] ** 2).mean()))
