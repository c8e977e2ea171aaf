"""The bootstrap behind every interval: clusters are drawn with replacement, and count as often as they were drawn.

A statistic is a function from weights (B, C), how often each of C clusters counts in each of B resamples, to values
(B, K). A batch of resamples is one matrix product. K numbers that belong together share their resamples.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri, stdtrit  # type: ignore[reportMissingTypeStubs]  # scipy has none

RESAMPLES = 10_000
PERCENTILE_FROM = 200  # clusters; with fewer, the percentile interval is too narrow and BCa is used
CONFIDENCE = 0.95
DEFINED = 0.95  # share of the resamples in which a statistic must exist for its interval to be given
_BATCH = 1000

StatisticOf = Callable[[Float[np.ndarray, "B C"]], Float[np.ndarray, "B K"]]
Interval = tuple[float, float]
UNBOUNDED: Interval = (-math.inf, math.inf)


def resampled_weights(clusters: int, *, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "B {clusters}"]]:
    """Batches (B, C) of how often each cluster was drawn; the draws are those of `scipy.stats.bootstrap`."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _BATCH):
        size = min(_BATCH, resamples - start)
        drawn = generator.integers(0, clusters, (size, clusters))
        flat = (drawn + clusters * np.arange(size)[:, None]).ravel()
        yield np.bincount(flat, minlength=size * clusters).reshape(size, clusters).astype(np.float64)


def bootstrap_intervals(
    statistic: StatisticOf, clusters: int, *, seed: int, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> list[Interval | None]:
    """Intervals of the K values of `statistic`: percentile from 200 clusters on, BCa below (Efron, 1987).

    BCa is expanded (Hesterberg, 2015): t·√(C/(C − 1)) stands for the normal quantile z, because resamples of C values
    spread too little by √((C − 1)/C), and their spread is itself estimated. Resamples in which a value is undefined
    (NaN) are left out of its interval.

    Returns:
        K intervals. An interval is None for fewer than two clusters; where the value is undefined for the data, or in
        more than one resample in twenty; and where no resample differs, because the clusters then do not show how the
        value varies.
    """
    values_K = statistic(np.ones((1, clusters)))[0]
    if clusters < 2:
        return [None] * len(values_K)
    batches = [statistic(weights) for weights in resampled_weights(clusters, resamples=resamples, seed=seed)]
    draws_BK = np.concatenate(batches)
    left_out_CK = None
    if clusters < PERCENTILE_FROM:
        left_out_CK = statistic(np.ones((clusters, clusters)) - np.eye(clusters))
    intervals: list[Interval | None] = []
    for column, value in enumerate(values_K):
        draws = draws_BK[:, column]
        defined = draws[~np.isnan(draws)]
        if np.isnan(value) or len(defined) < DEFINED * len(draws) or np.ptp(defined) <= rounding(value):
            intervals.append(None)
            continue
        left_out = None if left_out_CK is None else left_out_CK[:, column]
        intervals.append(_interval(float(value), defined, left_out, confidence))
    return intervals


def _interval(
    value: float, draws: Float[np.ndarray, " B"], left_out: Float[np.ndarray, " C"] | None, confidence: float
) -> Interval:
    levels = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if left_out is not None:
        quantile = expanded_quantile(len(left_out), confidence)
        levels = _bca_levels(value, draws, left_out[~np.isnan(left_out)], quantile)
    low, high = np.quantile(draws, levels)
    return float(low), float(high)


def rounding(value: float) -> float:
    """Largest difference between numbers near `value` that the order of a sum can cause."""
    return 1e-12 * max(1.0, abs(value))


def unseen_share(clusters: int, confidence: float = CONFIDENCE) -> float:
    """Upper bound of the probability of what occurred in none of `clusters` draws; Clopper and Pearson (1934)."""
    return 1 - ((1 - confidence) / 2) ** (1 / clusters)


def unanimous_interval(value: float, clusters: int, *, bounds: Interval, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a mean within `bounds` where all clusters have the same `value`.

    The values that no cluster has shown may lie at either bound. For wins alone it is the Clopper–Pearson interval,
    which excludes ½ from six wins on, where the sign test has p = .03.
    """
    unseen = unseen_share(clusters, confidence)
    return value - unseen * (value - bounds[0]), value + unseen * (bounds[1] - value)


def expanded_quantile(clusters: int, confidence: float) -> float:
    """Replacement for the upper normal quantile with which the interval of a normal mean is Student's."""
    return float(stdtrit(clusters - 1, (1 + confidence) / 2) * np.sqrt(clusters / (clusters - 1)))


def student_half_width(data: Float[np.ndarray, " N"], confidence: float = CONFIDENCE) -> float:
    """Half the width of Student's interval of the mean of two or more values."""
    standard_error = data.std(ddof=1) / np.sqrt(data.size)
    return float(stdtrit(data.size - 1, (1 + confidence) / 2) * standard_error)


def _bca_levels(
    value: float, draws: Float[np.ndarray, " B"], left_out: Float[np.ndarray, " C"], quantile: float
) -> Float[np.ndarray, " 2"]:
    """Quantile levels that correct for bias, and for a spread that changes with the value; Efron (1987), eq. 2.3."""
    below, tied = (draws < value - rounding(value)).mean(), (np.abs(draws - value) <= rounding(value)).mean()
    bias = ndtri(below + tied / 2) if 0 < below + tied / 2 < 1 else 0.0  # undefined for a value outside the draws
    deviations = left_out.mean() - left_out
    spread = float((deviations**2).sum())
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + np.array([-quantile, quantile])
    room = 1 - acceleration * shifted
    corrected = np.where(room > 0, bias + shifted / np.where(room > 0, room, 1.0), np.sign(shifted) * np.inf)
    return ndtr(corrected)
