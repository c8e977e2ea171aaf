"""Prompt features: mean hidden states of the reference, on which a partition can be regressed."""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from valuefree.batches.collate import prompt_batch
from valuefree.data.storage import SPILL_BYTES, temporary_folder
from valuefree.errors import ConfigError
from valuefree.models.adapters import reference_context
from valuefree.models.modules import backbone_of, evaluating, unwrap_model
from valuefree.models.value_network import prompt_means


def prompt_features(
    reference: nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    pad_token_id: int,
    batch_tokens: int,
    autocast: torch.dtype | None = None,
) -> np.ndarray:
    """Mean of the last hidden states over each prompt's tokens, float32 of shape (P, d).

    An array larger than `SPILL_BYTES` is mapped from a temporary file, which is removed when the process ends.

    Args:
        reference: the model; the adapter of a peft model is switched off.
        prompts: token ids of each prompt; the column of a data set is read batch by batch.
        batch_tokens: positions of a batch, including padding.
        autocast: compute dtype, as in scoring.

    Raises:
        ConfigError: the disk has no room for the temporary file.
    """
    device = next(reference.parameters()).device
    autocast_context = torch.autocast(device.type, dtype=autocast) if autocast else nullcontext()
    lengths = np.fromiter((len(prompt) for prompt in prompts), dtype=np.int64, count=len(prompts))
    order = np.argsort(-lengths, kind="stable")
    features = np.empty((0, 0), dtype=np.float32)
    with evaluating(reference), reference_context(reference), autocast_context:
        start = 0
        while start < len(order):
            chosen = order[start : start + max(batch_tokens // int(lengths[order[start]]), 1)]
            batch = prompt_batch([prompts[prompt] for prompt in chosen.tolist()], pad_token_id)
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            states = prompt_means(backbone_of(unwrap_model(reference)), batch).float().cpu().numpy()
            if start == 0:
                features = _allocate(len(order), states.shape[1])
            features[chosen] = states
            start += len(chosen)
    return features


def _allocate(prompts: int, width: int) -> np.ndarray:
    """An empty array for the features, in memory or in a temporary file."""
    if prompts * width * 4 <= SPILL_BYTES:
        return np.empty((prompts, width), dtype=np.float32)
    folder = temporary_folder()
    free, needed = shutil.disk_usage(folder).free, prompts * width * 4
    if free < needed:
        raise ConfigError(
            f"the features of {prompts} prompts need {needed / 2**30:.1f} GiB under {folder.parent}, which has "
            f"{free / 2**30:.1f} GiB free. Make room, set VALUEFREE_CACHE to another folder, or use estimator='mean'."
        )
    return np.memmap(folder / "features", dtype=np.float32, mode="w+", shape=(prompts, width))
