"""Base weights in 4 or 8 bits by bitsandbytes, under an adapter that is trained (Dettmers et al., 2023, QLoRA).

Embeddings, norms and the head keep their dtype, so the head's log-probabilities and the reference, which is the adapter
switched off, are computed as without quantisation. The score cache tells the models apart: their weights and their
configurations differ.
"""

from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from valuefree.errors import ConfigError

QUANTIZATIONS = ("4bit", "8bit")


def check_quantization(quantize: str | None) -> None:
    """Raise ConfigError unless `quantize` is None, or weights can be quantised so on this machine."""
    if quantize is None:
        return
    if quantize not in QUANTIZATIONS:
        raise ConfigError(f"unknown quantisation {quantize!r}; choose from {', '.join(QUANTIZATIONS)}.")
    if not torch.cuda.is_available():
        raise ConfigError(f"quantize {quantize} needs a CUDA or ROCm GPU, and torch sees none here. Leave it out.")
    if find_spec("bitsandbytes") is None:
        raise ConfigError(f"quantize {quantize} needs the package bitsandbytes. Run: pip install bitsandbytes")


def quantized_loading(quantize: str, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Arguments of `from_pretrained`: 4-bit NormalFloat with double quantisation, or LLM.int8(), all on `device`.

    dtype: in which the products with 4-bit weights are computed, that of all other weights.
    """
    if quantize == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return {"quantization_config": config, "device_map": {"": device}}
