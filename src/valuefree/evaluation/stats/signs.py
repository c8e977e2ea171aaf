"""Wins, ties and losses, and the sign test of whether wins and losses are equally likely."""

from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[reportMissingTypeStubs]  # scipy has none

from valuefree.errors import DataError
from valuefree.evaluation.stats.estimate import Estimate, Statistic, Values, finite


@dataclass(frozen=True)
class WinTieLoss(Statistic):
    """Numbers of prompts that one system wins, ties and loses, and the p-value of the exact two-sided sign test."""

    wins: int
    ties: int
    losses: int
    p_value: float

    def __str__(self) -> str:
        return f"{self.wins} / {self.ties} / {self.losses} (sign test {p_shown(self.p_value)})"


def p_shown(p_value: float) -> str:
    """``p = 0.0312``, ``p = 1`` or ``p < 0.0001``: three significant digits, never an exponent."""
    return f"p = {p_value:.3g}" if p_value >= 1e-4 else "p < 0.0001"


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p-value of the hypothesis that wins and losses are equally likely; 1.0 without any.

    It is the probability, under a fair coin, of a split at least as uneven. Ties carry no sign and are left out.

    Raises:
        DataError: a count below zero.

    Source: Dixon and Mood (1946), The Statistical Sign Test.
    """
    if wins < 0 or losses < 0:
        raise DataError(f"expected counts of wins and losses; got {wins} and {losses}.")
    decided = wins + losses
    if not decided:
        return 1.0
    return float(stats.binomtest(wins, decided, 0.5).pvalue)  # type: ignore[reportUnknownMemberType]  # scipy again


def win_tie_loss(differences: Values, *, tolerance: float = 1e-9) -> WinTieLoss:
    """Counts of positive, zero and negative differences, one per prompt; none of each without prompts.

    Raises:
        DataError: differences that are not finite.
    """
    data = finite(differences, "one difference per prompt") if len(differences) else np.zeros(0)
    wins, losses = int((data > tolerance).sum()), int((data < -tolerance).sum())
    return WinTieLoss(wins, len(data) - wins - losses, losses, sign_test(wins, losses))


def preferred(rate: Estimate, p_value: float) -> int | None:
    """Which of two systems is preferred, 0 or 1; None if no preference is shown.

    The interval of the win rate has to exclude ½, and the sign test to have p < .05: with four prompts won and six
    tied, the interval alone excludes ½.
    """
    if rate.interval is None or p_value >= 0.05:
        return None
    low, high = rate.interval
    return 0 if low > 0.5 else 1 if high < 0.5 else None
