"""Counts over the rows of a data set: prompts, duplicates, dropped rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import datasets
import numpy as np
import polars as pl

from valuefree.data.columns import TextHashes, batches, column_hashes, combine_hashes, factorize, to_numpy
from valuefree.data.validation import prompt_text
from valuefree.errors import number_of


@dataclass(frozen=True)
class DataSummary:
    """Counts of the rows that were read: rows kept, prompts, rows dropped by reason, and usable peculiarities.

    merged: exact prompts that differ from another one only in white space (or ignored case) and are counted with it.
    duplicates: rows that repeat an earlier (prompt, response). contradictory: different (prompt, response) whose rows
    have different rewards. singletons: prompts with one response. all_equal: prompts with several responses of equal
    reward.
    """

    rows: int
    prompts: int
    merged: int
    duplicates: int
    contradictory: int
    singletons: int
    all_equal: int
    dropped: dict[str, int]

    def __str__(self) -> str:
        repeated = number_of(self.duplicates, "duplicate row") + (" (kept)" if self.duplicates else "")
        if self.contradictory:
            repeated += f", {number_of(self.contradictory, 'answer')} with contradictory rewards"
        text = (
            f"{self.rows} responses to {self.prompts} prompts; {repeated}, {self.singletons} prompts with one "
            f"response, {self.all_equal} with equal rewards"
        )
        if self.merged:
            text += f"; {self.merged} prompts merged with one that differs only in white space (or ignored case)"
        if self.dropped:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in self.dropped.items())
            text += f"; dropped {sum(self.dropped.values())} rows ({reasons})"
        return text

    def to_dict(self) -> dict[str, Any]:
        """All counts."""
        return asdict(self)


def summarize(dataset: datasets.Dataset, dropped: Mapping[str, int] | None = None) -> DataSummary:
    """Counts over a data set that `read_triplets` made; responses are compared by 128 bits of hash."""
    ids_R, rewards_R = to_numpy(dataset["prompt_id"], np.int64), to_numpy(dataset["reward"], np.float64)
    exact_R = factorize(*combine_hashes(ids_R, _prompt_hashes(dataset)))
    merged = int(exact_R.max(initial=-1) - factorize(ids_R).max(initial=-1))
    return summary_of(ids_R, column_hashes(dataset["response"]), rewards_R, dropped or {}, merged)


def _prompt_hashes(dataset: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """128 bits of hash per exact prompt."""
    if isinstance(dataset.features["prompt"], datasets.Value):
        return column_hashes(dataset["prompt"])
    hashes = TextHashes()
    for table in batches(dataset, ["prompt"]):
        hashes.add(pl.Series(map(prompt_text, table.column(0).to_pylist()), dtype=pl.String))
    return hashes.take()


def _extremes(values_R: np.ndarray, group_of_R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each group."""
    groups = int(group_of_R.max(initial=-1)) + 1
    lowest, highest = np.full(groups, np.inf), np.full(groups, -np.inf)
    np.minimum.at(lowest, group_of_R, values_R)
    np.maximum.at(highest, group_of_R, values_R)
    return lowest, highest


def summary_of(
    ids_R: np.ndarray,
    responses: tuple[np.ndarray, np.ndarray],
    rewards_R: np.ndarray,
    dropped: Mapping[str, int],
    merged: int,
) -> DataSummary:
    """Counts from prompt numbers, hashes of the responses and rewards, one of each per row (R,)."""
    rows = len(ids_R)
    pairs_R = factorize(*combine_hashes(ids_R, responses))
    prompt_of_R = factorize(ids_R)
    prompts = int(prompt_of_R.max(initial=-1)) + 1
    sizes_P = np.bincount(prompt_of_R, minlength=prompts)
    lowest_P, highest_P = _extremes(rewards_R, prompt_of_R)
    lowest_A, highest_A = _extremes(rewards_R, pairs_R)
    return DataSummary(
        rows=rows,
        prompts=prompts,
        merged=merged,
        duplicates=rows - len(lowest_A),
        contradictory=int((lowest_A != highest_A).sum()),
        singletons=int((sizes_P == 1).sum()),
        all_equal=int(((sizes_P > 1) & (lowest_P == highest_P)).sum()),
        dropped=dict(dropped),
    )
