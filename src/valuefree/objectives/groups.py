"""Sums over the rows of a batch that share a prompt, taken back to the rows."""

import math
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor


def group_counts(prompt_of: Int[Tensor, " R"]) -> Int[Tensor, " R"]:
    """How many rows share each row's prompt, shape (R,)."""
    index, counts = _numbered(prompt_of)
    return counts[index]


def group_mean(values: Float[Tensor, " R"], prompt_of: Int[Tensor, " R"]) -> Float[Tensor, " R"]:
    """Mean over the rows that share a prompt, shape (R,)."""
    index, counts = _numbered(prompt_of)
    sums = values.new_zeros(len(counts)).index_add(0, index, values)
    return (sums / counts)[index]


def group_softmax(scores: Float[Tensor, " R"], prompt_of: Int[Tensor, " R"]) -> Float[Tensor, " R"]:
    """Softmax over the rows that share a prompt, shape (R,)."""
    index, counts = _numbered(prompt_of)
    top = scores.new_full((len(counts),), -math.inf).scatter_reduce(0, index, scores, "amax")
    weights = (scores - top[index]).exp()
    return weights / weights.new_zeros(len(counts)).index_add(0, index, weights)[index]


def _numbered(prompt_of: Int[Tensor, " R"]) -> tuple[Int[Tensor, " R"], Int[Tensor, " G"]]:
    """The group of each row as a number from 0, and the size of each group."""
    found = torch.unique(prompt_of, return_inverse=True, return_counts=True)  # type: ignore  # torch has no type for it
    _, index, counts = cast("tuple[Tensor, Tensor, Tensor]", found)
    return index, counts
