"""Adapters: the policy is a model with its adapter on, and the reference the same model with the adapter off."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from valuefree.errors import ConfigError
from valuefree.models.modules import evaluating, is_encoder_decoder, unwrap_model

CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")  # prefixes of init_lora_weights
PROBE_TOKENS = 8
PROBE_TOLERANCE = 1e-2  # share of the largest logit: above bfloat16 rounding, below the effect of an adapter of rank 1


def add_adapter(model: PreTrainedModel, peft_config: Any, *, as_reference: bool = False) -> Any:
    """The model with a new peft adapter.

    as_reference: the model with its adapter off is the reference, and the policy has to start at the reference. Both
    conditions are checked on the logits of a few tokens.

    Raises:
        ConfigError: with `as_reference`, if the initialisation of the adapter changes the weights of the model (as
            PiSSA does), or if the new adapter changes the output before any training.
    """
    from peft import get_peft_model  # noqa: PLC0415  peft takes a second to import

    checked = as_reference and not peft_config.is_prompt_learning  # `valuefree.models.logprobs` rejects prompt learning
    before = probe_logits(model) if checked else None
    adapted = get_peft_model(model, peft_config)
    if before is None:
        return adapted
    scale = PROBE_TOLERANCE * float(before.abs().max())
    with reference_context(adapted):
        off = float((probe_logits(adapted) - before).abs().max())
    if not off <= scale:
        raise _no_reference(f"{type(peft_config).__name__}, {off:.2g} on the logits of a probe")
    on = float((probe_logits(adapted) - before).abs().max())
    if not on <= scale:
        raise ConfigError(
            f"the new adapter ({type(peft_config).__name__}) changes the logits of a probe by {on:.2g} before any "
            "training, so the policy would not start at the reference. Choose an initialisation that starts at zero "
            "(LoRA: init_lora_weights=True), or pass reference_model, the model to compare with."
        )
    return adapted


def has_adapter(model: nn.Module) -> bool:
    """Whether `model` is a peft model, whose adapter can be switched off."""
    return hasattr(model, "peft_config") and hasattr(model, "disable_adapter")


def reference_context(model: Any) -> AbstractContextManager[Any]:
    """Context in which the adapter of `model` is off, so that `model` is the reference; no effect without an adapter.

    Raises:
        ConfigError: the initialisation of an adapter changed the weights of the model itself.
    """
    if not has_adapter(model):
        return nullcontext()
    for name, config in model.peft_config.items():
        start = str(getattr(config, "init_lora_weights", True)).lower()
        if start.startswith(CHANGES_BASE):
            raise _no_reference(f"adapter {name!r}, init_lora_weights={start!r}")
    return model.disable_adapter()


def check_reference(policy: nn.Module, reference: nn.Module | None) -> None:
    """Check that `policy` has a reference with weights of the same dtype.

    reference: None stands for the policy with its adapter off.

    Raises:
        ConfigError: no reference, or one of another dtype.
    """
    if reference is None:
        if not has_adapter(policy):
            raise ConfigError("the policy has no adapter to switch off; pass reference=, the model it started from.")
        return
    policy_dtype, reference_dtype = unwrap_model(policy).dtype, unwrap_model(reference).dtype
    if policy_dtype != reference_dtype:
        raise ConfigError(
            f"the policy has {policy_dtype} weights and the reference {reference_dtype} weights. Rounding would make "
            "their log-ratio differ from 0 even for equal models. Load both in the same dtype."
        )


def policy_of(model: PreTrainedModel, peft_config: Any, reference: nn.Module | None, *, compared: bool) -> Any:
    """The policy to train: `model`, with a new adapter if there is a `peft_config`.

    reference: None stands for the policy with its adapter off.
    compared: the objective requires log-ratios to the reference.

    Raises:
        ConfigError: two adapters; a policy that does not start at its reference.
    """
    if peft_config is not None and has_adapter(model):
        raise ConfigError("model already has an adapter, and peft_config adds another. Pass only one of the two.")
    as_reference = compared and reference is None
    policy = model if peft_config is None else add_adapter(model, peft_config, as_reference=as_reference)
    if reference is not None:
        check_reference(policy, reference)
    return policy


@torch.no_grad()
def probe_logits(model: nn.Module) -> torch.Tensor:
    """Logits of a few tokens, on the CPU in float32."""
    embedding = unwrap_model(model).get_input_embeddings()
    ids = torch.arange(PROBE_TOKENS, device=embedding.weight.device)[None] % embedding.num_embeddings
    decoder = {"decoder_input_ids": ids} if is_encoder_decoder(model) else {}
    with evaluating(model):
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), **decoder).logits.float().cpu()


def _no_reference(cause: str) -> ConfigError:
    return ConfigError(
        f"the initialisation of the adapter changed the weights of the model itself ({cause}), so the model with the "
        "adapter off is not the reference. Choose an initialisation that keeps these weights (LoRA: "
        "init_lora_weights=True, 'gaussian' or 'eva'), or pass the untouched model as the reference."
    )
