"""KL divergence of a policy from its reference, estimated from samples of the policy."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from valuefree.data.prompts import Prompt
from valuefree.evaluation.generation import Decoding, generate_ids
from valuefree.evaluation.stats import Estimate, bootstrap_mean
from valuefree.models.adapters import check_reference, reference_context
from valuefree.models.hidden_states import supports_packing
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import evaluating
from valuefree.training.scored_dataset import collator_for


def kl_to_reference(
    policy: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    reference: nn.Module | None,
    decoding: Decoding,
) -> Estimate:
    """KL(policy‖reference) in nats per response: mean log-ratio on fresh samples of the policy, one per prompt.

    The sampled token ids are scored as they are; no text is tokenised again.

    Args:
        reference: None for the policy with its adapter switched off.
        decoding: batch size and lengths; the samples themselves are exact (temperature 1, nothing cut off).

    Raises:
        ConfigError: no reference, or one of another dtype.
    """
    check_reference(policy, reference)
    prompt_ids, response_ids = generate_ids(policy, tokenizer, prompts, decoding.exact(seed=decoding.seed + 1))
    collator = collator_for(policy, tokenizer, padding_free=reference is None or supports_packing(reference))
    device = next(policy.parameters()).device
    other = policy if reference is None else reference
    ratios = []
    for start in range(0, len(prompt_ids), decoding.batch_size):
        part = slice(start, start + decoding.batch_size)
        batch = collator.tensors({"prompt_ids": prompt_ids[part], "response_ids": response_ids[part]})
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        with evaluating(policy):
            own = response_logps(policy, batch).total.double()
        with evaluating(other), as_reference(other, adapter_off=reference is None):
            ratios.append((own - response_logps(other, batch).total.double()).cpu())
    return bootstrap_mean(torch.cat(ratios).numpy())


def as_reference(model: nn.Module, *, adapter_off: bool) -> AbstractContextManager[object]:
    """Context in which `model` is the reference: with its adapter off, or in evaluation mode."""
    return reference_context(model) if adapter_off else evaluating(model)
