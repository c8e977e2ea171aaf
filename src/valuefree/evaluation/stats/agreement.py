"""Agreement of two judges beyond chance: Cohen's κ."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from valuefree.evaluation.stats.estimate import Clusters, Estimate, Statistic, check_lengths, cluster_index
from valuefree.evaluation.stats.resampling import RESAMPLES, bootstrap_intervals, unanimous_interval


@dataclass(frozen=True)
class Agreement(Statistic):
    """How often two judges agree, and how far that exceeds chance.

    Attributes:
        kappa: (observed − expected) / (1 − expected), its interval and the number of clusters; None if undefined.
        observed: share of the pairs of labels that are equal; None without pairs.
        expected: the share of equal labels if the judges were independent, with their own frequencies; None without
            pairs.
        n: rows that both judges labelled.
        missing: rows that were left out because a label is None.
        labels: the labels, in the order of the table.
        table: counts; rows are labels of the first judge, columns of the second.
        reason: why `kappa` or its interval is None; else None.
    """

    kappa: Estimate | None
    observed: float | None
    expected: float | None
    n: int
    missing: int
    labels: tuple[Hashable, ...]
    table: tuple[tuple[int, ...], ...]
    reason: str | None = None

    def __str__(self) -> str:
        missing = f", {self.missing} left out" if self.missing else ""
        if self.kappa is None:
            return f"κ undefined: {self.reason} (n = {self.n}{missing})"
        return f"κ = {self.kappa} (agree {self.observed:.3f}, by chance {self.expected:.3f}, n = {self.n}{missing})"


def _kappa(table_BLL: Float[np.ndarray, "B L L"]) -> Float[np.ndarray, " B"]:
    """κ of B tables of counts; NaN where agreement by chance is certain, or the table is empty."""
    total = table_BLL.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.trace(table_BLL, axis1=1, axis2=2) / total
        expected = (table_BLL.sum(axis=1) * table_BLL.sum(axis=2)).sum(axis=1) / total**2
        return np.where(1 - expected > 1e-12, (observed - expected) / (1 - expected), np.nan)


def cohen_kappa(
    first: Sequence[Hashable | None],
    second: Sequence[Hashable | None],
    *,
    clusters: Clusters | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Agreement:
    r"""Agreement of two judges on the same rows, unweighted.

    .. math:: \kappa = \frac{p_o - p_e}{1 - p_e}, \quad p_o = \sum_k p_{kk}, \quad p_e = \sum_k p_{k\cdot} p_{\cdot k}

    A row that a judge left without a label (None) is not a disagreement: it is left out and counted. κ is undefined
    when both judges always give the same one label, because chance then always agrees; `kappa` is None, with a reason.

    Args:
        first: labels (N,) of one judge, of any hashable kind.
        second: labels (N,) of the other.
        clusters: prompt of each row, if a prompt has several rows (both orders, for example); the interval resamples
            whole prompts.
        seed: random seed of the resamples.
        resamples: number of resamples. Those in which κ is undefined are left out of the interval; it is None if they
            are more than one in twenty. Where all rows agree, the interval comes from the Clopper–Pearson bound of
            the share that agrees.

    Raises:
        DataError: columns of different length.

    Source: Cohen (1960), A Coefficient of Agreement for Nominal Scales.
    """
    check_lengths(first=first, second=second)
    index, _ = cluster_index(clusters, len(first))
    kept = [row for row, pair in enumerate(zip(first, second, strict=True)) if None not in pair]
    missing = len(first) - len(kept)
    if not kept:
        return Agreement(None, None, None, 0, missing, (), (), "no row has both labels")
    labels = tuple(sorted({label for row in kept for label in (first[row], second[row])}, key=str))
    number = {label: position for position, label in enumerate(labels)}
    cluster_of, count = cluster_index(index[kept].tolist(), len(kept))
    tables_CLL = np.zeros((count, len(labels), len(labels)))
    one, two = (np.array([number[column[row]] for row in kept]) for column in (first, second))
    np.add.at(tables_CLL, (cluster_of, one, two), 1)
    table = tables_CLL.sum(axis=0)
    share = table / table.sum()
    observed, expected = float(np.trace(share)), float(share.sum(axis=1) @ share.sum(axis=0))
    counts = tuple(tuple(int(cell) for cell in row) for row in table)
    kappa = float(_kappa(table[None])[0])
    if np.isnan(kappa):
        reason = f"both judges always say {labels[0]!r}, so chance alone agrees always"
        return Agreement(None, observed, expected, len(kept), missing, labels, counts, reason)
    flat = tables_CLL.reshape(count, -1)
    shape = (-1, len(labels), len(labels))
    (interval,) = bootstrap_intervals(
        lambda weights: _kappa((weights @ flat).reshape(shape))[:, None], count, seed=seed, resamples=resamples
    )
    reason = None
    if interval is None and count >= 2 and observed == 1:
        low, _ = unanimous_interval(1.0, count, bounds=(0.0, 1.0))  # of the share that agrees
        interval = ((low - expected) / (1 - expected), 1.0)
    if interval is None:
        reason = "no interval: " + (
            "one prompt" if count < 2 else "κ is undefined in more than one resample in twenty, or the same in all"
        )
    return Agreement(Estimate(kappa, interval, count), observed, expected, len(kept), missing, labels, counts, reason)
