"""A number with its interval, and the checks that every statistic shares."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from valuefree.errors import DataError

Values = Sequence[float] | Shaped[np.ndarray, "..."]  # numbers to be checked by `finite`
Clusters = Sequence[Hashable]


class Statistic:
    """Base of the results, which are dataclasses."""

    def to_dict(self) -> dict[str, Any]:
        """All fields, nested results as dictionaries."""
        return asdict(self)  # type: ignore[call-overload]  # subclasses are dataclasses


@dataclass(frozen=True)
class Estimate(Statistic):
    """A value with its 95 % interval over n prompts.

    The interval is None for one prompt, and where all prompts have the same value and no bounds are known: the values
    then say nothing about how they vary.
    """

    value: float
    interval: tuple[float, float] | None
    n: int

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.value:.3f} (n = {self.n})"
        return f"{self.value:.3f} [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"


def finite(values: Values, what: str) -> Float[np.ndarray, " N"]:
    """`values` as an array (N,).

    Raises:
        DataError: no values, more than one dimension, or some that are not finite numbers (None, NaN, ∞).
    """
    try:
        data = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        data = np.array(np.nan)
    if data.ndim != 1 or data.size == 0 or not np.isfinite(data).all():
        raise DataError(
            f"expected finite values, {what}; got shape {data.shape} or values that are not finite numbers. "
            "Leave out what could not be scored, and say how many."
        )
    return data


def shares(scores: Values, what: str) -> Float[np.ndarray, " N"]:
    """`scores` as an array (N,) of values between 0 and 1.

    Raises:
        DataError: as `finite`, or a score outside [0, 1].
    """
    data = finite(scores, what)
    if data.min() < 0 or data.max() > 1:
        raise DataError(
            f"expected scores between 0 (loss) and 1 (win), {what}; got {data.min():g} to {data.max():g}. "
            "Count a tie as 0.5."
        )
    return data


def check_lengths(**columns: Sequence[Any] | Shaped[np.ndarray, "..."]) -> None:
    """Raise a DataError that names each column and its length, unless all are equally long."""
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise DataError(f"expected columns of one length, row by row; got {lengths}.")


def cluster_index(clusters: Iterable[Hashable] | None, rows: int) -> tuple[Int[np.ndarray, " {rows}"], int]:
    """Cluster of each row as a number (N,), in order of first appearance, and the number of clusters.

    Without `clusters` every row is a cluster of its own.

    Raises:
        DataError: not one cluster per row.
    """
    if clusters is None:
        return np.arange(rows), rows
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(cluster, len(number)) for cluster in clusters], dtype=np.int64)
    if len(index) != rows:
        raise DataError(f"expected one cluster per row; got {len(index)} clusters for {rows} rows.")
    return index, len(number)
