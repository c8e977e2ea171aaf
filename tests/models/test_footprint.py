"""Shapes of small models counted by hand, and memory and time by the formulas of docs/scaling.md."""

from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from valuefree.models.footprint import Shape

LLAMA = LlamaConfig(
    hidden_size=8,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    vocab_size=10,
)
T5 = T5Config(
    d_model=8,
    d_kv=4,
    d_ff=16,
    num_layers=2,
    num_decoder_layers=1,
    num_heads=2,
    vocab_size=10,
    feed_forward_proj="gated-gelu",
)
SHAPE = Shape(1000, 2, 8, 16, 2, 4, 10, encoder_decoder=False)


def test_shape_of_a_decoder():
    """Embedding and head 2·80, per layer q and o 2·64, k and v 2·32, feed-forward 3·128, norms 16; last norm 8."""
    assert Shape.of(LLAMA) == Shape(160 + 2 * (128 + 64 + 384 + 16) + 8, 2, 8, 16, 2, 4, 10, encoder_decoder=False)


def test_shape_of_an_encoder_decoder():
    shape = Shape.of(T5)
    assert shape.parameters == sum(p.numel() for p in T5ForConditionalGeneration(T5).parameters())
    assert (shape.layers, shape.kv, shape.feed_forward, shape.encoder_decoder) == (3, 8, 16, True)


def test_the_adapter_is_that_of_peft():
    model = get_peft_model(LlamaForCausalLM(LLAMA), LoraConfig(r=3, target_modules="all-linear"))
    assert Shape.of(LLAMA).adapter(3) == model.num_parameters(only_trainable=True)


def test_memory_by_hand():
    """Full: 16·1000. LoRA r 1: 4·1000 + 16·2·(32 + 24 + 72) = 8096. Activations: 2 rows · 5 tokens · 2 layers ·
    (8·16 + 32·8 + 8·4 + 4·2 + 2·5 = 434). Logits: 3·512·4·10. Reserve 1e9."""
    rest = 2 * 5 * 2 * 434 + 61440 + 1e9
    assert SHAPE.memory(rank=0, rows=2, tokens=5, gpu=False) == 16000 + rest
    assert SHAPE.memory(rank=1, rows=2, tokens=5, gpu=False) == 8096 + rest


def test_seconds_by_hand():
    """LoRA: (2 + 4·3) · 1000 · 100 tokens / (1e6 · .4) = 3.5 s; all weights: (2 + 6·3)."""
    assert SHAPE.seconds(100, 3, 1e6, rank=1) == 3.5
    assert SHAPE.seconds(100, 3, 1e6, rank=0) == 5.0
