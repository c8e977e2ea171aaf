"""Means over prompts, and over seeds, with their intervals."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit  # type: ignore[reportMissingTypeStubs]  # scipy has none

from valuefree.errors import DataError
from valuefree.evaluation.stats.estimate import Clusters, Estimate, Values, check_lengths, cluster_index, finite
from valuefree.evaluation.stats.resampling import (
    CONFIDENCE,
    RESAMPLES,
    UNBOUNDED,
    Interval,
    bootstrap_intervals,
    rounding,
    student_half_width,
    unseen_share,
)


def bootstrap_mean(
    values: Values,
    *,
    bounds: Interval = UNBOUNDED,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean of one value per prompt, with its bootstrap interval: percentile from 200 prompts on, else expanded BCa.

    Use `paired_difference` for a paired comparison, and `clustered_mean` for several samples per prompt.

    No resample lies beyond the smallest or the largest value. An interval that ends at one of them, as it does for few
    prompts, would therefore be too short. Such an end is replaced by a bound that holds for few prompts. With finite
    `bounds` it is the mean that results if the largest share of unseen values that the data allow (Clopper and Pearson)
    lies at the bound; otherwise it is Student's. In addition, the lower end is never above that of as many prompts that
    all have the largest value, and the upper end never below that of as many prompts that all have the smallest value.
    There is no interval where all values are equal and a bound is infinite.

    Args:
        values: (P,). bounds: the smallest and the largest possible value, such as (0, 1) for a win rate.
        seed, confidence, resamples: of the bootstrap.

    Raises:
        DataError: no values, values that are not finite, or values outside `bounds`.

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
    data: Float[np.ndarray, " N"], interval: Interval | None, bounds: Interval, confidence: float
) -> Interval | None:
    """`interval`, or the mean where it is None, with those ends moved outwards that resamples cannot reach."""
    if interval is None and not np.isfinite(bounds).all():
        return None
    mean = float(data.mean())
    low, high = interval or (mean, mean)
    return _lower_end(low, data, bounds[0], confidence), -_lower_end(-high, -data, -bounds[1], confidence)


def _lower_end(low: float, data: Float[np.ndarray, " N"], bound: float, confidence: float) -> float:
    smallest, largest = float(data.min()), float(data.max())
    ends_too_soon = low <= smallest + rounding(smallest)
    if np.isfinite(bound):
        unseen = unseen_share(data.size, confidence)
        last = smallest if ends_too_soon else largest
        return min(low, last - unseen * (last - bound))
    if ends_too_soon:
        return min(low, float(data.mean()) - student_half_width(data, confidence))
    return low


def clustered_mean(
    values: Values,
    clusters: Clusters,
    *,
    bounds: Interval = UNBOUNDED,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean over clusters of the cluster means, with an interval that resamples clusters; n counts clusters.

    bounds: as in `bootstrap_mean`.

    Raises:
        DataError: no values, values that are not finite or outside `bounds`, or not one cluster per value.
    """
    data = finite(values, "one per row")
    index, count = cluster_index(clusters, len(data))
    means = np.bincount(index, weights=data, minlength=count) / np.bincount(index, minlength=count)
    return bootstrap_mean(means, bounds=bounds, seed=seed, resamples=resamples)


def paired_difference(
    first: Values,
    second: Values,
    clusters: Clusters | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean over prompts of first − second, for two systems on the same prompts: the difficulty of a prompt cancels.

    Args:
        first: a value per row (N,) of one system.
        second: the other system's values (N,), row for row on the same prompt.
        clusters: prompt of each row, if a prompt has several rows; prompts are then averaged and resampled whole.
        seed: random seed of the resamples.
        resamples: number of resamples.

    Raises:
        DataError: columns of different length, none, or values that are not finite.
    """
    check_lengths(first=first, second=second)
    differences = finite(first, "one per row of `first`") - finite(second, "one per row of `second`")
    if clusters is None:
        return bootstrap_mean(differences, seed=seed, resamples=resamples)
    return clustered_mean(differences, clusters, seed=seed, resamples=resamples)


def t_mean(values: Values) -> Estimate:
    """Mean of a few values, one per seed, with Student's 95 % interval, which is None where all values are equal."""
    data = finite(values, "one per seed")
    mean = float(data.mean())
    if np.ptp(data) <= rounding(mean):
        return Estimate(mean, None, data.size)
    half = student_half_width(data)
    return Estimate(mean, (mean - half, mean + half), data.size)


def crossed_mean(values: Float[np.ndarray, "R P"]) -> Estimate:
    """Mean over runs and prompts of one value each, with a 95 % interval for other runs on other prompts; n is P.

    An interval over prompts alone says nothing of how another random seed would change the mean. The variance of the
    mean is (MS_R + MS_P − MS_RP) / (R·P), of the mean squares of runs, of prompts and of their interaction, but at
    least what runs alone or prompts alone give. Its degrees of freedom are Satterthwaite's. With one run it is
    `t_mean` over prompts, with one prompt over runs.

    Args:
        values: (R, P), run by prompt.

    Raises:
        DataError: no values, or some that are not finite.

    Source: Clark (1973), The Language-as-Fixed-Effect Fallacy; Satterthwaite (1946).
    """
    runs, prompts = int(values.shape[0]), int(values.shape[1])
    data = finite(values.ravel(), "one per run and prompt")
    if runs == 1 or prompts == 1:
        return replace(t_mean(data), n=prompts)
    mean = float(data.mean())
    if np.ptp(data) <= rounding(mean):
        return Estimate(mean, None, prompts)
    table = data.reshape(runs, prompts) - mean
    of_run, of_prompt = table.mean(axis=1), table.mean(axis=0)
    within = table - of_run[:, None] - of_prompt
    by_run = float(prompts * (of_run**2).sum() / (runs - 1))
    by_prompt = float(runs * (of_prompt**2).sum() / (prompts - 1))
    by_both = float((within**2).sum() / ((runs - 1) * (prompts - 1)))
    square, degrees = max((by_run, runs - 1.0), (by_prompt, prompts - 1.0))
    if by_run + by_prompt - by_both > square:
        square = by_run + by_prompt - by_both
        degrees = square**2 / (
            by_run**2 / (runs - 1) + by_prompt**2 / (prompts - 1) + by_both**2 / ((runs - 1) * (prompts - 1))
        )
    half = float(stdtrit(degrees, (1 + CONFIDENCE) / 2) * np.sqrt(square / data.size))
    return Estimate(mean, (mean - half, mean + half), prompts)
