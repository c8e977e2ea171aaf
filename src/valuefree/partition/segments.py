"""Sums, means and log-sum-exps of the responses of each prompt, in log space."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Rows = Float[Tensor, " R"]
PromptOf = Int[Tensor, " R"]
PerPrompt = Float[Tensor, " {prompts}"]


def segment_sum(values_R: Rows, prompt_of_R: PromptOf, prompts: int) -> PerPrompt:
    """Sum per prompt."""
    return values_R.new_zeros(prompts).index_add_(0, prompt_of_R, values_R)


def segment_mean(values_R: Rows, prompt_of_R: PromptOf, prompts: int) -> PerPrompt:
    """Mean per prompt."""
    return segment_sum(values_R, prompt_of_R, prompts) / torch.bincount(prompt_of_R, minlength=prompts)


def segment_max(values_R: Rows, prompt_of_R: PromptOf, prompts: int) -> PerPrompt:
    """Largest value per prompt; −∞ for a prompt without rows or with rows of −∞ only."""
    return values_R.new_full((prompts,), -math.inf).scatter_reduce_(0, prompt_of_R, values_R, "amax")


def segment_logsumexp(values_R: Rows, prompt_of_R: PromptOf, prompts: int) -> PerPrompt:
    """Log Σ exp per prompt; −∞ for a prompt without rows or with rows of −∞ only."""
    top_P = segment_max(values_R, prompt_of_R, prompts)
    safe_P = torch.where(top_P.isfinite(), top_P, torch.zeros_like(top_P))
    return segment_sum((values_R - safe_P[prompt_of_R]).exp(), prompt_of_R, prompts).log() + safe_P


def log1mexp(x: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """log(1 − eˣ) for x ≤ 0, accurate at both ends."""
    return torch.where(x > -math.log(2), torch.log(-torch.expm1(x)), torch.log1p(-x.exp()))


def pair_starts(
    prompt_of_R: Int[Tensor, " R"], response_of_R: Int[Tensor, " R"]
) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " N"]] | None:
    """Group the rows by (prompt, response): an order of the rows, and where each of the N distinct pairs begins in it.

    Both arguments are int64, prompts from 0. None if every pair is distinct, which costs one fast sort.
    """
    prompts_R, responses_R = prompt_of_R.numpy(), response_of_R.numpy()
    low, high, last = int(responses_R.min()), int(responses_R.max()), int(prompts_R.max())
    if (last + 1) * (high - low + 1) > np.iinfo(np.int64).max:
        responses_R = np.unique(responses_R, return_inverse=True)[1]
        low, high = 0, len(responses_R)
    key_R = prompts_R * (high - low + 1)
    key_R += responses_R
    key_R -= low
    sorted_R = np.sort(key_R)
    if (sorted_R[1:] != sorted_R[:-1]).all():
        return None
    del sorted_R  # the rows may be millions
    order_R = np.argsort(key_R)
    key_R = key_R[order_R]
    return order_R, np.flatnonzero(np.concatenate([[True], key_R[1:] != key_R[:-1]]))
