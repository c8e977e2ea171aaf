"""Load a policy: encoder-decoder or decoder-only, from a hub name, a local folder or a GGUF file; adapters.

Weights are read from safetensors or GGUF only; code from the hub runs only with `trust_remote_code`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from valuefree.errors import ConfigError

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DROPOUT_FIELDS = ("dropout", "attention_dropout", "activation_dropout", "hidden_dropout")


def is_encoder_decoder(model: nn.Module) -> bool:
    """Whether prompt and response go to two stacks."""
    return bool(model.config.is_encoder_decoder)  # type: ignore[union-attr]


def core_of(model: nn.Module) -> nn.Module:
    """The transformers model within wrappers; an adapter stays in force, as its layers sit inside."""
    while isinstance(getattr(model, "module", None), nn.Module):
        model = model.module  # type: ignore[assignment]
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def backbone_of(core: nn.Module) -> nn.Module:
    """What reads a prompt: the encoder, or a decoder without its head."""
    return core.get_encoder() if is_encoder_decoder(core) else getattr(core, core.base_model_prefix)  # type: ignore


def _gguf(name: str, gguf_file: str | None) -> tuple[str, str | None]:
    path = Path(name)
    if path.suffix == ".gguf":
        return str(path.parent), path.name
    if gguf_file is None and path.is_dir() and not (path / "config.json").exists():
        found = sorted(path.glob("*.gguf"))
        if len(found) == 1:
            return name, found[0].name
        if found:
            raise ConfigError(f"{name} holds {len(found)} GGUF files ({', '.join(f.name for f in found)}): name one.")
    return name, gguf_file


def load_tokenizer(name: str, *, gguf_file: str | None = None, trust_remote_code: bool = False):
    """The tokenizer of `name`; its padding token is its end-of-sequence token when it has none of its own."""
    name, gguf_file = _gguf(name, gguf_file)
    extra = {"gguf_file": gguf_file} if gguf_file else {}
    tokenizer = _loaded(AutoTokenizer.from_pretrained, name, trust_remote_code=trust_remote_code, **extra)
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"the tokenizer of {name} has no end-of-sequence token; a response needs one to end with.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    name: str,
    *,
    gguf_file: str | None = None,
    dtype: str = "float32",
    attn_implementation: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model, in evaluation mode, and tokenizer.

    Args:
        name: hub name, folder, or path of a ``.gguf`` file.
        gguf_file: a GGUF file within `name`.
        dtype: of the weights: float32, bfloat16 or float16.
        attn_implementation: as transformers names them (eager, sdpa, flash_attention_2); default: its choice.
        trust_remote_code: run model code from the hub.

    Raises:
        ConfigError: no such model, a model that is neither kind, an unknown dtype.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}.")
    tokenizer = load_tokenizer(name, gguf_file=gguf_file, trust_remote_code=trust_remote_code)
    folder, gguf_file = _gguf(name, gguf_file)
    extra: dict[str, Any] = {"gguf_file": gguf_file} if gguf_file else {"use_safetensors": True}
    if attn_implementation:
        extra["attn_implementation"] = attn_implementation
    config_extra = {"gguf_file": gguf_file} if gguf_file else {}
    config = _loaded(AutoConfig.from_pretrained, folder, trust_remote_code=trust_remote_code, **config_extra)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    extra["config"] = config  # else a GGUF file is read once more, at seconds a reading
    model = _loaded(auto.from_pretrained, folder, dtype=DTYPES[dtype], trust_remote_code=trust_remote_code, **extra)
    if gguf_file:
        model = _plain_copy(model, auto)
    if model.generation_config is not None and model.generation_config.pad_token_id is None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval(), tokenizer


def _loaded(load: Any, name: str, **options: Any) -> Any:
    try:
        return load(name, **options)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"could not load {name!r}: {error}\nExpected a hub name, a folder with config.json and safetensors "
            "weights, or a .gguf file (pip install gguf)."
        ) from error


def _plain_copy(model: PreTrainedModel, auto: Any) -> PreTrainedModel:
    """The same weights without the GGUF quantisation record, which makes a model refuse to be saved."""
    config = model.config
    if hasattr(config, "quantization_config"):
        delattr(config, "quantization_config")
    plain = auto.from_config(config, dtype=model.dtype, attn_implementation=config._attn_implementation)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return plain


def add_adapter(model: PreTrainedModel, peft_config: Any) -> Any:
    """The model with a fresh peft adapter; with the adapter off it is the reference."""
    from peft import get_peft_model  # noqa: PLC0415  peft takes a second to import

    return get_peft_model(model, peft_config)


def has_adapter(model: nn.Module) -> bool:
    """Whether `model` is a peft model, whose adapter can be switched off."""
    return hasattr(model, "peft_config") and hasattr(model, "disable_adapter")


def reference_context(model: nn.Module) -> Any:
    """Within it, `model` is the reference that its adapter started from."""
    return model.disable_adapter() if has_adapter(model) else nullcontext()  # type: ignore[operator]


def disable_dropout(model: nn.Module) -> int:
    """Set every dropout of `model` to zero; returns how many were not."""
    changed = 0
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            module.p, changed = 0.0, changed + 1
        for field in DROPOUT_FIELDS:
            if isinstance(getattr(module, field, None), float) and getattr(module, field) > 0:
                setattr(module, field, 0.0)
                changed += 1
    return changed


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode it had comes back."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def accelerator_device() -> torch.device:
    """The GPU of this process, or the CPU; started by a launcher, the processes find each other here."""
    return PartialState(cpu=not torch.accelerator.is_available()).device  # type: ignore[return-value]


@contextmanager
def on_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    """`model` on `device`; it goes back to where it was."""
    before = next(model.parameters()).device
    model.to(device)
    try:
        yield
    finally:
        if before != device:
            model.to(before)
