"""Last hidden states of a batch in each of its forms, and the targets of the head; whether packing is exact.

`core` is a transformers model without wrappers, typed Any, since attributes differ between architectures.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from valuefree.batches.collate import IGNORED, pad_right
from valuefree.errors import ConfigError
from valuefree.models.modules import backbone_of, is_encoder_decoder, unwrap_model
from valuefree.models.packed_attention import PackedRows, attention_name, no_mask, use_packed_attention


def hidden_and_targets(core: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """Hidden states and the targets of the head.

    Returns:
        Last hidden states; for each response token its id, the flat position of the hidden state that predicts it, and
        its response; the number of responses.
    """
    if is_encoder_decoder(core) and "pack" in batch:
        rows = batch["target_rows"]
        positions = torch.arange(len(rows), device=rows.device)
        return _packed_t5_states(core, batch), batch["target_ids"], positions, rows, int(batch["blocks"][:, 0].sum())
    if is_encoder_decoder(core):
        batch = pad_right(batch)  # an encoder or decoder may count positions from its first column
        labels = batch["labels"]
        rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
        positions = rows * labels.shape[1] + columns
        return decoder_states(core, batch), labels[rows, columns], positions, rows, len(labels)
    if "target_ids" in batch:
        use_packed_attention(core)
        rows = PackedRows(batch["blocks"].tolist(), batch["unpack"], batch["pack"])
        mask = no_mask(batch["input_ids"].device)
        states = causal_states(core, batch["input_ids"], mask, batch["position_ids"], packed_rows=rows)
        targets = (batch["target_ids"], batch["target_positions"], batch["target_rows"])
        return states, *targets, int(batch["blocks"][:, 0].sum())
    labels = batch["labels"]
    if bool((labels[:, 0] != IGNORED).any()):
        raise ConfigError("labels include the first token of a row, which nothing predicts: a prompt must precede it.")
    rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
    mask = batch["attention_mask"]
    position_ids = (mask.cumsum(1) - 1).clamp(min=0)
    positions = rows * labels.shape[1] + columns - 1
    states = causal_states(core, batch["input_ids"], mask, position_ids)
    return states, labels[rows, columns], positions, rows, len(labels)


def causal_states(core: Any, ids: Tensor, mask: Tensor, position_ids: Tensor, **options: Any) -> Tensor:
    """Last hidden states (rows, tokens, d) of a decoder; `options` go to its forward."""
    backbone = backbone_of(core)
    accepted = inspect.signature(backbone.forward).parameters
    options |= {k: v for k, v in {"position_ids": position_ids, "use_cache": False}.items() if k in accepted}
    return backbone(input_ids=ids, attention_mask=mask, **options).last_hidden_state


def decoder_states(core: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Last hidden states (rows, tokens, d) of an encoder-decoder's decoder over the ``labels``."""
    mask = batch["attention_mask"]
    states = core.get_encoder()(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
    if "encoder_rows" in batch:
        states, mask = states[batch["encoder_rows"]], mask[batch["encoder_rows"]]
    labels = batch["labels"]
    shifted = torch.full_like(labels, core.config.decoder_start_token_id)
    shifted[:, 1:] = labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, core.config.pad_token_id)
    source = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    return core.get_decoder()(input_ids=shifted, **source, use_cache=False).last_hidden_state


def _packed_t5_states(core: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Hidden states (1, M, d) of a T5 decoder over packed responses, with its encoder over packed prompts."""
    use_packed_attention(core)
    encoder, decoder = core.get_encoder(), core.get_decoder()
    prompt_rows = PackedRows(batch["prompt_blocks"].tolist(), batch["prompt_unpack"], batch["prompt_pack"])
    states = _t5_stack(encoder, batch["input_ids"], prompt_rows, batch["prompt_mask"][:, None, None], None, None)
    rows = batch["target_rows"]
    shifted = batch["target_ids"].roll(1)
    first_of_response = torch.cat([rows.new_ones(1, dtype=torch.bool), rows[1:] != rows[:-1]])
    shifted[first_of_response] = core.config.decoder_start_token_id
    keys = (batch["key_blocks"].tolist(), batch["key_unpack"])
    response_rows = PackedRows(batch["blocks"].tolist(), batch["unpack"], batch["pack"], *keys)
    return _t5_stack(decoder, shifted[None], response_rows, None, states, batch["key_mask"][:, None, None])


def _t5_stack(
    stack: Any, ids: Tensor, rows: PackedRows, mask: Tensor | None, states: Tensor | None, cross_mask: Tensor | None
) -> Tensor:
    """T5Stack.forward over packed tokens, with the relative positions of the ordinary rows."""
    width = rows.blocks[0][1]  # the first block holds the longest rows
    bias = stack.block[0].layer[0].SelfAttention.compute_bias(width, width, device=ids.device)
    no_bias = bias.new_zeros(1, 1, 1, 1)
    hidden = stack.dropout(stack.embed_tokens(ids))
    for block in stack.block:
        hidden = block(hidden, mask, bias, states, cross_mask, no_bias, packed_rows=rows)[0]
    return stack.dropout(stack.final_layer_norm(hidden))


def supports_packing(model: nn.Module) -> bool:
    """Whether the padding-free form of a batch is exact for `model`: a known family with full `sdpa` in all layers.

    A T5 sharded by FSDP does not support packing: all of its layers use the relative positions of one layer's weights.
    """
    core = unwrap_model(model)
    config = core.config.get_text_config()
    if attention_name(core) != "sdpa":
        return False
    if is_encoder_decoder(core):
        sharded = any(isinstance(weight, DTensor) for weight in core.parameters())
        return core.config.model_type in PACKED_ENCODER_DECODERS and not sharded
    layer_types = getattr(config, "layer_types", None)
    full = (
        all(t == "full_attention" for t in layer_types)
        if layer_types
        else getattr(config, "sliding_window", None) is None
    )
    accepted = inspect.signature(backbone_of(core).forward).parameters
    return full and "position_ids" in accepted and config.model_type in POSITION_RESTARTS


# Families whose positions depend only on position_ids; a test compares each of them with unshared rows.
POSITION_RESTARTS = frozenset(
    {"llama", "mistral", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox", "phi", "olmo2", "smollm3"}
)
PACKED_ENCODER_DECODERS = frozenset({"t5", "mt5"})
