"""Means over prompts, and over seeds, with their intervals."""

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats

from valuefree.evaluation.stats.estimate import Estimate, check_lengths, cluster_index, finite
from valuefree.evaluation.stats.resampling import CONFIDENCE, RESAMPLES, bootstrap_intervals


def bootstrap_mean(
    values: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean of one value per prompt, with its bootstrap interval: percentile from 200 prompts on, else expanded BCa.

    For a paired comparison take `paired_difference`; for several samples per prompt, `clustered_mean`. Where all values
    are equal the interval has width zero: resamples cannot show what was never observed.

    Raises:
        DataError: no values, or some that are not finite.

    Source: Efron (1987), Better Bootstrap Confidence Intervals; Hesterberg (2015), What Teachers Should Know About the
    Bootstrap. Equals `scipy.stats.bootstrap`, below 200 prompts at the expanded level.
    """
    data = finite(values, "one per prompt")
    mean = float(data.mean())
    if np.ptp(data) == 0:
        return Estimate(mean, (mean, mean) if data.size > 1 else None, data.size)
    (interval,) = bootstrap_intervals(
        lambda weights: weights @ data[:, None] / weights.sum(axis=1, keepdims=True),
        data.size,
        seed=seed,
        resamples=resamples,
        confidence=confidence,
    )
    return Estimate(mean, interval, data.size)


def clustered_mean(
    values: Sequence[float] | np.ndarray, clusters: Sequence[Hashable], *, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """Mean over clusters of the cluster means, with an interval that resamples clusters; n counts clusters.

    Raises:
        DataError: no values, some that are not finite, or as many clusters as there are not values.
    """
    data = finite(values, "one per row")
    index, count = cluster_index(clusters, len(data))
    means = np.bincount(index, weights=data, minlength=count) / np.bincount(index, minlength=count)
    return bootstrap_mean(means, seed=seed, resamples=resamples)


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
    """Mean of a few values, one per seed, with Student's 95 % interval; None as interval for a single one."""
    data = finite(values, "one per seed")
    mean = float(data.mean())
    if data.size < 2:
        return Estimate(mean, None, data.size)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, data.size - 1) * stats.sem(data))
    return Estimate(mean, (mean - half, mean + half), data.size)
