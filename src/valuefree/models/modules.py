"""Parts, modes and devices of a model that is loaded: its backbone, evaluation mode, dropout, where it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from accelerate import PartialState
from torch import nn

DROPOUT_FIELDS = ("dropout", "attention_dropout", "activation_dropout", "hidden_dropout")


def is_encoder_decoder(model: Any) -> bool:
    """Whether a transformers model, or a peft model around one, has an encoder for the prompt."""
    return bool(model.config.is_encoder_decoder)


def unwrap_model(model: nn.Module) -> Any:
    """The transformers model inside wrappers (DDP, DeepSpeed, peft); an adapter stays active, as its layers are inside.

    The result is typed Any, since attributes differ between the architectures of transformers.
    """
    while isinstance(inner := getattr(model, "module", None), nn.Module):
        model = inner
    get_base_model = getattr(model, "get_base_model", None)
    return model if get_base_model is None else get_base_model()


def backbone_of(core: Any) -> nn.Module:
    """The part of a transformers model that reads a prompt: the encoder, or the decoder without its head."""
    return core.get_encoder() if is_encoder_decoder(core) else getattr(core, core.base_model_prefix)


def disable_dropout(model: nn.Module) -> int:
    """Set every dropout of `model` to zero, but not that of an adapter; returns the number of changed settings.

    The dropout of an adapter (``lora_dropout``) is zero unless its configuration asks for it.
    """
    changed = 0
    for name, module in model.named_modules():
        if "lora_dropout" in name:
            continue
        if isinstance(module, nn.Dropout) and module.p > 0:
            module.p, changed = 0.0, changed + 1
        for field in DROPOUT_FIELDS:
            if isinstance(getattr(module, field, None), float) and getattr(module, field) > 0:
                setattr(module, field, 0.0)
                changed += 1
    return changed


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the previous mode is restored at the end."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def accelerator_device() -> torch.device:
    """The GPU of this process, or the CPU. Under a launcher, this call initialises the process group."""
    return cast("torch.device", PartialState(cpu=not torch.accelerator.is_available()).device)


def to_device(model: Any, device: torch.device) -> Any:
    """`model` on `device`. A model that is there already is left as it is: 8-bit weights refuse every move."""
    return model if next(model.parameters()).device == device else model.to(device)


@contextmanager
def on_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Move `model` to `device`, and back to its previous device at the end."""
    before = next(model.parameters()).device
    to_device(model, device)
    try:
        yield
    finally:
        to_device(model, before)
