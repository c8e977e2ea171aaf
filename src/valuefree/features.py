"""States of the reference, one vector per prompt, from which a partition may be regressed."""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from valuefree.data.batching import prompt_batch
from valuefree.models import backbone_of, core_of, evaluating, reference_context
from valuefree.value_network import prompt_means


def prompt_features(
    reference: nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    pad_token_id: int,
    batch_tokens: int,
    autocast: torch.dtype | None = None,
) -> np.ndarray:
    """Mean of the last hidden states over each prompt's tokens, float64 of shape (P, d).

    Args:
        reference: the model; of a peft model the adapter is switched off.
        prompts: token ids of each prompt.
        batch_tokens: positions of a batch, padding included.
        autocast: compute type, as in scoring.
    """
    device = next(reference.parameters()).device
    casting = torch.autocast(device.type, dtype=autocast) if autocast else nullcontext()
    order = sorted(range(len(prompts)), key=lambda prompt: -len(prompts[prompt]))
    found: list[np.ndarray] = []
    with evaluating(reference), reference_context(reference), casting:
        start = 0
        while start < len(order):
            stop = start + max(batch_tokens // len(prompts[order[start]]), 1)
            batch = prompt_batch([prompts[prompt] for prompt in order[start:stop]], pad_token_id)
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            found.append(prompt_means(backbone_of(core_of(reference)), batch).double().cpu().numpy())
            start = stop
    states = np.concatenate(found)
    features = np.empty_like(states)
    features[order] = states
    return features
