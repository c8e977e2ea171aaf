"""Win rate at equal length: what is left of it where neither answer is longer."""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from valuefree.evaluation.stats.estimate import Estimate, check_lengths, cluster_index, finite, shares
from valuefree.evaluation.stats.means import clustered_mean
from valuefree.evaluation.stats.resampling import RESAMPLES, bootstrap_intervals

_STEPS = 30
_FLAT = 1e-12


@dataclass(frozen=True)
class LengthControlled:
    """A win rate at equal length.

    Attributes:
        rate: the win rate where both answers are equally long, σ(intercept), with its interval over prompts; None where
            the scores do not determine it.
        raw: the win rate as it is, with its interval.
        coefficient: log-odds per standard deviation of the length difference; above zero, longer answers win more.
            None where it is infinite or lengths say nothing.
        correlation: Pearson's, of score and length difference; None where one of them is constant.
        length_deviation: standard deviation of the length differences, in the unit of these.
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

    def to_dict(self) -> dict[str, Any]:
        """All fields, nested ones as dictionaries."""
        return asdict(self)


def length_controlled_win_rate(
    scores: Sequence[float] | np.ndarray,
    length_differences: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> LengthControlled:
    r"""Logistic regression of the score on the length difference, read off at difference zero.

    .. math:: E[s_i] = \sigma(a + b\,d_i / \mathrm{sd}(d)), \qquad \text{rate} = \sigma(a)

    The difference is scaled and not centred, so that zero means equally long. Scores between 0 and 1 enter as they are
    (quasi-binomial: the same likelihood, the interval from the bootstrap). Every prompt weighs the same, as in
    `clustered_mean`. Where prompts are answered at equal length seldom, the rate is an extrapolation along the line.

    Swapping the systems (1 − s, −d) turns the rate into 1 − rate and leaves the coefficient.

    Where all length differences are equal nothing can be told apart: the rate is the raw one, and `reason` says so.
    Where all scores are equal, so is the rate. Where lengths separate wins from losses the likelihood has no maximum
    (Albert and Anderson, 1984) and the rate is None; in a resample of that kind the last of 30 bounded Newton steps
    counts, which for the rate lies at or next to its limit.

    Args:
        scores: score of the first system per row (N,), between 0 and 1.
        length_differences: its length minus the other's (N,), in any one unit.
        clusters: prompt of each row, if a prompt has several.
        seed: of the resamples.
        resamples: how many.

    Raises:
        DataError: columns of different length, none, scores outside [0, 1], values that are not finite.

    Source: after Dubois et al. (2024), Length-Controlled AlpacaEval, without its tanh and its term per instruction.
    """
    check_lengths(scores=scores, length_differences=length_differences)
    data = shares(scores, "one per row")
    lengths = finite(length_differences, "a length difference per row")
    index, count = cluster_index(clusters, len(data))
    raw = clustered_mean(data, index.tolist(), seed=seed, resamples=resamples)
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

    def statistic(weights: np.ndarray) -> np.ndarray:
        return _fit(weights[:, index] * share, data, scaled)[:, :1]

    coefficient = float(_fit(share[None], data, scaled)[0, 1])
    intercept = float(statistic(np.ones((1, count)))[0, 0])
    (interval,) = bootstrap_intervals(statistic, count, seed=seed, resamples=resamples)
    bounds = None if interval is None else (float(expit(interval[0])), float(expit(interval[1])))
    return LengthControlled(Estimate(float(expit(intercept)), bounds, count), raw, coefficient, correlation, deviation)


def _separated(scores: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether one threshold of length parts the wins from the losses; a score in between is some of both."""
    won, lost = lengths[scores > 0], lengths[scores < 1]
    if not len(won) or not len(lost):
        return True
    return bool(lost.max() <= won.min() or won.max() <= lost.min())


def _fit(weights_BN: np.ndarray, scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Intercept and slope (B, 2) of the weighted logistic likelihood, by Newton's method with bounded steps."""
    found = np.zeros((len(weights_BN), 2))
    total = weights_BN.sum(axis=1)
    target = np.stack([weights_BN @ scores, weights_BN @ (scores * lengths)], axis=1)
    for _ in range(_STEPS):
        chance = expit(found[:, :1] + found[:, 1:] * lengths)
        weighted = weights_BN * chance
        slope = target - np.stack([weighted.sum(axis=1), weighted @ lengths], axis=1)
        if (np.abs(slope).max(axis=1) <= 1e-9 * total).all():
            break
        spread = weighted * (1 - chance)
        s0, s1, s2 = spread.sum(axis=1), spread @ lengths, spread @ lengths**2
        ridge = 1e-9 * (s0 + s2) + 1e-12 * total  # a resample of one length only, or one that separates
        s0, s2 = s0 + ridge, s2 + ridge
        determinant = s0 * s2 - s1**2
        step = (
            np.stack([(s2 * slope[:, 0] - s1 * slope[:, 1]), (s0 * slope[:, 1] - s1 * slope[:, 0])], axis=1)
            / np.maximum(determinant, 1e-300)[:, None]
        )
        found += np.clip(step, -1.0, 1.0)
    return found
