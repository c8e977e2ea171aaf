"""What is compared: responses to the same prompt, or prompts with each other."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from valuefree.errors import DataError
from valuefree.evaluation.held_out.ridge import Ridge, fit_ridge
from valuefree.evaluation.held_out.rows import LoggedRows

PAIRS_FROM = 20  # prompts with two different rewards from which responses to the same prompt are compared
FITTED_PROMPTS = 2000  # at most; an SVD of so many takes seconds

By = Literal["pairs", "rows"]


@dataclass(frozen=True, eq=False)
class Contrasts:
    """N points, and where they may be compared.

    For "pairs" a point is a row, and points of a prompt are compared. For "rows" a point is a prompt, with the means of
    its rows, and all points are compared.

    Attributes:
        logratios, rewards, lengths: (N,).
        unit: unit of resampling of each point (N,), 0 … units − 1: its prompt.
        block: points of one block are compared, and are centred on the block's mean (N,).
        stratum: rewards are exchangeable within a stratum where the policy has learned nothing (N,).
        adjusted: a prediction from prompt features was subtracted from log-ratios and rewards.
    """

    by: By
    logratios: Float[np.ndarray, " N"]
    rewards: Float[np.ndarray, " N"]
    lengths: Float[np.ndarray, " N"]
    unit: Int[np.ndarray, " N"]
    block: Int[np.ndarray, " N"]
    stratum: Int[np.ndarray, " N"]
    adjusted: bool = False

    @property
    def units(self) -> int:
        """Number of prompts."""
        return int(self.unit.max()) + 1

    @cached_property
    def centred(self) -> Float[np.ndarray, "3 N"]:
        """ρ̃, r̃ and the centred lengths."""
        return np.stack([centre(values, self.block) for values in (self.logratios, self.rewards, self.lengths)])


def centre(values: Float[np.ndarray, " N"], group: Int[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Values minus the mean of their group; exactly 0 where all values of a group are equal."""
    counts = np.bincount(group)
    means = np.bincount(group, weights=values) / np.maximum(counts, 1)
    smallest, largest = np.full(len(counts), np.inf), np.full(len(counts), -np.inf)
    np.minimum.at(smallest, group, values)
    np.maximum.at(largest, group, values)
    return np.where((smallest == largest)[group], 0.0, values - means[group])


def comparison_of(rows: LoggedRows) -> By:
    """What can be compared in `rows`.

    "pairs" if 20 prompts, or half of them, have two different rewards; else "rows", prompts with each other.

    Raises:
        DataError: all rewards are equal.
    """
    if np.ptp(rows.rewards) == 0:
        raise DataError(
            f"all {len(rows)} held-out rewards are {rows.rewards[0]:g}, so nothing can be ranked. "
            "Hold out prompts with different rewards."
        )
    varied = np.zeros(rows.prompts, dtype=bool)
    varied[rows.prompt_of[centre(rows.rewards, rows.prompt_of) != 0]] = True
    return "pairs" if varied.sum() >= min(PAIRS_FROM, rows.prompts / 2) else "rows"


def prompt_means(values: Float[np.ndarray, " R"], rows: LoggedRows) -> Float[np.ndarray, " P"]:
    """Mean of each prompt's rows."""
    return np.bincount(rows.prompt_of, weights=values) / rows.counts


def contrasts_of(rows: LoggedRows, by: By, predicted: Float[np.ndarray, "P 2"] | None = None) -> Contrasts:
    """The points of `rows`. predicted: log-ratio and reward of each prompt from its features, for "rows"."""
    lengths = np.asarray(rows.lengths, dtype=np.float64)
    if by == "pairs":
        prompt = rows.prompt_of
        return Contrasts(by, rows.logratios, rows.rewards, lengths, prompt, prompt, prompt)
    logratios, rewards, lengths = (prompt_means(values, rows) for values in (rows.logratios, rows.rewards, lengths))
    if predicted is not None:
        logratios, rewards = logratios - predicted[:, 0], rewards - predicted[:, 1]
    unit, block = np.arange(rows.prompts), np.zeros(rows.prompts, dtype=np.int64)
    return Contrasts(by, logratios, rewards, lengths, unit, block, rows.counts, predicted is not None)


def fit_features(train: LoggedRows, *, seed: int) -> tuple[LoggedRows, Ridge] | None:
    """Regression of log-ratio and reward on prompt features, and the training rows it was fitted to; None without them.

    It is fitted to the means of each prompt; to 2,000 prompts drawn at random if there are more.
    """
    if train.features is None or train.prompts < 2:
        return None
    if train.prompts > FITTED_PROMPTS:
        chosen = np.sort(np.random.default_rng(seed).choice(train.prompts, FITTED_PROMPTS, replace=False))
        train = train.select_prompts(chosen)
    targets = np.stack([prompt_means(values, train) for values in (train.logratios, train.rewards)], axis=1)
    return train, fit_ridge(np.asarray(train.features), targets)
