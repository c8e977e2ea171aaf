"""Wins, ties and losses, and whether they could be a coin's."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from valuefree.errors import DataError
from valuefree.evaluation.stats.estimate import finite


@dataclass(frozen=True)
class WinTieLoss:
    """Prompts that one system wins, ties and loses; `p_value` of the exact two-sided sign test, ties left out."""

    wins: int
    ties: int
    losses: int
    p_value: float

    def __str__(self) -> str:
        return f"{self.wins} / {self.ties} / {self.losses} (sign test p = {self.p_value:.3g})"

    def to_dict(self) -> dict[str, Any]:
        """Counts and p-value."""
        return asdict(self)


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p-value that wins and losses are equally likely; 1.0 when there are none.

    The probability, under a fair coin, of a split at least as uneven. Ties carry no sign and are left out.

    Raises:
        DataError: a count below zero.

    Source: Dixon and Mood (1946), The Statistical Sign Test.
    """
    if wins < 0 or losses < 0:
        raise DataError(f"expected counts of wins and losses; got {wins} and {losses}.")
    decided = wins + losses
    return float(stats.binomtest(wins, decided, 0.5).pvalue) if decided else 1.0


def win_tie_loss(differences: Sequence[float] | np.ndarray, *, tolerance: float = 1e-9) -> WinTieLoss:
    """Counts of positive, zero and negative differences, one per prompt; none of each without prompts.

    Raises:
        DataError: differences that are not finite.
    """
    data = finite(differences, "one difference per prompt") if len(differences) else np.zeros(0)
    wins, losses = int((data > tolerance).sum()), int((data < -tolerance).sum())
    return WinTieLoss(wins, len(data) - wins - losses, losses, sign_test(wins, losses))
