"""What metric functions receive and return, and the intervals of means, ratios and sums. No torch."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from valuefree.evaluation.metrics.registry import MetricSettings
from valuefree.evaluation.stats import CONFIDENCE, UNBOUNDED, Interval, clustered_mean
from valuefree.evaluation.stats.resampling import bootstrap_intervals

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A number about n responses.

    Attributes:
        value: None where nothing could be scored, never 0 in its place.
        interval: 95 %, over prompts; None where there is none, as in `Estimate`.
        n: responses scored. unscored: responses that could not be scored. prompts: how many the interval is over.
        signature: two values are comparable if their signatures are equal. note: a warning for the reader.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    n: int
    unscored: int = 0
    prompts: int = 0
    signature: str | None = None
    note: str | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} – (nothing scored, {self.unscored} unscored)"
        interval = f" [{self.interval[0]:.4g}, {self.interval[1]:.4g}]" if self.interval else ""
        return f"{self.name} {self.value:.4g}{interval} (n = {self.n}, unscored {self.unscored})"

    def to_dict(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass(frozen=True)
class Texts:
    """The responses that a metric can score.

    Attributes:
        predictions: responses, shape (R,). references: their reference texts, shape (R,); empty for a metric that needs
            none. asked: their prompts, shape (R,); empty for a metric that needs none.
        prompts: equal keys for responses to the same prompt, shape (R,). Intervals are over them.
        unscored: how many responses cannot be scored, because a text is missing.
    """

    predictions: list[str]
    references: list[str]
    asked: list[Any]
    prompts: list[Hashable]
    unscored: int


@dataclass(frozen=True, kw_only=True)
class LoadedSettings(MetricSettings):
    """The options of metrics, and what only Python can pass.

    tokenizer: of transformers, or its name. reward_function: for the metric reward. processes: that share ROUGE and
    METEOR; by default as many as there are cores and work.
    """

    tokenizer: Any = None
    reward_function: Callable[..., Sequence[float]] | None = None
    processes: int | None = None


Measure = Callable[[Texts], dict[str, Metric]]


def of_mean(
    name: str,
    values: Sequence[float | None],
    prompts: Sequence[Hashable],
    *,
    bounds: Interval = UNBOUNDED,
    unscored: int = 0,
    signature: str | None = None,
    note: str | None = None,
) -> Metric:
    """Mean over responses; None counts as unscored. The interval resamples prompts with all their responses.

    values, prompts: one per response, shape (R,). bounds: the least and the greatest possible value.
    """
    scored = [(float(value), prompt) for value, prompt in zip(values, prompts, strict=True) if value is not None]
    missing = unscored + len(values) - len(scored)
    if not scored:
        return Metric(name, None, None, 0, missing, 0, signature, note)
    data = np.array([value for value, _ in scored])
    keys = [prompt for _, prompt in scored]
    sizes = np.unique(numbers_of(keys), return_counts=True)[1]
    if np.ptp(sizes) == 0 or np.ptp(data) == 0:
        found = clustered_mean(data.tolist(), keys, bounds=bounds)
        return Metric(name, float(data.mean()), found.interval, len(data), missing, found.n, signature, note)
    table = np.stack([data, np.ones_like(data)], axis=1)
    return of_sums(name, table, keys, _ratio, unscored=missing, signature=signature, note=note)


def numbers_of(keys: Sequence[Hashable]) -> np.ndarray:
    """0 for the first distinct key, 1 for the second, …; shape (R,)."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)


def _ratio(sums_BK: np.ndarray) -> np.ndarray:
    """First column divided by the second; NaN where the second is 0."""
    below = sums_BK[:, 1]
    return np.divide(sums_BK[:, 0], below, out=np.full(len(sums_BK), np.nan), where=below != 0)


def of_ratio(
    name: str, above: Sequence[float], below: Sequence[float], prompts: Sequence[Hashable], **more: Any
) -> Metric:
    """Σ above / Σ below over responses; both of shape (R,). No value where Σ below is 0."""
    return of_sums(name, np.stack([np.asarray(above), np.asarray(below)], axis=1), prompts, _ratio, **more)


def of_sums(
    name: str,
    table_RK: np.ndarray,
    prompts: Sequence[Hashable],
    statistic: Statistic,
    *,
    unscored: int = 0,
    signature: str | None = None,
    note: str | None = None,
) -> Metric:
    """A function of column sums, such as corpus BLEU; the interval resamples prompts and sums their rows again.

    Args:
        table_RK: one row per response, shape (R, K). prompts: shape (R,).
        statistic: from sums of shape (B, K) to values of shape (B,); NaN where undefined.
    """
    rows = len(table_RK)
    if not rows:
        return Metric(name, None, None, 0, unscored, 0, signature, note)
    prompt_of = numbers_of(prompts)
    table_PK = np.zeros((int(prompt_of.max()) + 1, table_RK.shape[1]))
    np.add.at(table_PK, prompt_of, table_RK)
    value = float(statistic(table_PK.sum(axis=0, keepdims=True))[0])
    if not np.isfinite(value):
        return Metric(name, None, None, 0, unscored + rows, 0, signature, note)
    interval = bootstrap_intervals(lambda weights: statistic(weights @ table_PK)[:, None], len(table_PK), seed=0)[0]
    return Metric(name, value, interval, rows, unscored, len(table_PK), signature, note)


def share_by_jackknife(
    name: str, value: float, without_P: np.ndarray, *, n: int, unscored: int = 0, signature: str | None = None
) -> Metric:
    """A share for which a bootstrap is biased, with a jackknife interval.

    without_P: the share computed without each prompt, shape (P,). The standard error is the jackknife's (Efron and
    Stein 1981: on average not too small), the interval is Student's t, cut at 0 and 1.
    """
    prompts = len(without_P)
    interval = None
    if prompts >= 2:
        error = np.sqrt((prompts - 1) / prompts * np.square(without_P - without_P.mean()).sum())
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, prompts - 1) * error)
        interval = (max(value - half, 0.0), min(value + half, 1.0)) if half > 0 else None
    return Metric(name, value, interval, n, unscored, prompts, signature)
