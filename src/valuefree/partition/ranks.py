"""Rewards as quantiles of their prompt."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from valuefree.partition.inputs import Index, Samples, Values, floats, prompt_index, reference_samples


def rank_rewards(
    rewards: Values,
    prompt_of: Index,
    *,
    reference_rewards: Values | None = None,
    reference_prompt_of: Index | None = None,
) -> Float[Tensor, " R"]:
    """Rewards as quantiles of their prompt, float64 of shape (R,): QRPO's transform (arXiv 2507.08068).

    Without reference samples the quantile is the mid-rank (k − ½)/n within the prompt, where ties share their mean
    rank. With reference samples it is the share of the prompt's samples that are ≤ r. Arguments and errors as in
    `partition_values`.
    """
    rewards_R = floats("rewards", rewards)
    prompt_of_R, prompts = prompt_index("prompt_of", prompt_of, len(rewards_R))
    return ranks(rewards_R, prompt_of_R, prompts, reference_samples(reference_rewards, reference_prompt_of, prompts))


def ranks(
    rewards_R: Float[Tensor, " R"], prompt_of_R: Int[Tensor, " R"], prompts: int, samples: Samples | None
) -> Float[Tensor, " R"]:
    """`rank_rewards` of checked tensors."""
    pool, pool_prompt = samples or (rewards_R, prompt_of_R)
    below_R, equal_R = _counts(rewards_R, prompt_of_R, pool, pool_prompt)
    counts_R = torch.bincount(pool_prompt, minlength=prompts)[prompt_of_R]
    return (below_R + (0.5 if samples is None else 1.0) * equal_R) / counts_R


def _counts(
    values: Float[Tensor, " R"], prompt_of: Int[Tensor, " R"], pool: Float[Tensor, " N"], pool_prompt: Int[Tensor, " N"]
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
    """For each value, how many of its prompt's pool are smaller, and how many are equal; by sorting, O(N log N)."""
    everything = torch.cat([pool, values])
    levels = torch.searchsorted(everything.sort().values, everything)  # equal numbers for equal values, in order
    width = len(everything)
    keys = torch.sort(pool_prompt * width + levels[: len(pool)]).values
    wanted = prompt_of * width + levels[len(pool) :]
    starts = torch.searchsorted(keys, prompt_of * width)
    first, last = torch.searchsorted(keys, wanted), torch.searchsorted(keys, wanted, right=True)
    return (first - starts).double(), (last - first).double()
