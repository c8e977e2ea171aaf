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
from valuefree.runs.files import read_json

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")  # values of init_lora_weights, or their beginning
ADAPTER = "adapter_config.json"
PROBE_TOKENS = 8
PROBE_TOLERANCE = 1e-2  # of the largest logit: above the rounding of bfloat16, below what an adapter of rank 1 changes
DROPOUT_FIELDS = ("dropout", "attention_dropout", "activation_dropout", "hidden_dropout")


def is_encoder_decoder(model: nn.Module) -> bool:
    """Whether prompt and response go to two stacks."""
    return bool(model.config.is_encoder_decoder)  # type: ignore[union-attr]


def unwrap_model(model: nn.Module) -> nn.Module:
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
) -> tuple[Any, PreTrainedTokenizerBase]:
    """Model, in evaluation mode, and tokenizer.

    Args:
        name: hub name, folder, or path of a ``.gguf`` file. The folder of an adapter gives the model that it belongs
            to with the adapter on, a `peft.PeftModel`.
        gguf_file: a GGUF file within `name`.
        dtype: of the weights: float32, bfloat16 or float16.
        attn_implementation: as transformers names them (eager, sdpa, flash_attention_2); default: its choice.
        trust_remote_code: run model code from the hub.

    Raises:
        ConfigError: no such model, a model that is neither kind, an unknown dtype.
    """
    if (Path(name) / ADAPTER).exists():
        settings = {"attn_implementation": attn_implementation, "trust_remote_code": trust_remote_code}
        return _with_adapter(name, dtype=dtype, **settings)
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
    source = Path(folder) / (gguf_file or "")
    if source.exists():  # peft notes the name in an adapter's config, which may be read from another directory
        model.name_or_path = model.config.name_or_path = str(source.resolve())
    return model.eval(), tokenizer


def _with_adapter(folder: str, **settings: Any) -> tuple[Any, PreTrainedTokenizerBase]:
    from peft import PeftModel  # noqa: PLC0415  peft takes a second to import

    file = Path(folder) / ADAPTER
    base = read_json(file).get("base_model_name_or_path")
    if not base:
        raise ConfigError(f"{file} does not say which model it belongs to (base_model_name_or_path).")
    model, tokenizer = load_model(base, **settings)
    return PeftModel.from_pretrained(model, folder).eval(), tokenizer


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


def add_adapter(model: PreTrainedModel, peft_config: Any, *, as_reference: bool = False) -> Any:
    """The model with a fresh peft adapter.

    as_reference: the model with its adapter off is to be the reference, and the policy is to start from it; both are
    checked on a few tokens.

    Raises:
        ConfigError: `as_reference`, and the initialisation of the adapter changes the weights of the model (as PiSSA
            does), or the adapter changes the output before any training.
    """
    from peft import get_peft_model  # noqa: PLC0415  peft takes a second to import

    checked = as_reference and not peft_config.is_prompt_learning  # which `valuefree.models.logprobs` refuses by itself
    before = _probe(model) if checked else None
    adapted = get_peft_model(model, peft_config)
    if before is None:
        return adapted
    scale = PROBE_TOLERANCE * float(before.abs().max())
    with reference_context(adapted):
        off = float((_probe(adapted) - before).abs().max())
    if not off <= scale:
        raise _no_reference(f"{type(peft_config).__name__}, {off:.2g} on the logits of a probe")
    on = float((_probe(adapted) - before).abs().max())
    if not on <= scale:
        raise ConfigError(
            f"the fresh adapter ({type(peft_config).__name__}) changes the logits of a probe by {on:.2g} before any "
            "training, so the policy would not start at the reference. Choose an initialisation that starts at zero "
            "(LoRA: init_lora_weights=True), or pass reference_model, the model to compare with."
        )
    return adapted


@torch.no_grad()
def _probe(model: nn.Module) -> torch.Tensor:
    """Logits of a few tokens, on the CPU in float32."""
    table = unwrap_model(model).get_input_embeddings()  # type: ignore[operator]
    ids = torch.arange(PROBE_TOKENS, device=table.weight.device)[None] % table.num_embeddings
    decoder = {"decoder_input_ids": ids} if is_encoder_decoder(model) else {}
    with evaluating(model):
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), **decoder).logits.float().cpu()


def _no_reference(what: str) -> ConfigError:
    return ConfigError(
        f"the initialisation of the adapter changed the weights of the model itself ({what}), so the model with the "
        "adapter off is not the reference. Choose an initialisation that leaves them (LoRA: init_lora_weights=True, "
        "'gaussian' or 'eva'), or pass the untouched model as the reference."
    )


def has_adapter(model: nn.Module) -> bool:
    """Whether `model` is a peft model, whose adapter can be switched off."""
    return hasattr(model, "peft_config") and hasattr(model, "disable_adapter")


def reference_context(model: nn.Module) -> Any:
    """Within it, `model` is the reference that its adapter started from.

    Raises:
        ConfigError: an adapter whose initialisation changes the weights of the model itself.
    """
    if not has_adapter(model):
        return nullcontext()
    for name, config in model.peft_config.items():  # type: ignore[union-attr]
        start = str(getattr(config, "init_lora_weights", True)).lower()
        if start.startswith(CHANGES_BASE):
            raise _no_reference(f"adapter {name!r}, init_lora_weights={start!r}")
    return model.disable_adapter()  # type: ignore[operator]


def check_reference(policy: nn.Module, reference: nn.Module | None) -> None:
    """Raise ConfigError unless `policy` has a reference, of the same type of weights; None is its adapter off."""
    if reference is None:
        if not has_adapter(policy):
            raise ConfigError("the policy has no adapter to switch off; pass reference=, the model it started from.")
        return
    own, other = unwrap_model(policy).dtype, unwrap_model(reference).dtype
    if own != other:
        raise ConfigError(
            f"the policy has weights of {own} and the reference of {other}, so their log-ratio would not be 0 where "
            "they agree: rounding alone tells them apart. Load both in the same dtype."
        )


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


def policy_of(model: PreTrainedModel, peft_config: Any, reference: nn.Module | None, *, compared: bool) -> Any:
    """The policy to train: `model`, with a fresh adapter if `peft_config` asks for one.

    compared: the objective reads log-ratios to `reference`; None is the policy as it starts, its adapter off.

    Raises:
        ConfigError: two adapters; a policy that does not start at its reference.
    """
    if peft_config is not None and has_adapter(model):
        raise ConfigError("model already has an adapter and peft_config asks for another; pass one of the two.")
    alone = compared and reference is None
    policy = model if peft_config is None else add_adapter(model, peft_config, as_reference=alone)
    if reference is not None:
        check_reference(policy, reference)
    return policy


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
