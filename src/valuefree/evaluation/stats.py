"""Intervals and tests, paired on prompts. No torch."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from valuefree.errors import DataError

RESAMPLES = 10_000
PERCENTILE_FROM = 200  # prompts; below, the percentile interval is too narrow and BCa is used


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval over n prompts; the interval is None where n < 2."""

    value: float
    interval: tuple[float, float] | None
    n: int

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.value:.3f} (n = {self.n})"
        return f"{self.value:.3f} [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"

    def to_dict(self) -> dict[str, Any]:
        """Value, interval and n."""
        return asdict(self)


def bootstrap_mean(values: Sequence[float] | np.ndarray, *, seed: int = 0, confidence: float = 0.95) -> Estimate:
    """Mean of one value per prompt, with its bootstrap interval: percentile from 200 prompts on, BCa below.

    For a paired comparison pass differences; for several samples per prompt, their mean per prompt.

    Raises:
        DataError: no values, or some that are not finite.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0 or not np.isfinite(data).all():
        raise DataError(
            f"expected finite values, one per prompt; got shape {data.shape} or values that are not finite."
        )
    mean = float(data.mean())
    if data.size < 2:
        return Estimate(mean, None, data.size)
    if np.ptp(data) == 0:
        return Estimate(mean, (mean, mean), data.size)
    method = "percentile" if data.size >= PERCENTILE_FROM else "BCa"
    result = stats.bootstrap(
        (data,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=1000,
        confidence_level=confidence,
        method=method,
        rng=np.random.default_rng(seed),
    )
    low, high = (float(bound) for bound in result.confidence_interval)
    if not (math.isfinite(low) and math.isfinite(high)):
        half = float(stats.t.ppf(0.5 + confidence / 2, data.size - 1) * stats.sem(data))
        low, high = mean - half, mean + half
    return Estimate(mean, (low, high), data.size)


def clustered_mean(values: Sequence[float], clusters: Sequence[Any], *, seed: int = 0) -> Estimate:
    """Mean over clusters of the cluster means, with an interval that resamples clusters; n counts clusters."""
    groups: dict[Any, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        groups.setdefault(cluster, []).append(float(value))
    return bootstrap_mean([float(np.mean(group)) for group in groups.values()], seed=seed)


@dataclass(frozen=True)
class WinTieLoss:
    """Prompts that one system wins, ties and loses; `p_value` of the exact two-sided sign test, ties left out."""

    wins: int
    ties: int
    losses: int
    p_value: float

    def __str__(self) -> str:
        return f"{self.wins} / {self.ties} / {self.losses}"

    def to_dict(self) -> dict[str, Any]:
        """Counts and p-value."""
        return asdict(self)


def win_tie_loss(differences: Sequence[float] | np.ndarray, *, tolerance: float = 1e-9) -> WinTieLoss:
    """Counts of positive, zero and negative differences, one per prompt."""
    data = np.asarray(differences, dtype=np.float64)
    wins, losses = int((data > tolerance).sum()), int((data < -tolerance).sum())
    decided = wins + losses
    p_value = float(stats.binomtest(wins, decided, 0.5).pvalue) if decided else 1.0
    return WinTieLoss(wins, len(data) - decided, losses, p_value)


def t_mean(values: Sequence[float]) -> Estimate:
    """Mean of a few values, one per seed, with Student's 95 % interval; None as interval for a single one."""
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0 or not np.isfinite(data).all():
        raise DataError(f"expected finite values, one per seed; got shape {data.shape} or values that are not finite.")
    mean = float(data.mean())
    if data.size < 2:
        return Estimate(mean, None, data.size)
    half = float(stats.t.ppf(0.975, data.size - 1) * stats.sem(data))
    return Estimate(mean, (mean - half, mean + half), data.size)
