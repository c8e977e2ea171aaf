"""A trained policy as one GGUF file, for llama.cpp and Ollama, and an Ollama ``Modelfile`` beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from valuefree.batches.turns import stop_ids
from valuefree.errors import ConfigError
from valuefree.models.merge import merged_model
from valuefree.runs.files import write_text

try:
    import gguf

    from valuefree.models.gguf_vocabulary import add_vocabulary
except ImportError as error:
    raise ConfigError("the export to GGUF needs the package gguf. Run: pip install 'valuefree[export]'") from error

MODELFILE = "Modelfile"
QUANTIZATIONS = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}


@dataclass(frozen=True)
class Family:
    """GGUF's name of an architecture. rotary_pairs: llama.cpp rotates neighbours of a head, not its halves."""

    architecture: gguf.MODEL_ARCH
    rotary_pairs: bool = False


FAMILIES = {
    "llama": Family(gguf.MODEL_ARCH.LLAMA, rotary_pairs=True),
    "mistral": Family(gguf.MODEL_ARCH.LLAMA, rotary_pairs=True),
    "qwen2": Family(gguf.MODEL_ARCH.QWEN2),
    "qwen3": Family(gguf.MODEL_ARCH.QWEN3),
}


def export_gguf(
    source: str | Path,
    file: str | Path,
    *,
    quantize: str = "f16",
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> Path:
    """Write the policy of `source`, its adapter merged, as `file`, with a ``Modelfile`` beside it; the path of `file`.

    Args:
        source: folder of a run, of its model, of an adapter or of full weights.
        file: ends in ``.gguf``.
        quantize: type of the matrices: f32, f16, bf16 or q8_0; vectors are float32.
        overwrite: replace both files.
        trust_remote_code: run model code from the hub.

    Raises:
        ConfigError: files that exist; an architecture or a tokenizer that cannot be written; what `merge` refuses.
    """
    target = Path(file)
    if target.suffix != ".gguf":
        raise ConfigError(f"{file} does not end in .gguf.")
    there = [str(path) for path in (target, target.with_name(MODELFILE)) if path.exists()]
    if there and not overwrite:
        raise ConfigError(f"{', '.join(there)} exists. Name another file in another folder, or pass --overwrite.")
    model, tokenizer = merged_model(source, dtype="float32", trust_remote_code=trust_remote_code)
    family = _family(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".gguf.tmp")
    writer = gguf.GGUFWriter(unfinished, gguf.MODEL_ARCH_NAMES[family.architecture])
    try:
        _add_metadata(writer, model, target.stem, quantize)
        add_vocabulary(writer, tokenizer, model.get_input_embeddings().num_embeddings)
        for name, tensor, kind in _tensors(model, family, quantize):
            writer.add_tensor(name, gguf.quantize(tensor, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    write_text(target.with_name(MODELFILE), modelfile(target.name, tokenizer, model.generation_config))
    return target


def modelfile(name: str, tokenizer: PreTrainedTokenizerBase, generation_config: Any = None) -> str:
    """An Ollama Modelfile: Ollama reads the chat template from the GGUF file, and stops at these tokens."""
    stops = [str(tokenizer.convert_ids_to_tokens(number)) for number in stop_ids(tokenizer, generation_config)]
    return "\n".join([f"FROM ./{name}", *(f'PARAMETER stop "{text}"' for text in stops)]) + "\n"


def _family(model: Any) -> Family:
    """How GGUF has this model.

    Raises:
        ConfigError: another architecture, or a setting of it, that this module does not write.
    """
    config = model.config
    instead = "vLLM and transformers serve load the folder of `valuefree merge`"
    if config.is_encoder_decoder:
        instead = "`valuefree generate` samples from it"
    if config.model_type not in FAMILIES:
        raise ConfigError(
            f"the export to GGUF writes {', '.join(FAMILIES)}; this model is of type {config.model_type}. {instead}; "
            "llama.cpp's convert_hf_to_gguf.py converts more types, from the folder of `valuefree merge`."
        )
    family = FAMILIES[config.model_type]
    kinds = set(getattr(config, "layer_types", None) or [])
    sliding = config.model_type == "mistral" and config.sliding_window
    if sliding or kinds - {"full_attention"}:
        raise ConfigError(f"the export to GGUF does not write sliding-window attention. {instead}.")
    rotary = model.model.rotary_emb
    factors = _rotary_factors(model)
    if rotary.attention_scaling != 1.0 or (not family.rotary_pairs and not np.allclose(factors, 1.0)):
        raise ConfigError(
            f"the export to GGUF does not write the scaled rotary positions of this model ({config.rope_parameters}). "
            f"{instead}."
        )
    return family


def _rotary_factors(model: Any) -> np.ndarray:
    """By what the frequencies of the rotary positions are divided, (head size / 2,); all 1 without scaling."""
    own = model.model.rotary_emb.inv_freq.double().cpu().numpy()
    plain = model.config.rope_parameters["rope_theta"] ** (-np.arange(len(own)) / len(own))
    return plain / own


def _add_metadata(writer: Any, model: Any, name: str, quantize: str) -> None:
    config = model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_file_type(QUANTIZATIONS[quantize][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(model.get_input_embeddings().num_embeddings)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def _tensors(model: Any, family: Family, quantize: str) -> Any:
    """Name, values and type of each tensor, one at a time."""
    names = gguf.get_tensor_name_map(family.architecture, model.config.num_hidden_layers)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    for key, tensor in model.state_dict().items():
        if tied and key == "lm_head.weight":
            continue
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise ConfigError(f"GGUF has no name for the weight {key} of {model.config.model_type}.")
        part = key.split(".")[-2]
        if family.rotary_pairs and part in heads:
            tensor = _paired(tensor, heads[part])
        values = tensor.detach().cpu().numpy()
        yield name, values, _type_of(values, key, quantize)
    factors = _rotary_factors(model)
    if not np.allclose(factors, 1.0):
        yield "rope_freqs.weight", factors.astype(np.float32), gguf.GGMLQuantizationType.F32


def _paired(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a query or key projection in llama.cpp's order, the two halves of each head interleaved."""
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def _type_of(values: np.ndarray, key: str, quantize: str) -> Any:
    kinds = gguf.GGMLQuantizationType
    kind = QUANTIZATIONS[quantize][0] if values.ndim > 1 else kinds.F32
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    if values.shape[-1] % block:
        kind = kinds.F16  # as llama.cpp does with rows that no whole number of blocks fills
    if kind == kinds.F16 and np.abs(values).max() > np.finfo(np.float16).max:
        raise ConfigError(f"{key} has values beyond float16; export with --quantize bf16.")
    return kind
