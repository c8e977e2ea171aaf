"""Load encoder-decoder and decoder-only policies from the hub, a folder or a GGUF file; add and switch off adapters.

Weights are read from safetensors or GGUF only; code from the hub runs only with `trust_remote_code`.
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

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
from valuefree.models.names import check_local, unreachable
from valuefree.models.pickles import check_adapter_weights, check_weights
from valuefree.models.quantization import check_quantization, quantized_loading
from valuefree.models.weights import LOAD_ERRORS, fault_of, pretrained, with_adapter
from valuefree.runs.files import read_json

logger = logging.getLogger(__name__)

EXPECTED = "Expected a hub name, a folder with config.json and safetensors weights, or a .gguf file (pip install gguf)."
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")  # prefixes of init_lora_weights
ADAPTER = "adapter_config.json"
PROBE_TOKENS = 8
PROBE_TOLERANCE = 1e-2  # share of the largest logit: above bfloat16 rounding, below the effect of an adapter of rank 1
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


def split_gguf(name: str, gguf_file: str | None) -> tuple[str, str | None]:
    """Folder or hub name, and the name of the GGUF file in it, if the weights are in one."""
    path = Path(name)
    if path.suffix == ".gguf":
        return str(path.parent), path.name
    if gguf_file is None and path.is_dir() and not (path / "config.json").exists():
        files = [file.name for file in sorted(path.glob("*.gguf"))]
        if len(files) == 1:
            return name, files[0]
        if files:
            raise ConfigError(f"{name} holds {len(files)} GGUF files ({', '.join(files)}). Name one of them.")
    return name, gguf_file


def model_of_run(name: str) -> str:
    """The folder ``model`` of a run's folder; any other name is returned as it is."""
    folder = Path(name) / "model"
    inside = (folder / ADAPTER).exists() or (folder / "config.json").exists()
    return str(folder) if inside and not (Path(name) / "config.json").exists() else name


def base_of(name: str) -> str | None:
    """The model that the adapter of a run or folder was trained on; None for full weights."""
    file = Path(model_of_run(name)) / ADAPTER
    found = read_json(file) if file.exists() else {}
    return found.get("base_model_name_or_path") if isinstance(found, dict) else None


