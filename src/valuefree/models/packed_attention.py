"""Attention over packed rows: linear layers run on each token once, without padding; attention runs on ordinary rows.

A packed batch is one row of N tokens, with each prompt and each response once (`valuefree.batches.packing`). Attention
gathers ordinary rows from it, padded on the right (prompt and response, for a decoder-only model), runs torch's kernel
on them, and scatters the outputs back. The outputs therefore equal those of unshared rows, a causal kernel stays
causal, and the gradients of a prompt's keys and values are summed over its responses.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "valuefree_packed"


class PackedRows(NamedTuple):
    """Index maps between a packed row and ordinary rows (`valuefree.batches.packing`).

    blocks: (rows, width) of each block. unpack: packed positions of the tokens of all blocks. pack: (N,), index of
    each packed token among the tokens of the blocks. key_blocks, key_unpack: the same for the keys of cross attention.
    """

    blocks: list[list[int]]
    unpack: Tensor
    pack: Tensor
    key_blocks: list[list[int]] | None = None
    key_unpack: Tensor | None = None


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packed_rows: PackedRows | None = None,
    position_bias: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """`sdpa` of transformers; with `packed_rows`, block by block over the ordinary rows.

    Args:
        query, key, value: (1, heads, N, D) if packed.
        attention_mask: (rows, 1, 1, keys) of the ordinary rows in the order of the blocks, if packed. Packed causal
            attention ignores it, since padding on the right needs no mask.
        position_bias: (1, heads, queries, keys) of the widest rows; narrower rows use its upper left part.

    Returns:
        Output (1, N, heads, D), and None in place of attention weights.
    """
    attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
    if packed_rows is None:
        bias = {} if position_bias is None else {"position_bias": position_bias}
        return attend(module, query, key, value, attention_mask, **bias, **options)
    causal = bool(getattr(module, "is_causal", True))
    blocks, unpack, pack, key_blocks, key_unpack = packed_rows
    if causal or key_blocks is None or key_unpack is None:
        key_blocks, key_unpack = blocks, unpack
    queries = _unpacked(query, blocks, unpack)
    keys, values = _unpacked(key, key_blocks, key_unpack), _unpacked(value, key_blocks, key_unpack)
    outputs, first = [], 0
    for (rows, width), (_, key_width), q, k, v in zip(blocks, key_blocks, queries, keys, values, strict=True):
        mask = None if causal or attention_mask is None else attention_mask[first : first + rows, ..., :key_width]
        bias = {} if position_bias is None else {"position_bias": position_bias[..., :width, :key_width]}
        outputs.append(attend(module, q, k, v, mask, **bias, **options)[0].flatten(0, 1))
        first += rows
    return torch.cat(outputs).index_select(0, pack)[None], None


def _unpacked(tensor: Tensor, blocks: list[list[int]], unpack: Tensor) -> list[Tensor]:
    """From (1, heads, N, D) to (rows, heads, width, D) for each block."""
    heads, size = tensor.shape[1], tensor.shape[-1]
    parts = tensor[0].index_select(1, unpack).split([rows * width for rows, width in blocks], dim=1)
    shapes = zip(parts, blocks, strict=True)
    return [part.reshape(heads, rows, width, size).transpose(0, 1) for part, (rows, width) in shapes]


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def use_packed_attention(model: Any) -> None:
    """Switch a model from ``sdpa`` to `packed_attention`, which equals ``sdpa`` for rows that are not packed."""
    if model.config._attn_implementation != NAME:
        model.set_attn_implementation(NAME)


def attention_name(model: Any) -> str:
    """The attention that the user chose; ``sdpa`` for a model that `use_packed_attention` switched."""
    name = model.config._attn_implementation
    return "sdpa" if name == NAME else str(name)


def no_mask(device: torch.device) -> Tensor:
    """A four-dimensional mask, which transformers passes on unchanged instead of building an N × N mask."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
