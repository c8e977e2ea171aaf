"""Fingerprint of a model: one hash of everything that determines the function that the model computes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from transformers import GenerationConfig

from valuefree.errors import ConfigError
from valuefree.models.adapters import has_adapter
from valuefree.models.modules import unwrap_model
from valuefree.models.value_network import NAME

# Configuration fields that do not change the function: names, versions, training and the format of outputs. The dtype
# is hashed with the weights; attention kernels differ by rounding only.
IGNORED_SUFFIXES = ("_path", "revision", "version", "dtype", "attn_implementation", "pdrop", "dropout")
IGNORED_SUFFIXES += ("dropout_rate", "dropout_prob")
IGNORED_FIELDS = {
    *("architectures", "auto_mapping", "task_type", "inference_mode", "return_dict", "problem_type"),
    *("id2label", "label2id", "initializer_range", "initializer_factor", "init_std"),
    # Old model configurations hold generation settings too; two of these act on the forward pass.
    *(set(GenerationConfig().to_dict()) - {"decoder_start_token_id", "pad_token_id"}),
}


def model_fingerprint(model: nn.Module, *, adapter: bool) -> str:
    """Hash of a model's class, configuration, weights and buffers.

    Two models with one fingerprint compute the same function, up to rounding. The fingerprint does not depend on the
    place that a model was loaded from, nor on settings that act only in training or in sampling.

    Args:
        adapter: include the weights and the configuration of a peft model's adapter; otherwise the adapter is treated
            as switched off.

    Raises:
        ConfigError: `adapter` is false, and the adapter is merged into the weights.
    """
    core = unwrap_model(model)
    adapters: Mapping[str, Any] = getattr(model, "peft_config", {}) if has_adapter(model) else {}
    parts: dict[str, Any] = {"class": type(core).__qualname__, "config": _relevant(core.config.to_dict())}
    if adapter and adapters:
        parts["adapters"] = {name: _relevant(config.to_dict()) for name, config in adapters.items()}
        parts["active"] = list(cast("Any", model).active_adapters)
    digest = hashlib.blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=16)
    for name, tensor in sorted(_tensors(core, with_adapters=adapter, adapted=bool(adapters)).items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        digest.update(content.data)
    return digest.hexdigest()


def _relevant(value: Any) -> Any:
    """A configuration without the ignored fields, in JSON's types."""
    if isinstance(value, Mapping):
        named = {str(name): item for name, item in value.items()}
        kept = (name for name in named if name not in IGNORED_FIELDS and not name.endswith(IGNORED_SUFFIXES))
        return {name: _relevant(named[name]) for name in kept}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    return [_relevant(item) for item in value] if isinstance(value, (list, tuple)) else value


def _tensors(core: nn.Module, *, with_adapters: bool, adapted: bool) -> dict[str, torch.Tensor]:
    """Weights and buffers, including buffers that are not saved (rotary frequencies), named as without adapters."""
    buffers = {name: tensor for name, tensor in core.named_buffers() if not name.startswith(f"{NAME}.")}
    tensors = dict(core.state_dict()) | buffers
    if with_adapters or not adapted:
        return tensors
    adapter_weights: list[str] = []
    for path, module in core.named_modules():
        if getattr(module, "merged", False):
            raise ConfigError(
                f"the adapter is merged into {path}, so the weights are not those of the reference. Call "
                "unmerge_adapter(), or call merge_and_unload() to make the merged model the reference."
            )
        names = (*getattr(module, "adapter_layer_names", ()), *getattr(module, "other_param_names", ()))
        adapter_weights += [f"{path}.{name}." for name in names]
    prefixes = tuple(adapter_weights)
    return {
        ".".join(part for part in name.split(".") if part not in ("base_layer", "original_module")): tensor
        for name, tensor in tensors.items()
        if not f"{name}.".startswith(prefixes)
    }
