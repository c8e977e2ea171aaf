"""Sums over the rows of a batch that share a prompt, taken back to the rows."""

import math

import torch
from torch import Tensor


def group_counts(prompt_of: Tensor) -> Tensor:
    """How many rows share each row's prompt, shape (R,)."""
    _, index, counts = torch.unique(prompt_of, return_inverse=True, return_counts=True)
    return counts[index]


def group_mean(values: Tensor, prompt_of: Tensor) -> Tensor:
    """Mean over the rows that share a prompt, shape (R,)."""
    _, index, counts = torch.unique(prompt_of, return_inverse=True, return_counts=True)
    sums = values.new_zeros(len(counts)).index_add(0, index, values)
    return (sums / counts)[index]


def group_softmax(scores: Tensor, prompt_of: Tensor) -> Tensor:
    """Softmax over the rows that share a prompt, shape (R,)."""
    _, index = torch.unique(prompt_of, return_inverse=True)
    groups = int(index.max()) + 1 if len(index) else 0
    top = scores.new_full((groups,), -math.inf).scatter_reduce(0, index, scores, "amax")
    weights = (scores - top[index]).exp()
    return weights / weights.new_zeros(groups).index_add(0, index, weights)[index]
