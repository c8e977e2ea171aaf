"""Inputs of the partition, checked before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from valuefree.errors import ConfigError, DataError
from valuefree.partition.segments import pair_starts

Values = Real[Tensor, "..."] | Real[np.ndarray, "..."] | Sequence[float]
Index = Int[Tensor, "..."] | Int[np.ndarray, "..."] | Sequence[int]
Features = Real[Tensor, "..."] | Real[np.ndarray, "..."]
Samples = tuple[Float[Tensor, " S"], Int[Tensor, " S"]]

FEATURE_ROWS = 4096  # rows of features that are checked at once: they may be mapped from a file


@dataclass(frozen=True)
class PartitionData:
    """R responses to P prompts, checked.

    rewards_R, logps_R: float64. prompt_of_R: int64, 0 … P−1. response_of_R: equal numbers within a prompt are one
    response. samples: rewards of samples of the reference, and their prompts (S); at least one sample per prompt.
    """

    rewards_R: Float[Tensor, " R"]
    logps_R: Float[Tensor, " R"]
    prompt_of_R: Int[Tensor, " R"]
    prompts: int
    response_of_R: Int[Tensor, " R"] | None = None
    samples: Samples | None = None
    features_PD: Float[Tensor, "P D"] | None = None

    @property
    def draws(self) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
        """Rewards, and their prompts, that stand for draws from the reference: its samples if any, else the data."""
        return self.samples or (self.rewards_R, self.prompt_of_R)

    @cached_property
    def _pairs(self) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " N"]] | None:
        return None if self.response_of_R is None else pair_starts(self.prompt_of_R, self.response_of_R)

    def first_rows(self) -> Int[Tensor, " N"] | None:
        """The first row of each distinct response to a prompt; None if there are no duplicates."""
        return None if self._pairs is None else torch.as_tensor(np.minimum.reduceat(*self._pairs))

    def merged(self) -> "PartitionData":
        """The data with one row per distinct response to a prompt: its mean reward and mean reference score."""
        if self._pairs is None:
            return self
        order_R, starts = self._pairs
        counts = np.diff(starts, append=len(order_R))
        rewards, logps = (
            torch.as_tensor(np.add.reduceat(column.numpy()[order_R], starts) / counts)
            for column in (self.rewards_R, self.logps_R)
        )
        prompt_of = self.prompt_of_R[order_R[starts]]
        return replace(self, rewards_R=rewards, logps_R=logps, prompt_of_R=prompt_of, response_of_R=None)


def check_inputs(
    rewards: Values,
    reference_logps: Values,
    prompt_of: Index,
    *,
    response_of: Index | None,
    reference_rewards: Values | None,
    reference_prompt_of: Index | None,
    features: Features | None,
) -> PartitionData:
    """The inputs as checked tensors.

    Raises:
        ConfigError: only one of the two arguments about reference samples. DataError: unequal lengths, values that are
            not finite, a prompt without a response or without a reference sample.
    """
    rewards_R = floats("rewards", rewards)
    logps_R = floats("reference_logps", reference_logps)
    if logps_R.shape != rewards_R.shape:
        raise DataError(f"rewards has {len(rewards_R)} rows, reference_logps {len(logps_R)}; expected equal counts.")
    prompt_of_R, prompts = prompt_index("prompt_of", prompt_of, len(rewards_R))
    return PartitionData(
        rewards_R,
        logps_R,
        prompt_of_R,
        prompts,
        None if response_of is None else _index("response_of", response_of, len(rewards_R)),
        reference_samples(reference_rewards, reference_prompt_of, prompts),
        None if features is None else _features(features, prompts),
    )


def floats(name: str, values: Values) -> Float[Tensor, " R"]:
    """The values as float64 on the CPU.

    Raises:
        DataError: more than one dimension, or values that are not finite.
    """
    tensor_R = torch.as_tensor(values, dtype=torch.float64, device="cpu").detach()
    if tensor_R.ndim != 1:
        raise DataError(f"{name} has shape {tuple(tensor_R.shape)}; expected one value per response, shape (R,).")
    bad = _where(~tensor_R.isfinite())
    if bad:
        raise DataError(f"{name}: {len(bad)} of {len(tensor_R)} values are not finite (first rows: {bad[:10]}).")
    return tensor_R


def prompt_index(name: str, prompt_of: Index, rows: int) -> tuple[Int[Tensor, " {rows}"], int]:
    """The index as int64, and the number of prompts P.

    Raises:
        DataError: another shape than (rows,), no rows, or a number from 0 to P − 1 that does not occur.
    """
    index_R = _index(name, prompt_of, rows)
    if rows == 0:
        raise DataError("no rows: a partition needs at least one response.")
    prompts = int(index_R.max()) + 1
    missing = _where(torch.bincount(index_R.clamp(min=0), minlength=prompts) == 0)
    if int(index_R.min()) < 0 or missing:
        what = f"numbers {missing[:10]} have no response" if missing else "it has a negative number"
        raise DataError(f"{name} must number the prompts 0 … {prompts - 1} without a gap, but {what}.")
    return index_R, prompts


def reference_samples(rewards: Values | None, prompt_of: Index | None, prompts: int) -> Samples | None:
    """Rewards of the reference samples (S,) and their prompts; None if there are no samples.

    Raises:
        ConfigError: one of the two arguments without the other. DataError: unequal lengths, an unknown prompt, or a
            prompt without a sample.
    """
    if (rewards is None) != (prompt_of is None):
        raise ConfigError("reference_rewards and reference_prompt_of go together; got only one of them.")
    if rewards is None or prompt_of is None:
        return None
    rewards_S = floats("reference_rewards", rewards)
    prompt_of_S = _index("reference_prompt_of", prompt_of, len(rewards_S))
    if len(prompt_of_S) and (int(prompt_of_S.min()) < 0 or int(prompt_of_S.max()) >= prompts):
        raise DataError(f"reference_prompt_of must lie in 0 … {prompts - 1}.")
    missing = _where(torch.bincount(prompt_of_S, minlength=prompts) == 0)
    if missing:
        raise DataError(f"{len(missing)} of {prompts} prompts have no reference sample (first: {missing[:10]}).")
    return rewards_S, prompt_of_S


def _index(name: str, numbers: Index, rows: int) -> Int[Tensor, " {rows}"]:
    index_R = torch.as_tensor(numbers, dtype=torch.int64, device="cpu")
    if index_R.shape != (rows,):
        raise DataError(f"{name} has shape {tuple(index_R.shape)}; expected ({rows},), one number per row.")
    return index_R


def _where(mask: Tensor) -> list[int]:
    """Positions at which a mask of one dimension is true."""
    return np.flatnonzero(mask.numpy()).tolist()


def _features(features: Features, prompts: int) -> Float[Tensor, "{prompts} D"]:
    """The features, which are not copied if they are floating-point numbers."""
    features_PD = torch.as_tensor(features, device="cpu").detach()
    if not features_PD.is_floating_point():
        features_PD = features_PD.double()
    if features_PD.ndim != 2 or len(features_PD) != prompts:
        raise DataError(f"features has shape {tuple(features_PD.shape)}; expected ({prompts}, d), a vector per prompt.")
    for start in range(0, prompts, FEATURE_ROWS):
        if not bool(features_PD[start : start + FEATURE_ROWS].isfinite().all()):
            raise DataError("features has values that are not finite: look at the reference, or compute in float32.")
    return features_PD
