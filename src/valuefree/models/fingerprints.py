"""What tells two models apart: one hash of all that determines the function that a model computes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig

from valuefree.errors import ConfigError
from valuefree.models.load import has_adapter, unwrap_model
from valuefree.models.value_network import NAME

# Names, versions, training and outputs. The dtype is hashed with the weights; attention kernels differ by rounding.
NO_END = (
    "_path",
    "revision",
    "version",
    "dtype",
    "attn_implementation",
    "pdrop",
    "dropout",
    "dropout_rate",
    "dropout_prob",
)
NO_FIELD = {
    *("architectures", "auto_mapping", "task_type", "inference_mode", "return_dict", "problem_type"),
    *("id2label", "label2id", "initializer_range", "initializer_factor", "init_std"),
}
SAMPLING = set(GenerationConfig().to_dict()) - {"decoder_start_token_id", "pad_token_id"}  # of old configurations


def model_fingerprint(model: nn.Module, *, adapter: bool) -> str:
    """Hash of a model's class, configuration, weights and buffers.

    Two models of one fingerprint compute the same function, up to rounding. Where a model was loaded from does not
    matter, nor does what acts in training or in sampling alone.

    Args:
        adapter: hash a peft model with its adapter, its weights and configuration; otherwise as with it switched off.

    Raises:
        ConfigError: `adapter` is false, and the adapter is merged into the weights.
    """
    core = unwrap_model(model)
    adapters: Mapping[str, Any] = getattr(model, "peft_config", {}) if has_adapter(model) else {}
    parts: dict[str, Any] = {"class": type(core).__qualname__, "config": _acting(core.config.to_dict())}  # type: ignore
    if adapter and adapters:
        parts["adapters"] = {name: _acting(config.to_dict()) for name, config in adapters.items()}
        parts["active"] = list(model.active_adapters)  # type: ignore[arg-type]
    digest = hashlib.blake2b(json.dumps(parts, sort_keys=True, default=str).encode(), digest_size=16)
    for name, tensor in sorted(_tensors(core, with_adapters=adapter, adapted=bool(adapters)).items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        digest.update(content)  # type: ignore[arg-type]  # an array is a buffer
    return digest.hexdigest()


def _acting(value: Any) -> Any:
    """A configuration without the fields that do not act, in the types of JSON."""
    if isinstance(value, Mapping):
        return {str(name): _acting(item) for name, item in value.items() if _acts(str(name))}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    return [_acting(item) for item in value] if isinstance(value, (list, tuple)) else value


def _acts(name: str) -> bool:
    return name not in NO_FIELD and name not in SAMPLING and not name.endswith(NO_END)


def _tensors(core: nn.Module, *, with_adapters: bool, adapted: bool) -> dict[str, torch.Tensor]:
    """Weights and buffers, also those that are not saved (rotary frequencies); names as without adapters."""
    buffers = {name: tensor for name, tensor in core.named_buffers() if not name.startswith(f"{NAME}.")}
    tensors = dict(core.state_dict()) | buffers
    if with_adapters or not adapted:
        return tensors
    own: list[str] = []
    for path, module in core.named_modules():
        if getattr(module, "merged", False):
            raise ConfigError(
                f"the adapter is merged into {path}, so the weights are not those of the reference. Call "
                "unmerge_adapter(), or merge_and_unload() to make the merged model the reference."
            )
        names = (*getattr(module, "adapter_layer_names", ()), *getattr(module, "other_param_names", ()))
        own += [f"{path}.{name}." for name in names]
    beginnings = tuple(own)
    return {
        ".".join(part for part in name.split(".") if part not in ("base_layer", "original_module")): tensor
        for name, tensor in tensors.items()
        if not f"{name}.".startswith(beginnings)
    }
