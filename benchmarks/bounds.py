"""Floating-point operations of a forward pass, computed from shapes; they bound the speed ratio of two sides.

A multiply-add counts as two. Projections, attention and head are counted; norms, softmax, rotary embeddings and the
optimiser are not. Attention is counted as dense, queries × keys, including the masked part, because a kernel with a
mask computes it. A backward pass counts twice the forward pass, as every weight is trained. Operations that the
backward pass computes a second time are not counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FORWARD_AND_BACKWARD = 3  # × the operations of the forward pass


@dataclass(frozen=True)
class LlamaShape:
    """A decoder of the Llama type."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> "LlamaShape":
        """From a `transformers.LlamaConfig`."""
        heads = config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        sizes = (config.hidden_size, config.intermediate_size, config.num_hidden_layers)
        return cls(*sizes, heads, config.num_key_value_heads, head_dim, config.vocab_size)


@dataclass(frozen=True)
class T5Shape:
    """An encoder-decoder of the T5 type with a gated feed-forward; `inner` is heads × d_kv."""

    hidden: int
    inner: int
    feed_forward: int
    encoder_layers: int
    decoder_layers: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> "T5Shape":
        """From a `transformers.T5Config`."""
        inner = config.num_heads * config.d_kv
        sizes = (config.d_ff, config.num_layers, config.num_decoder_layers, config.vocab_size)
        return cls(config.d_model, inner, *sizes)


Shape = LlamaShape | T5Shape
Attended = tuple[int, ...]  # queries × keys, summed over all rows, of self attention and cross attention


@dataclass(frozen=True)
class Call:
    """Shapes of one forward pass through a stack or the head.

    stack: ``causal``, ``encoder``, ``decoder`` or ``head``. rows, width: shape of the input, including padding (for
    the head, rows are positions and width is 1). source_rows, source_width: shape of the encoder states that a decoder
    attends to. real: positions that are not padding. grad: whether a backward pass follows. attended: queries × keys,
    summed over all rows, of self attention and cross attention; for packed rows only, whose attention runs on rows
    of other shapes than the input.
    """

    stack: str
    rows: int
    width: int
    grad: bool
    real: int = 0
    source_rows: int = 0
    source_width: int = 0
    attended: tuple[int, ...] = ()


def attention(products: int, inner: int) -> int:
    """Scores and weighted sum of dense attention: 4·products·inner, where products counts pairs of query and key."""
    return 4 * products * inner


def llama(shape: LlamaShape, rows: int, width: int, attended: Attended = ()) -> int:
    """Forward pass of the layers, without the head."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    weights = 2 * shape.hidden * queries + 2 * shape.hidden * keys + 3 * shape.hidden * shape.feed_forward
    (own,) = attended or (rows * width**2,)
    return shape.layers * (2 * rows * width * weights + attention(own, queries))


def t5_encoder(shape: T5Shape, rows: int, width: int, attended: Attended = ()) -> int:
    """Forward pass of the encoder."""
    weights = 4 * shape.hidden * shape.inner + 3 * shape.hidden * shape.feed_forward
    (own,) = attended or (rows * width**2,)
    return shape.encoder_layers * (2 * rows * width * weights + attention(own, shape.inner))


def t5_decoder(
    shape: T5Shape, rows: int, width: int, source_rows: int, source_width: int, attended: Attended = ()
) -> int:
    """Forward pass of the decoder without the head; every layer projects keys and values of the source."""
    weights = 6 * shape.hidden * shape.inner + 3 * shape.hidden * shape.feed_forward
    source = 2 * shape.hidden * shape.inner
    layer = 2 * rows * width * weights + 2 * source_rows * source_width * source
    own, cross = attended or (rows * width**2, rows * width * source_width)
    layer += attention(own, shape.inner) + attention(cross, shape.inner)
    return shape.decoder_layers * layer


def head(shape: Shape, positions: int) -> int:
    """Projection of hidden states onto the vocabulary."""
    return 2 * positions * shape.hidden * shape.vocabulary


def flops(shape: Shape, calls: Iterable[Call]) -> int:
    """All operations of `calls`, including the backward passes of calls with gradient."""
    return sum(forward(shape, call) * (FORWARD_AND_BACKWARD if call.grad else 1) for call in calls)


def forward(shape: Shape, call: Call) -> int:
    """Operations of the forward pass of one call.

    Raises:
        ValueError: this kind of model has no such stack.
    """
    if call.stack == "head":
        return head(shape, call.rows)
    if isinstance(shape, LlamaShape) and call.stack == "causal":
        return llama(shape, call.rows, call.width, call.attended)
    if isinstance(shape, T5Shape) and call.stack == "encoder":
        return t5_encoder(shape, call.rows, call.width, call.attended)
    if isinstance(shape, T5Shape) and call.stack == "decoder":
        source = (call.source_rows, call.source_width)
        return t5_decoder(shape, call.rows, call.width, *source, call.attended)
    raise ValueError(f"{type(shape).__name__} has no {call.stack!r}; expected the stacks of that kind, or head.")
