"""Attention for packed rows: linear layers see every token once, without padding; attention sees ordinary rows.

A packed batch is one row of N tokens, each prompt once and each response once (`valuefree.batches.packing`). Attention
gathers from it ordinary rows, padded at the end, for a decoder-only model prompt and response; runs torch's kernel on
them, and puts each token's output back. So the values are those of unshared rows, a causal kernel keeps its causal
form, and the gradients of a prompt's keys and values add up over its responses.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "valuefree_packed"


class PackedRows(NamedTuple):
    """Where tokens of a packed row stand in ordinary rows, and back (`valuefree.batches.packing`).

    blocks: (rows, width) of each block. unpack: packed positions of the tokens of all blocks. pack: (N,), for each
    packed token its place among those. key_blocks, key_unpack: the same of the keys of cross attention.
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
    """`sdpa` of transformers; with `packed_rows`, block by block over the rows that they describe.

    Args:
        query, key, value: (1, heads, N, D) when packed. attention_mask: (rows, 1, 1, keys) of the ordinary rows in the
            order of the blocks, when packed; causal attention needs none then, since padding stands at the end, and
            reads none. position_bias: (1, heads, queries, keys) of the widest rows; of narrower ones it is a corner.

    Returns:
        Output (1, N, heads, D), and None.
    """
    attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
    if packed_rows is None:
        given = options if position_bias is None else {**options, "position_bias": position_bias}
        return attend(module, query, key, value, attention_mask, **given)
    causal = bool(getattr(module, "is_causal", True))
    blocks, unpack, pack, key_blocks, key_unpack = packed_rows
    if causal or key_blocks is None or key_unpack is None:
        key_blocks, key_unpack = blocks, unpack
    queries = _unpacked(query, blocks, unpack)
    keys, values = _unpacked(key, key_blocks, key_unpack), _unpacked(value, key_blocks, key_unpack)
    outputs, first = [], 0
    for (rows, width), (_, reach), q, k, v in zip(blocks, key_blocks, queries, keys, values, strict=True):
        mask = None if causal or attention_mask is None else attention_mask[first : first + rows, ..., :reach]
        bias = {} if position_bias is None else {"position_bias": position_bias[..., :width, :reach]}
        outputs.append(attend(module, q, k, v, mask, **bias, **options)[0].flatten(0, 1))
        first += rows
    return torch.cat(outputs).index_select(0, pack)[None], None


def _unpacked(tensor: Tensor, blocks: list[list[int]], where: Tensor) -> list[Tensor]:
    """(1, heads, N, D) to (rows, heads, width, D) of each block."""
    heads, size = tensor.shape[1], tensor.shape[-1]
    parts = tensor[0].index_select(1, where).split([rows * width for rows, width in blocks], dim=1)
    shapes = zip(parts, blocks, strict=True)
    return [part.reshape(heads, rows, width, size).transpose(0, 1) for part, (rows, width) in shapes]


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def use_packed_attention(model: nn.Module) -> None:
    """Switch a model from ``sdpa`` to `packed_attention`, which is the same wherever rows are not packed."""
    if model.config._attn_implementation != NAME:  # type: ignore[union-attr]
        model.set_attn_implementation(NAME)  # type: ignore[operator]


def attention_name(model: nn.Module) -> str:
    """The attention that the user chose: ``sdpa`` for a model that was switched."""
    name = model.config._attn_implementation  # type: ignore[union-attr]
    return "sdpa" if name == NAME else str(name)


def no_mask(device: torch.device) -> Tensor:
    """A four-dimensional mask, which transformers passes on as it is instead of building one of N × N."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)
