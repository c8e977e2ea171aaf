"""Win rate at equal length: the win rate that a logistic regression predicts where neither answer is longer."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit  # type: ignore[reportMissingTypeStubs]  # scipy has none

from valuefree.evaluation.stats.estimate import (
    Clusters,
    Estimate,
    Statistic,
    Values,
    check_lengths,
    cluster_index,
    finite,
    shares,
)
from valuefree.evaluation.stats.means import clustered_mean
from valuefree.evaluation.stats.resampling import RESAMPLES, bootstrap_intervals

_STEPS, _HALVINGS = 50, 40
_LONGEST = 1e3  # largest step, in log-odds
_FLAT = 1e-12


@dataclass(frozen=True)
class LengthControlled(Statistic):
    """A win rate at equal length.

    Attributes:
        rate: the win rate where both answers are equally long, σ(intercept), with its interval over prompts; None where
            the scores do not determine it.
        raw: the win rate without this control, with its interval.
        coefficient: log-odds per standard deviation of the length difference; above zero, longer answers win more.
            None where it is infinite or all length differences are equal.
        correlation: Pearson's correlation of score and length difference; None where one of them is constant.
        length_deviation: standard deviation of the length differences, in their unit.
        reason: why `rate` or `coefficient` is None, or that lengths are not controlled for; else None.
    """

    rate: Estimate | None
    raw: Estimate
    coefficient: float | None
    correlation: float | None
    length_deviation: float
    reason: str | None = None

    def __str__(self) -> str:
        rate = f"{self.rate} at equal length" if self.rate else "undefined at equal length"
        return f"{rate}, {self.raw} raw" + (f" ({self.reason})" if self.reason else "")


def length_controlled_win_rate(
    scores: Values,
    length_differences: Values,
    clusters: Clusters | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> LengthControlled:
    r"""Win rate that a logistic regression of the score on the length difference predicts at difference zero.

    .. math:: E[s_i] = \sigma(a + b\,d_i / \mathrm{sd}(d)), \qquad \text{rate} = \sigma(a)

    The difference is scaled but not centred, so that zero means equally long. Scores between 0 and 1 enter unchanged
    (quasi-binomial: the same likelihood, the interval from the bootstrap). Every prompt has the same weight, as in
    `clustered_mean`. Where few answers have equal length, the rate is an extrapolation along the line.

    Swapping the systems (1 − s, −d) turns the rate into 1 − rate and leaves the coefficient unchanged.

    Where all length differences are equal, length cannot be controlled for: the rate is the raw rate, and `reason` says
    so. Where all scores are equal, the rate is that score. Where lengths separate wins from losses, the likelihood has
    no maximum (Albert and Anderson, 1984) and the rate is None; in such a resample, the result is that of the last of
    50 bounded Newton steps.

    Args:
        scores: score of the first system per row (N,), between 0 and 1.
        length_differences: length of the first system's answer minus that of the other's (N,), in any unit.
        clusters: prompt of each row, if a prompt has several rows.
        seed: random seed of the resamples.
        resamples: number of resamples.

    Raises:
        DataError: columns of different length, none, scores outside [0, 1], values that are not finite.

    Source: after Dubois et al. (2024), Length-Controlled AlpacaEval, without its tanh and its term per instruction.
    """
    check_lengths(scores=scores, length_differences=length_differences)
    data = shares(scores, "one per row")
    lengths = finite(length_differences, "a length difference per row")
    index, count = cluster_index(clusters, len(data))
    raw = clustered_mean(data, index.tolist(), bounds=(0.0, 1.0), seed=seed, resamples=resamples)
    deviation = float(lengths.std())
    constant_length = deviation <= _FLAT * max(1.0, float(np.abs(lengths).max()))
    if constant_length:
        reason = f"all length differences are {lengths[0]:g}: the rate is the raw one, nothing is controlled for"
        return LengthControlled(raw, raw, None, None, 0.0, reason)
    if np.ptp(data) == 0:
        return LengthControlled(raw, raw, 0.0, None, deviation, f"all scores are {data[0]:g}, whatever the length")
    correlation = float(np.corrcoef(data, lengths)[0, 1])
    scaled = lengths / deviation
    if _separated(data, scaled):
        reason = "lengths separate wins from losses, so the rate at equal length is not determined"
        return LengthControlled(None, raw, None, correlation, deviation, reason)
    share = 1 / np.bincount(index, minlength=count)[index]

    fitted = _fit(share[None], data, scaled, start=np.zeros(2))[0]

    def statistic(weights: Float[np.ndarray, "B C"]) -> Float[np.ndarray, "B 1"]:
        return _fit(weights[:, index] * share, data, scaled, start=fitted)[:, :1]

    (interval,) = bootstrap_intervals(statistic, count, seed=seed, resamples=resamples)
    bounds = None if interval is None else (float(expit(interval[0])), float(expit(interval[1])))
    rate = Estimate(float(expit(fitted[0])), bounds, count)
    return LengthControlled(rate, raw, float(fitted[1]), correlation, deviation)


def _separated(scores: Float[np.ndarray, " N"], lengths: Float[np.ndarray, " N"]) -> bool:
    """Whether one threshold of length separates wins from losses; a score between 0 and 1 counts as both."""
    won, lost = lengths[scores > 0], lengths[scores < 1]
    if not len(won) or not len(lost):
        return True
    return bool(lost.max() <= won.min() or won.max() <= lost.min())


def _log_likelihood(
    line_B2: Float[np.ndarray, "B 2"],
    weights_BN: Float[np.ndarray, "B N"],
    target_B2: Float[np.ndarray, "B 2"],
    x: Float[np.ndarray, " N"],
) -> Float[np.ndarray, " B"]:
    log_odds = line_B2[:, :1] + line_B2[:, 1:] * x
    return (line_B2 * target_B2).sum(axis=1) - (weights_BN * np.logaddexp(0, log_odds)).sum(axis=1)


def _fit(
    weights_BN: Float[np.ndarray, "B N"],
    scores: Float[np.ndarray, " N"],
    lengths: Float[np.ndarray, " N"],
    *,
    start: Float[np.ndarray, " 2"],
) -> Float[np.ndarray, "B 2"]:
    """Intercept and slope (B, 2) of the weighted logistic likelihood, by Newton's method with halved steps."""
    centre = lengths.mean()
    x = lengths - centre  # makes intercept and slope nearly independent; undone at the end
    total = weights_BN.sum(axis=1)
    target = np.stack([weights_BN @ scores, weights_BN @ (scores * x)], axis=1)
    line = np.tile([start[0] + start[1] * centre, start[1]], (len(weights_BN), 1))
    reached = _log_likelihood(line, weights_BN, target, x)
    for _ in range(_STEPS):
        chance = expit(line[:, :1] + line[:, 1:] * x)
        weighted = weights_BN * chance
        slope = target - np.stack([weighted.sum(axis=1), weighted @ x], axis=1)
        if (np.abs(slope).max(axis=1) <= 1e-9 * total).all():
            break
        step = _newton_step(slope, weighted * (1 - chance), x, 1e-12 * total)
        ahead = reached
        for _ in range(_HALVINGS):
            ahead = _log_likelihood(line + step, weights_BN, target, x)
            worse = ahead < reached - 1e-12 * np.abs(reached)  # after 40 halvings a step changes nothing any more
            if not worse.any():
                break
            step[worse] /= 2
        line, reached = line + step, ahead
    line[:, 0] -= line[:, 1] * centre
    return line


def _newton_step(
    slope_B2: Float[np.ndarray, "B 2"],
    spread_BN: Float[np.ndarray, "B N"],
    x: Float[np.ndarray, " N"],
    least_B: Float[np.ndarray, " B"],
) -> Float[np.ndarray, "B 2"]:
    """Inverse curvature times slope, at most `_LONGEST`; the diagonal is raised for resamples that lengths separate."""
    s0, s1, s2 = spread_BN.sum(axis=1), spread_BN @ x, spread_BN @ x**2
    s0, s2 = s0 * (1 + 1e-12) + least_B, s2 * (1 + 1e-12) + least_B
    determinant = np.maximum(s0 * s2 - s1**2, 1e-300)
    one, two = slope_B2.T
    step = np.stack([s2 * one - s1 * two, s0 * two - s1 * one], axis=1) / determinant[:, None]
    return step * np.minimum(1.0, _LONGEST / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-300))
