"""What the partition is given, checked before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from valuefree.errors import ConfigError, DataError
from valuefree.partition.segments import pair_starts

Values = Tensor | np.ndarray | Sequence[float]
Index = Tensor | np.ndarray | Sequence[int]

FEATURE_ROWS = 4096  # rows of features that are looked at together: they may be mapped from a file


def floats(name: str, values: Values) -> Tensor:
    """Float64 of shape (R,) on the CPU, all finite."""
    tensor_R = torch.as_tensor(values, dtype=torch.float64, device="cpu").detach()
    if tensor_R.ndim != 1:
        raise DataError(f"{name} has shape {tuple(tensor_R.shape)}; expected one value per response, shape (R,).")
    bad = (~tensor_R.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise DataError(f"{name}: {len(bad)} of {len(tensor_R)} values are not finite (first rows: {bad[:10]}).")
    return tensor_R


def prompt_index(name: str, prompt_of: Index, rows: int) -> tuple[Tensor, int]:
    """The index as int64 and the number of prompts; every prompt from 0 to P − 1 must occur."""
    index_R = torch.as_tensor(prompt_of, dtype=torch.int64, device="cpu")
    if index_R.shape != (rows,):
        raise DataError(f"{name} has shape {tuple(index_R.shape)}; expected ({rows},), one prompt per response.")
    if rows == 0:
        raise DataError("no rows: a partition needs at least one response.")
    prompts = int(index_R.max()) + 1
    missing = (torch.bincount(index_R.clamp(min=0), minlength=prompts) == 0).nonzero().flatten().tolist()
    if int(index_R.min()) < 0 or missing:
        what = f"numbers {missing[:10]} have no response" if missing else "it has a negative number"
        raise DataError(f"{name} must number the prompts 0 … {prompts - 1} without a gap, but {what}.")
    return index_R, prompts


@dataclass(frozen=True)
class Rows:
    """Checked input: responses (R), and reference samples (S) when there are any."""

    rewards_R: Tensor
    logps_R: Tensor
    prompt_of_R: Tensor
    prompts: int
    samples: "tuple[Tensor, Tensor] | None"
    features_PD: Tensor | None = None


def _merged(rewards_R: Tensor, logps_R: Tensor, prompt_of_R: Tensor, response_of: Index):
    """One row per distinct (prompt, response): mean reward, mean reference score."""
    ids_R = torch.as_tensor(response_of, dtype=torch.int64, device="cpu")
    if ids_R.shape != rewards_R.shape:
        raise DataError(f"response_of has shape {tuple(ids_R.shape)}; expected {tuple(rewards_R.shape)}.")
    pairs = pair_starts(prompt_of_R, ids_R)
    if pairs is None:
        return rewards_R, logps_R, prompt_of_R
    order_R, starts = pairs
    counts = np.diff(starts, append=len(order_R))
    means = (torch.from_numpy(np.add.reduceat(x.numpy()[order_R], starts) / counts) for x in (rewards_R, logps_R))
    return *means, prompt_of_R[order_R[starts]]


def checked_rows(
    rewards, reference_logps, prompt_of, response_of, reference_rewards, reference_prompt_of, features
) -> Rows:
    """All input of an estimator, checked; equal responses merged where `response_of` says which are."""
    rewards_R = floats("rewards", rewards)
    logps_R = floats("reference_logps", reference_logps)
    if logps_R.shape != rewards_R.shape:
        raise DataError(f"rewards has {len(rewards_R)} rows, reference_logps {len(logps_R)}; expected equal counts.")
    prompt_of_R, prompts = prompt_index("prompt_of", prompt_of, len(rewards_R))
    if response_of is not None:
        rewards_R, logps_R, prompt_of_R = _merged(rewards_R, logps_R, prompt_of_R, response_of)
    samples = reference_samples_of(reference_rewards, reference_prompt_of, prompts)
    return Rows(rewards_R, logps_R, prompt_of_R, prompts, samples, _features(features, prompts))


def _features(features: Tensor | np.ndarray | None, prompts: int) -> Tensor | None:
    """As they are, not copied, if they are floating-point numbers."""
    if features is None:
        return None
    features_PD = torch.as_tensor(features, device="cpu").detach()
    if not features_PD.is_floating_point():
        features_PD = features_PD.double()
    if features_PD.ndim != 2 or len(features_PD) != prompts:
        raise DataError(f"features has shape {tuple(features_PD.shape)}; expected ({prompts}, d), a vector per prompt.")
    if not all(part_BD.isfinite().all() for part_BD in features_PD.split(FEATURE_ROWS)):
        raise DataError("features has values that are not finite: look at the reference, or compute in float32.")
    return features_PD


def reference_samples_of(rewards, prompt_of, prompts: int) -> tuple[Tensor, Tensor] | None:
    """Rewards of the reference samples (S,) and their prompts, at least one each; None if there are none."""
    if (rewards is None) != (prompt_of is None):
        raise ConfigError("reference_rewards and reference_prompt_of go together; got only one of them.")
    if rewards is None:
        return None
    rewards_S = floats("reference_rewards", rewards)
    prompt_of_S = torch.as_tensor(prompt_of, dtype=torch.int64, device="cpu")
    if prompt_of_S.shape != rewards_S.shape:
        raise DataError(f"reference_prompt_of has shape {tuple(prompt_of_S.shape)}; expected {tuple(rewards_S.shape)}.")
    if len(prompt_of_S) and (int(prompt_of_S.min()) < 0 or int(prompt_of_S.max()) >= prompts):
        raise DataError(f"reference_prompt_of must lie in 0 … {prompts - 1}.")
    missing = (torch.bincount(prompt_of_S, minlength=prompts) == 0).nonzero().flatten().tolist()
    if missing:
        raise DataError(f"{len(missing)} of {prompts} prompts have no reference sample (first: {missing[:10]}).")
    return rewards_S, prompt_of_S
