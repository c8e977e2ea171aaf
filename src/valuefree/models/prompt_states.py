"""The prompts of a batch computed once for several responses each, in the form that ``generate`` continues from."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from valuefree.models.modules import backbone_of, is_encoder_decoder, unwrap_model


@torch.no_grad()
def prompt_states(model: nn.Module, batch: Mapping[str, Tensor], rows: Sequence[int]) -> dict[str, Any] | None:
    """Arguments of ``generate`` that spare it the forward pass over prompts which occur several times.

    For an encoder-decoder these are the encoder's outputs. For a decoder it is the cache of all tokens of the prompts
    but the last, whose logits ``generate`` needs.

    Args:
        batch: ``input_ids`` and ``attention_mask`` (U, L) of the different prompts, a decoder's padded on the left.
        rows: for each of the B responses the row of its prompt in `batch`.

    Returns:
        Arguments for B responses; None for a decoder that keeps its states in another form than a
        `transformers.DynamicCache` of keys and values, and for prompts of one token.
    """
    core: Any = unwrap_model(model)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    chosen = torch.as_tensor(rows, device=ids.device)
    if is_encoder_decoder(model):
        states = core.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        return {"encoder_outputs": BaseModelOutput(last_hidden_state=states[chosen])}
    if ids.shape[1] < 2:
        return None
    backbone = backbone_of(core)
    options: dict[str, Any] = {"use_cache": True}
    if "position_ids" in inspect.signature(backbone.forward).parameters:
        options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, :-1]
    output = backbone(input_ids=ids[:, :-1], attention_mask=mask[:, :-1], **options)
    cache = getattr(output, "past_key_values", None)
    if not isinstance(cache, DynamicCache) or not all(isinstance(layer, DynamicLayer) for layer in cache.layers):
        return None
    cache.batch_select_indices(chosen)
    return {"past_key_values": cache}
