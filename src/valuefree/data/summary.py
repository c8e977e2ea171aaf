"""Counts over the rows of a data set: how many, how alike, what was dropped."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import datasets
import numpy as np

from valuefree.data.columns import array_of, column_hashes, numbered, within


@dataclass(frozen=True)
class DataSummary:
    """What was read: rows kept and prompts; rows dropped by reason; and what is odd but usable.

    duplicates: rows whose (prompt, response) stood before. singletons: prompts with one response. all_equal: prompts
    with several responses, all rewarded alike.
    """

    rows: int
    prompts: int
    duplicates: int
    singletons: int
    all_equal: int
    dropped: dict[str, int]

    def __str__(self) -> str:
        text = (
            f"{self.rows} responses to {self.prompts} prompts; {self.duplicates} duplicate rows, {self.singletons} "
            f"prompts with one response, {self.all_equal} with equal rewards"
        )
        if self.dropped:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in self.dropped.items())
            text += f"; dropped {sum(self.dropped.values())} rows ({reasons})"
        return text

    def to_dict(self) -> dict[str, Any]:
        """All counts."""
        return asdict(self)


def summarize(dataset: datasets.Dataset, dropped: Mapping[str, int] | None = None) -> DataSummary:
    """Counts over a data set that `read_triplets` made; responses are equal where 128 bits of hash are."""
    ids_R, rewards_R = array_of(dataset["prompt_id"], np.int64), array_of(dataset["reward"], np.float64)
    return summary_of(ids_R, column_hashes(dataset["response"]), rewards_R, dropped or {})


def summary_of(
    ids_R: np.ndarray, responses: tuple[np.ndarray, np.ndarray], rewards_R: np.ndarray, dropped: Mapping[str, int]
) -> DataSummary:
    """Counts from prompt numbers, hashes of the responses and rewards, one of each per row (R,)."""
    rows = len(ids_R)
    pairs_R = numbered(*within(ids_R, responses))
    prompt_of_R = numbered(ids_R)
    prompts = int(prompt_of_R.max(initial=-1)) + 1
    sizes_P = np.bincount(prompt_of_R, minlength=prompts)
    lowest_P, highest_P = np.full(prompts, np.inf), np.full(prompts, -np.inf)
    np.minimum.at(lowest_P, prompt_of_R, rewards_R)
    np.maximum.at(highest_P, prompt_of_R, rewards_R)
    return DataSummary(
        rows=rows,
        prompts=prompts,
        duplicates=rows - (int(pairs_R.max(initial=-1)) + 1),
        singletons=int((sizes_P == 1).sum()),
        all_equal=int(((sizes_P > 1) & (lowest_P == highest_P)).sum()),
        dropped=dict(dropped),
    )
