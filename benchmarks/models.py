"""Models with random weights in the shapes of real ones."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, T5Config, T5ForConditionalGeneration

from benchmarks.bounds import LlamaShape, Shape, T5Shape
from benchmarks.rows import EOS, PAD

# Flan-T5-small: https://huggingface.co/google/flan-t5-small/blob/main/config.json
T5_SMALL = {
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 1024,
    "num_layers": 8,
    "num_decoder_layers": 8,
    "num_heads": 6,
}
# SmolLM2-135M: https://huggingface.co/HuggingFaceTB/SmolLM2-135M/blob/main/config.json
SMOLLM2_135M = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
SIZES = {
    ("t5", "full"): T5_SMALL,
    ("t5", "smoke"): {
        "vocab_size": 64,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
    },
    ("t5", "toy"): {
        "vocab_size": 64,
        "d_model": 8,
        "d_kv": 4,
        "d_ff": 8,
        "num_layers": 1,
        "num_decoder_layers": 1,
        "num_heads": 2,
    },
    ("llama", "full"): SMOLLM2_135M,
    ("llama", "smoke"): {
        "vocab_size": 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    ("llama", "toy"): {
        "vocab_size": 64,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    },
}


def make_config(family: str, size: str) -> T5Config | LlamaConfig:
    """Configuration of ``t5`` or ``llama``, without dropout."""
    sizes = SIZES[family, size]
    if family == "t5":
        config = T5Config(
            **sizes,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            pad_token_id=PAD,
            eos_token_id=EOS,
        )
        config.decoder_start_token_id = PAD
        return config
    ends = {"pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": EOS}
    return LlamaConfig(**sizes, max_position_embeddings=2048, tie_word_embeddings=True, **ends)


def make_model(family: str, size: str, *, seed: int) -> PreTrainedModel:
    """The model in float32, the same for the same seed."""
    config = make_config(family, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family != "t5":
            return LlamaForCausalLM(config)
        model = T5ForConditionalGeneration(config)
    # Flan-T5 does not tie its head to the embedding; transformers unties it only when it loads a checkpoint.
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def shape_of(family: str, size: str) -> Shape:
    """Sizes for counting operations; for a toy model, those of the full model that it represents."""
    config = make_config(family, "full" if size == "toy" else size)
    return T5Shape.of(config) if family == "t5" else LlamaShape.of(config)
