"""Two policies on the same held-out rows."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from valuefree.errors import DataError
from valuefree.evaluation.held_out.contrasts import comparison_of, contrasts_of
from valuefree.evaluation.held_out.intervals import skewed_estimate
from valuefree.evaluation.held_out.learned import Stored
from valuefree.evaluation.held_out.measure import predict_features
from valuefree.evaluation.held_out.ranking import Ranked, accuracy_difference, rank_pairs
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.evaluation.held_out.sentences import pairs_compared
from valuefree.evaluation.held_out.weights import controlled_gain, weigh
from valuefree.evaluation.held_out.wording import contains, with_interval
from valuefree.evaluation.stats.estimate import Estimate


@dataclass(frozen=True)
class Comparison(Stored):
    """Differences of two policies, first minus second, paired by prompt.

    Attributes:
        prompts: held-out prompts. by: as in `Learned`.
        first, second: ranking accuracy of each.
        difference: difference of the ranking accuracies.
        gain_difference: difference of the gains in reward, or None.
        no_gain: why `gain_difference` is None.
        adjusted: as in `Learned`.
    """

    prompts: int
    by: Literal["pairs", "rows"]
    first: float
    second: float
    difference: Estimate
    gain_difference: Estimate | None
    no_gain: str | None
    adjusted: bool = False

    def sentence(self, first_name: str, second_name: str) -> str:
        """The comparison in plain English."""
        shares = f"{100 * self.first:.1f} % against {100 * self.second:.1f} % of "
        shares += pairs_compared(self.by)
        points = _points(self.difference)
        where = f"On the same {self.prompts:,} report prompts"
        if contains(self.difference, 0.0):
            said = (
                f"{where} no difference between {first_name} and {second_name} is seen in how they rank responses: "
                f"{shares}, a difference of {points} points."
            )
        else:
            better = "better" if self.difference.value > 0 else "worse"
            said = f"{where} {first_name} ranks responses {better} than {second_name}: {shares}, {points} points."
        if self.gain_difference is not None:
            difference = with_interval(self.gain_difference, sign=True)
            return f"{said} Difference of the gains estimated from the log: {difference}."
        return f"{said} Gains estimated from the log are not compared: {(self.no_gain or '').rstrip('.')}."


def _points(difference: Estimate) -> str:
    """``+4.2 [-1.0, +9.1]``."""
    value = f"{100 * difference.value:+.1f}"
    if difference.interval is None:
        return value
    return f"{value} [{100 * difference.interval[0]:+.1f}, {100 * difference.interval[1]:+.1f}]"


def compare(
    first: LoggedRows,
    second: LoggedRows,
    *,
    train: tuple[LoggedRows, LoggedRows] | None = None,
    sampled: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two policies on the same rows; every difference is paired, and its interval is clustered by prompt.

    Args:
        first, second: the same rows, with the log-ratios of each policy.
        train: training rows with the log-ratios of the first and of the second policy, for the regression on features.
        sampled: as in `measure`. Gains are compared where those of both policies may be estimated.
        seed: random seed of the resamples.

    Raises:
        DataError: rows that differ in more than their log-ratios, or rewards that are all equal.
    """
    for name in ("rewards", "prompt_of", "lengths"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            raise DataError(f"expected the same rows for both policies; their `{name}` differ. Score the same rows.")
    by = comparison_of(first)
    trains = train or (None, None)
    ranked: list[Ranked] = []
    gains, failures = [], [sampled] if sampled is not None else []
    for which, (rows, own_train) in enumerate(zip((first, second), trains, strict=True)):
        predicted = predict_features(rows, own_train, seed=seed)
        contrasts = contrasts_of(rows, by, predicted)
        ranked.append(rank_pairs(contrasts, contrasts.logratios))
        weighted = weigh(rows)
        failed = weighted.failed() if sampled is None else None
        if failed:
            failures.append(f"{'first' if which == 0 else 'second'} policy: {failed}")
        gains.append(controlled_gain(rows, weighted, predicted=None if predicted is None else predicted[:, 1]))
    return Comparison(
        prompts=first.prompts,
        by=by,
        first=ranked[0].accuracy,
        second=ranked[1].accuracy,
        difference=accuracy_difference(ranked[0], ranked[1], seed=seed),
        gain_difference=None if failures else _gain_difference(*gains),
        no_gain=" ".join(failures) or None,
        adjusted=ranked[0].contrasts.adjusted,
    )


def _gain_difference(
    first: tuple[float, Float[np.ndarray, " P"]], second: tuple[float, Float[np.ndarray, " P"]]
) -> Estimate:
    """Difference of two gains, from their values and influences on the same prompts."""
    return skewed_estimate(first[0] - second[0], first[1] - second[1])
