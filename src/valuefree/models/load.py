"""Load encoder-decoder and decoder-only policies from the hub, a folder or a GGUF file.

Weights are read from safetensors or GGUF only; code from the hub runs only with `trust_remote_code`.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from valuefree.errors import ConfigError
from valuefree.models.modules import accelerator_device
from valuefree.models.names import check_local, unreachable
from valuefree.models.pickles import check_adapter_weights, check_weights
from valuefree.models.quantization import check_quantization, quantized_loading
from valuefree.models.weights import LOAD_ERRORS, fault_of, pretrained, with_adapter
from valuefree.runs.files import read_json

logger = logging.getLogger(__name__)

EXPECTED = "Expected a hub name, a folder with config.json and safetensors weights, or a .gguf file (pip install gguf)."
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ADAPTER = "adapter_config.json"


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
