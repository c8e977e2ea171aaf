"""Means over prompts, and over seeds, with their intervals."""

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats

from valuefree.errors import DataError
from valuefree.evaluation.stats.estimate import Estimate, check_lengths, cluster_index, finite
from valuefree.evaluation.stats.resampling import (
    CONFIDENCE,
    RESAMPLES,
    UNBOUNDED,
    Interval,
    bootstrap_intervals,
    rounding,
    unseen_share,
)


def bootstrap_mean(
    values: Sequence[float] | np.ndarray,
    *,
    bounds: Interval = UNBOUNDED,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean of one value per prompt, with its bootstrap interval: percentile from 200 prompts on, else expanded BCa.

    For a paired comparison take `paired_difference`; for several samples per prompt, `clustered_mean`.

    No resample lies beyond the smallest or the largest value, so an interval that ends there, as one of a few prompts
    does, would end too soon. The end is then a bound that holds for few prompts: with finite `bounds` the mean if the
    greatest share of unseen values that the data leave open (Clopper and Pearson) lay at the bound, else Student's.
    Nor is the lower end above that of as many prompts that all have the largest value, nor the upper below its like.
    Where all values are equal and a bound is infinite there is no interval.

    Args:
        values: (P,). bounds: the least and the greatest value that there can be, such as (0, 1) of a win rate.
        seed, confidence, resamples: of the bootstrap.

    Raises:
        DataError: no values, some that are not finite, or outside `bounds`.

    Source: Efron (1987), Better Bootstrap Confidence Intervals; Hesterberg (2015), What Teachers Should Know About the
    Bootstrap. Where no end is replaced it equals `scipy.stats.bootstrap`, below 200 prompts at the expanded level.
    """
    data = finite(values, "one per prompt")
    mean = float(data.mean())
    outside = max(bounds[0] - data.min(), data.max() - bounds[1])
    if outside > rounding(mean):
        raise DataError(f"expected values within {bounds}; got {data.min():g} to {data.max():g}.")
    if data.size < 2:
        return Estimate(mean, None, data.size)
    (interval,) = bootstrap_intervals(
        lambda weights: weights @ data[:, None] / weights.sum(axis=1, keepdims=True),
        data.size,
        seed=seed,
        resamples=resamples,
        confidence=confidence,
    )
    return Estimate(mean, _beyond_the_data(data, interval, bounds, confidence), data.size)


def _beyond_the_data(
    data: np.ndarray, interval: Interval | None, bounds: Interval, confidence: float
) -> Interval | None:
    """`interval`, or the mean where it is None, with the ends moved out that resamples cannot give."""
    if interval is None and not np.isfinite(bounds).all():
        return None
    mean = float(data.mean())
    low, high = interval or (mean, mean)
    return _lower_end(low, data, bounds[0], confidence), -_lower_end(-high, -data, -bounds[1], confidence)


def _lower_end(low: float, data: np.ndarray, bound: float, confidence: float) -> float:
    smallest, largest = float(data.min()), float(data.max())
    ends_too_soon = low <= smallest + rounding(smallest)
    if np.isfinite(bound):
        unseen = unseen_share(data.size, confidence)
        last = smallest if ends_too_soon else largest
        return min(low, last - unseen * (last - bound))
    if ends_too_soon:
        half = float(stats.t.ppf((1 + confidence) / 2, data.size - 1) * stats.sem(data))
        return min(low, float(data.mean()) - half)
    return low


def clustered_mean(
    values: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable],
    *,
    bounds: Interval = UNBOUNDED,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean over clusters of the cluster means, with an interval that resamples clusters; n counts clusters.

    bounds: as of `bootstrap_mean`.

    Raises:
        DataError: no values, some that are not finite or outside `bounds`, or as many clusters as there are not values.
    """
    data = finite(values, "one per row")
    index, count = cluster_index(clusters, len(data))
    means = np.bincount(index, weights=data, minlength=count) / np.bincount(index, minlength=count)
    return bootstrap_mean(means, bounds=bounds, seed=seed, resamples=resamples)


def paired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean over prompts of first − second, two systems on the same prompts: what makes a prompt hard cancels.

    Args:
        first: a value per row (N,) of one system.
        second: the other system's values (N,), row for row on the same prompt.
        clusters: prompt of each row, if a prompt has several; then prompts are averaged and resampled whole.
        seed: of the resamples.
        resamples: how many.

    Raises:
        DataError: columns of different length, none, or values that are not finite.
    """
    check_lengths(first=first, second=second)
    differences = finite(first, "one per row of `first`") - finite(second, "one per row of `second`")
    if clusters is None:
        return bootstrap_mean(differences, seed=seed, resamples=resamples)
    return clustered_mean(differences, clusters, seed=seed, resamples=resamples)


def t_mean(values: Sequence[float]) -> Estimate:
    """Mean of a few values, one per seed, with Student's 95 % interval; None as interval where none of them differs."""
    data = finite(values, "one per seed")
    mean = float(data.mean())
    if np.ptp(data) <= rounding(mean):
        return Estimate(mean, None, data.size)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, data.size - 1) * stats.sem(data))
    return Estimate(mean, (mean - half, mean + half), data.size)