def load_tokenizer(name: str, *, gguf_file: str | None = None, trust_remote_code: bool = False, needs_end: bool = True):
    """The tokenizer of `name`; a tokenizer without a padding token pads with its end-of-sequence token.

    Args:
        needs_end: refuse a tokenizer without an end-of-sequence token. A policy needs it, a reward model does not.
    """
    check_local(name)
    name, gguf_file = split_gguf(model_of_run(name), gguf_file)
    extra = {"gguf_file": gguf_file} if gguf_file else {}
    tokenizer = _loaded(_pretrained_tokenizer, name, trust_remote_code=trust_remote_code, **extra)
    if needs_end and tokenizer.eos_token_id is None:
        raise ConfigError(f"the tokenizer of {name} has no end-of-sequence token, which every response must end with.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _pretrained_tokenizer(name: str, **options: Any) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(name, **options)
    if not isinstance(tokenizer.model_max_length, (int, float)):
        raise ValueError(f"model_max_length of its tokenizer is {tokenizer.model_max_length!r}; expected a number.")
    return tokenizer


def load_model(
    name: str,
    *,
    gguf_file: str | None = None,
    dtype: str = "float32",
    attn_implementation: str | None = None,
    quantize: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, PreTrainedTokenizerBase]:
    """Load a model, in evaluation mode, and its tokenizer.

    Args:
        name: hub name, folder, or path of a ``.gguf`` file. For the folder of an adapter, the adapter's base model is
            loaded with the adapter switched on, as a `peft.PeftModel`. For the folder of a run, its model is loaded.
        gguf_file: name of a GGUF file in the folder or repository `name`.
        dtype: type of the weights: float32, bfloat16 or float16.
        attn_implementation: attention of transformers (eager, sdpa, flash_attention_2); default: transformers' choice.
        quantize: 4bit or 8bit: the matrices in so many bits on the GPU of this process, all else in `dtype`; see
            `valuefree.models.quantization`.
        trust_remote_code: run model code from the hub.

    Raises:
        ConfigError: no such model, a model that is neither encoder-decoder nor decoder-only, an unknown dtype, or a
            quantisation without a GPU or without bitsandbytes.
    """
    check_quantization(quantize)
    name = model_of_run(name)
    if (Path(name) / ADAPTER).exists():
        settings: dict[str, Any] = {"attn_implementation": attn_implementation, "trust_remote_code": trust_remote_code}
        return _with_adapter(name, dtype=dtype, quantize=quantize, **settings)
    if dtype not in DTYPES:
        raise ConfigError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}.")
    tokenizer = load_tokenizer(name, gguf_file=gguf_file, trust_remote_code=trust_remote_code)
    folder, gguf_file = split_gguf(name, gguf_file)
    extra: dict[str, Any] = {"gguf_file": gguf_file} if gguf_file else {"use_safetensors": True}
    if attn_implementation:
        extra["attn_implementation"] = attn_implementation
    if quantize:
        if gguf_file:
            raise ConfigError(f"{name} is a GGUF file, which --quantize does not read; give a folder or a hub name.")
        extra |= quantized_loading(quantize, DTYPES[dtype], accelerator_device())
    config_extra = {"gguf_file": gguf_file} if gguf_file else {}
    config = _loaded(AutoConfig.from_pretrained, folder, trust_remote_code=trust_remote_code, **config_extra)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    if not gguf_file:
        check_weights(folder, auto.__name__)
    extra["config"] = config  # otherwise transformers reads a GGUF file a second time, which takes seconds
    load = partial(pretrained, auto)
    model = _loaded(load, folder, dtype=DTYPES[dtype], trust_remote_code=trust_remote_code, **extra)
    if gguf_file:
        model = _plain_copy(model, auto)
    if model.generation_config is not None and model.generation_config.pad_token_id is None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    source = Path(folder) / (gguf_file or "")
    if source.exists():  # peft stores this name in an adapter's config, to be loaded from any working directory
        model.name_or_path = model.config.name_or_path = str(source.resolve())
    return model.eval(), tokenizer


def _with_adapter(folder: str, **settings: Any) -> tuple[Any, PreTrainedTokenizerBase]:
    base = base_of(folder)
    if not base:
        raise ConfigError(f"{Path(folder) / ADAPTER} does not name the adapter's base model (base_model_name_or_path).")
    check_adapter_weights(folder)
    model, tokenizer = load_model(base, **settings)
    try:
        return with_adapter(model, folder), tokenizer
    except LOAD_ERRORS as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"could not load the adapter {folder}: {error}\nSave or fetch it again.") from error


def _loaded(load: Any, name: str, **options: Any) -> Any:
    offline = None if Path(name).exists() else unreachable()
    try:
        return load(name, local_files_only=offline is not None, **options)
    except ConfigError:
        raise
    except Exception as error:  # of any type: the libraries check little of what they read
        if offline is not None:
            raise ConfigError(
                f"could not load {name!r}: there is no such folder, the local cache does not have it, and {offline}."
            ) from error
        if (fault := fault_of(name)) and "gguf_file" not in options:
            raise ConfigError(f"could not load {name!r}: {fault}\n{EXPECTED}") from error
        told = isinstance(error, (OSError, ValueError, ImportError))  # the message of another one needs its type
        cause = error if told else f"{type(error).__name__}: {error}"
        raise ConfigError(f"could not load {name!r}: {cause}\n{EXPECTED}") from error


def _plain_copy(model: PreTrainedModel, auto: Any) -> PreTrainedModel:
    """A model with the same weights without the GGUF quantisation config, which makes transformers refuse to save."""
    config = model.config
    if hasattr(config, "quantization_config"):
        delattr(config, "quantization_config")
    plain = auto.from_config(config, dtype=model.dtype, attn_implementation=config._attn_implementation)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return plain


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
