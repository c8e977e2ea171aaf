"""What a log looks like: responses per prompt, rewards and lengths."""

import itertools
from collections import Counter
from dataclasses import dataclass

import datasets
import numpy as np

from valuefree.data.columns import batches, to_numpy
from valuefree.data.validation import prompt_text

BAR = 40  # characters of the longest bar
BINS = 10


@dataclass(frozen=True)
class Profile:
    """Numbers of a data set that `read_triplets` made.

    group_sizes: number of prompts by their number of responses. reward_std: pooled standard deviation of the rewards
    within prompts, or of all rewards if no prompt has two different ones. differs: whether some prompt has.
    characters: of all responses, and of each prompt once. long_characters: of a row, 99th percentile.
    """

    group_sizes: dict[int, int]
    differs: bool
    reward_std: float
    histogram: tuple[str, ...]
    characters: int
    long_characters: float

    @property
    def singles(self) -> bool:
        """Whether most prompts have one response."""
        return 2 * self.group_sizes.get(1, 0) > sum(self.group_sizes.values())


def profile(dataset: datasets.Dataset) -> Profile:
    """Measure a data set, column by column."""
    ids_R, rewards_R = to_numpy(dataset["prompt_id"], np.int64), to_numpy(dataset["reward"], np.float64)
    sizes_P = np.bincount(ids_R)
    means_P = np.bincount(ids_R, rewards_R) / sizes_P
    degrees = len(ids_R) - len(sizes_P)
    within = float(np.sqrt(((rewards_R - means_P[ids_R]) ** 2).sum() / degrees)) if degrees else 0.0
    texts = [
        (len(prompt_text(row["prompt"])), len(prompt_text(row["response"])))
        for table in batches(dataset, ["prompt", "response"])
        for row in table.to_pylist()
    ]
    prompt_R, response_R = np.array(texts, dtype=np.int64).T
    first = np.unique(ids_R, return_index=True)[1]
    return Profile(
        group_sizes=dict(sorted(Counter(sizes_P.tolist()).items())),
        differs=within > 0,
        reward_std=within or float(rewards_R.std()),
        histogram=histogram(rewards_R),
        characters=int(prompt_R[first].sum() + response_R.sum()),
        long_characters=float(np.percentile(prompt_R + response_R, 99)),
    )


def histogram(rewards_R: np.ndarray) -> tuple[str, ...]:
    """Lines of a bar chart: of each value, or of ten equal bins if there are more than ten values."""
    values, counts = np.unique(rewards_R, return_counts=True)
    names = [f"{value:g}" for value in values]
    if len(values) > BINS:
        counts, edges = np.histogram(rewards_R, BINS)
        names = [f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges)]
    width, most = max(map(len, names)), counts.max()
    bars = ("#" * round(BAR * count / most) for count in counts)
    return tuple(f"{name:>{width}} | {bar} {count}" for name, bar, count in zip(names, bars, counts, strict=True))
