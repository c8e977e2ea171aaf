"""Group rows by prompt: the few rows of a batch by any key, and all rows of a data set by number."""

from collections.abc import Hashable, Iterable

import numpy as np


def groups_of(keys: Iterable[Hashable]) -> list[list[int]]:
    """Row numbers of each distinct key, keys by first appearance; for the rows of a batch."""
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def rows_of_prompts(prompt_of: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each prompt, prompts by number; one sort, for the millions of rows of a data set.

    prompt_of: prompt number of each row, shape (R,).
    """
    if not len(prompt_of):
        return []
    order = np.argsort(prompt_of, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(prompt_of[order])) + 1)
