"""Rough memory and time of training, from a model's shape: the arithmetic of docs/scaling.md."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

SHARE = 0.4  # of the speed of a matrix product that training reaches
CHUNK_TOKENS = 512  # logits are computed for so many tokens at a time, and three such chunks are kept
RESERVE_CPU, RESERVE_GPU = 1e9, 5e9  # bytes of libraries, workspaces and fragmentation
STATE_BYTES = 16  # per trained parameter: float32 weight, gradient and the two moments of AdamW


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. layers: of encoder and decoder together. kv: width of all keys of a layer."""

    parameters: int
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv: int
    vocabulary: int
    encoder_decoder: bool

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """The shape of a model of transformers, from its config; parameters are counted without allocating them."""
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        with torch.device("meta"):
            model = auto.from_config(config)
        heads = config.num_attention_heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        per_head = getattr(config, "d_kv", None) or getattr(config, "head_dim", None) or config.hidden_size // heads
        decoder = getattr(config, "num_decoder_layers", None) or getattr(config, "decoder_layers", 0)
        wide = (getattr(config, name, None) for name in ("d_ff", "intermediate_size", "decoder_ffn_dim", "n_inner"))
        return cls(
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            layers=config.num_hidden_layers + (decoder if config.is_encoder_decoder else 0),
            width=config.hidden_size,
            feed_forward=next((size for size in wide if size), 4 * config.hidden_size),
            heads=heads,
            kv=kv_heads * per_head,
            vocabulary=config.vocab_size,
            encoder_decoder=config.is_encoder_decoder,
        )

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA adapter on every linear layer but the head."""
        attention, feed_forward = 4 * self.width + 2 * (self.width + self.kv), 3 * (self.width + self.feed_forward)
        if self.encoder_decoder:  # four projections per encoder layer, eight per decoder layer
            attention = 6 * (self.width + self.kv)
        return rank * self.layers * (attention + feed_forward)

    def token_bytes(self, tokens: int) -> int:
        """Bytes kept for the backward pass, per token and layer, in sequences of `tokens` tokens."""
        if self.encoder_decoder:  # the mean of encoder and decoder
            return 14 * self.feed_forward + 33 * self.width + 18 * self.kv + 4 * self.heads * tokens + 2 * self.heads
        return 8 * self.feed_forward + 32 * self.width + 8 * self.kv + 4 * self.heads + 2 * tokens

    def memory(self, *, rank: int, rows: int, tokens: int, gpu: bool) -> float:
        """Bytes to train with micro-batches of `rows` rows of `tokens` tokens; rank 0 trains all weights.

        (2 on a GPU, 4 on a CPU) · weights + 16 · adapter, or 16 · weights; then activations, logits and a reserve.
        """
        states = STATE_BYTES * self.parameters
        if rank:
            states = (2 if gpu else 4) * self.parameters + STATE_BYTES * self.adapter(rank)
        layers = self.layers / 2 if self.encoder_decoder else self.layers  # a token passes one of the two stacks
        activations = rows * tokens * layers * self.token_bytes(tokens)
        logits = 3 * CHUNK_TOKENS * 4 * self.vocabulary
        return states + activations + logits + (RESERVE_GPU if gpu else RESERVE_CPU)

    def seconds(self, tokens: float, epochs: float, speed: float, *, rank: int) -> float:
        """Seconds to score `tokens` tokens once and train on them for some epochs, at `speed` FLOP/s times 0.4.

        2 · N · tokens of scoring and per epoch 4 · N · tokens of LoRA or 6 · N · tokens of all weights. A token passes
        half of an encoder-decoder. Shared prompts and evaluation are left out.
        """
        passed = self.parameters / 2 if self.encoder_decoder else self.parameters
        return passed * tokens * (2 + (4 if rank else 6) * epochs) / (speed * SHARE)
