"""The bootstrap behind every interval: clusters are drawn with replacement, and count as often as they were drawn.

A statistic is a function of weights (B, C), how often each of C clusters counts in each of B resamples, to values
(B, K); a whole batch of resamples is one matrix product. K numbers that belong together share their resamples.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

RESAMPLES = 10_000
PERCENTILE_FROM = 200  # clusters; below, the percentile interval is too narrow and BCa is used
CONFIDENCE = 0.95
DEFINED = 0.95  # share of the resamples in which a statistic must exist for its interval to be given
_BATCH = 1000

Statistic = Callable[[np.ndarray], np.ndarray]
Interval = tuple[float, float]
UNBOUNDED: Interval = (-math.inf, math.inf)


def resampled_weights(clusters: int, *, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Batches (B, C) of how often each cluster was drawn; the draws are those of `scipy.stats.bootstrap`."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _BATCH):
        size = min(_BATCH, resamples - start)
        drawn = generator.integers(0, clusters, (size, clusters))
        flat = (drawn + clusters * np.arange(size)[:, None]).ravel()
        yield np.bincount(flat, minlength=size * clusters).reshape(size, clusters).astype(np.float64)


def bootstrap_intervals(
    statistic: Statistic, clusters: int, *, seed: int, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> list[Interval | None]:
    """Intervals of the K values of `statistic`: percentile from 200 clusters on, BCa below (Efron, 1987).

    BCa is expanded (Hesterberg, 2015): t·√(C/(C − 1)) stands for the normal quantile z, because resamples of C values
    spread too little by √((C − 1)/C), and their spread is itself estimated. Resamples in which a value is undefined
    (NaN) are left out of its interval.

    Returns:
        K intervals; None for fewer than two clusters, where the value itself, or it in more than one resample in
        twenty, is undefined, and where no resample differs: then the clusters show nothing of how it varies.
    """
    values_K = statistic(np.ones((1, clusters)))[0]
    if clusters < 2:
        return [None] * len(values_K)
    batches = [statistic(weights) for weights in resampled_weights(clusters, resamples=resamples, seed=seed)]
    draws_BK = np.concatenate(batches)
    left_out_CK = None
    if clusters < PERCENTILE_FROM:
        left_out_CK = statistic(np.ones((clusters, clusters)) - np.eye(clusters))
    found: list[Interval | None] = []
    for column, value in enumerate(values_K):
        draws = draws_BK[:, column]
        defined = draws[~np.isnan(draws)]
        if np.isnan(value) or len(defined) < DEFINED * len(draws) or np.ptp(defined) <= rounding(value):
            found.append(None)
            continue
        left_out = None if left_out_CK is None else left_out_CK[:, column]
        found.append(_interval(float(value), defined, left_out, confidence))
    return found


def _interval(value: float, draws: np.ndarray, left_out: np.ndarray | None, confidence: float) -> Interval:
    levels = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if left_out is not None:
        quantile = expanded_quantile(len(left_out), confidence)
        levels = _bca_levels(value, draws, left_out[~np.isnan(left_out)], quantile)
    low, high = np.quantile(draws, levels)
    return float(low), float(high)


def rounding(value: float) -> float:
    """Up to which difference numbers like `value` are equal but for the order of a sum."""
    return 1e-12 * max(1.0, abs(value))


def unseen_share(clusters: int, confidence: float = CONFIDENCE) -> float:
    """Upper bound of the probability of what none of `clusters` draws has shown; Clopper and Pearson (1934)."""
    return 1 - ((1 - confidence) / 2) ** (1 / clusters)


def unanimous_interval(value: float, clusters: int, *, bounds: Interval, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a mean within `bounds` of which all clusters have the same `value`.

    What none of them has shown may lie at either bound. Of wins alone it is Clopper's and Pearson's interval: it
    excludes ½ from six on, where the sign test has p = .03.
    """
    unseen = unseen_share(clusters, confidence)
    return value - unseen * (value - bounds[0]), value + unseen * (bounds[1] - value)


def expanded_quantile(clusters: int, confidence: float) -> float:
    """What stands for the upper normal quantile, so that the interval of a normal mean is Student's."""
    return float(stats.t.ppf((1 + confidence) / 2, clusters - 1) * np.sqrt(clusters / (clusters - 1)))


def _bca_levels(value: float, draws: np.ndarray, left_out: np.ndarray, quantile: float) -> np.ndarray:
    """Levels of the draws that correct for bias and for a spread that changes with the value; Efron (1987), eq. 2.3."""
    below, tied = (draws < value - rounding(value)).mean(), (np.abs(draws - value) <= rounding(value)).mean()
    bias = ndtri(below + tied / 2) if 0 < below + tied / 2 < 1 else 0.0  # outside its draws there is none to read off
    deviations = left_out.mean() - left_out
    spread = float((deviations**2).sum())
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + np.array([-quantile, quantile])
    room = 1 - acceleration * shifted
    corrected = np.where(room > 0, bias + shifted / np.where(room > 0, room, 1.0), np.sign(shifted) * np.inf)
    return ndtr(corrected)
