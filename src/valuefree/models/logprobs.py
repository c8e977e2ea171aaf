"""The only place that turns a model and a batch into response log-probabilities."""

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from valuefree.batches.collate import IGNORED, pad_right
from valuefree.errors import ConfigError
from valuefree.models.fused_logprobs import HeadPath, HeadSettings, linear_logps
from valuefree.models.load import evaluating, is_encoder_decoder, unwrap_model
from valuefree.models.packed_attention import PackedRows, attention_name, no_mask, use_packed_attention

logger = logging.getLogger(__name__)

CHUNK_TOKENS = 512
MAX_LOGIT_BYTES = 2**30
# Per model: the ways its head went so far, each logged once.
_READY: "WeakKeyDictionary[nn.Module, set[str]]" = WeakKeyDictionary()


class ResponseLogps(NamedTuple):
    """Per response: `total` log π(y|x) in nats, float32 at least, shape (R,); `tokens` counted in it, int64.

    `values`: what the model's value network says of prompts, where it was asked, shape (P,).
    """

    total: Float[Tensor, " R"]
    tokens: Int[Tensor, " R"]
    values: Float[Tensor, " P"] | None = None

    @property
    def mean(self) -> Float[Tensor, " R"]:
        """Log-probability per token, shape (R,)."""
        return self.total / self.tokens


def response_logps(
    model: nn.Module,
    batch: Mapping[str, Tensor],
    *,
    chunk_tokens: int = CHUNK_TOKENS,
    max_logit_bytes: int = MAX_LOGIT_BYTES,
    value_batch: Mapping[str, Tensor] | None = None,
) -> ResponseLogps:
    """Log-probability of each response, over its tokens alone, end of sequence included.

    The model's head runs on response positions only, `chunk_tokens` at a time, in at least float32 from the logits on,
    so no [tokens × vocabulary] log-softmax of the batch exists at once. With gradients one of three ways is taken, and
    logged: ``frozen``, when the head's weight takes no gradient (as with LoRA): the gradient on the hidden states is
    formed in the forward pass, and no logits are kept; ``kept``, logits of all chunks stay for the backward pass, up to
    `max_logit_bytes`; ``recomputed``, above that, each chunk is computed again there.

    The model is called as a whole, so that what wraps it (DDP, FSDP, DeepSpeed, autocast) takes part.

    Args:
        model: a transformers encoder-decoder or decoder-only language model, or a peft model around one.
        batch: ``input_ids``, ``attention_mask`` and ``labels`` (−100 where not a response token), padded on either
            side, or another form that `valuefree.batches.collate.Collator` makes.
        chunk_tokens: response tokens per projection.
        max_logit_bytes: of float32 logits kept for the backward pass.
        value_batch: prompts that the model's `ValueNetwork` values in the same call, so that what wraps the model sees
            both networks at work.

    Returns:
        `ResponseLogps` with one value per row of ``labels`` (per response in the shared form).

    Raises:
        ConfigError: an architecture whose logits are not its head applied to its last hidden state.
    """
    patch_forward(model)
    limits = {"chunk_tokens": chunk_tokens, "max_logit_bytes": max_logit_bytes}
    return model(**{BATCH: batch, VALUES: value_batch}, **limits)


BATCH = "response_batch"  # keyword by which a prepared model's forward is asked for log-probabilities
VALUES = "value_batch"  # and for values of prompts


def patch_forward(model: nn.Module) -> None:
    """Teach a model's forward to answer `response_logps`, once, before it is sharded or wrapped; also on first use.

    Only a call of the outermost module runs the hooks of DDP, FSDP and DeepSpeed and accelerate's autocast, so the
    work has to happen inside `forward`.

    Raises:
        ConfigError: an architecture whose logits are not its head applied to its last hidden state; an adapter that
            adds tokens (prompt tuning); weights that DeepSpeed has already taken apart.
    """
    core = unwrap_model(model)
    if core in _READY:
        return
    if any(hasattr(weight, "ds_id") for weight in core.parameters()):
        raise ConfigError(
            "the model's weights are already partitioned by DeepSpeed ZeRO-3, but scoring the reference needs them "
            "whole. Load the model before making the training arguments."
        )
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise ConfigError("adapters that add tokens (prompt or prefix tuning) are not supported; use LoRA or IA3.")
    _probe(core)
    _READY[core] = set()
    own = core.__dict__.get("forward")  # of whoever wrapped it before; else the class has it, also that of a copy

    @functools.wraps(core.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        batch = kwargs.get(BATCH)
        if batch is not None:
            found = _response_logps(self, batch, kwargs["chunk_tokens"], kwargs["max_logit_bytes"])
            prompts = kwargs[VALUES]
            return found if prompts is None else found._replace(values=self.value_network(self, prompts))  # type: ignore[operator]
        return own(*args, **kwargs) if own is not None else type(self).forward(self, *args, **kwargs)

    core.forward = MethodType(forward, core)  # type: ignore[method-assign]


def _response_logps(core: nn.Module, batch: Mapping[str, Tensor], chunk_tokens: int, max_bytes: int) -> ResponseLogps:
    hidden, ids, positions, rows, count = _hidden_and_targets(core, batch)
    selected = hidden.reshape(-1, hidden.shape[-1]).index_select(0, positions)
    vocabulary: int = core.config.get_text_config().vocab_size  # type: ignore[union-attr, operator]
    path = _head_path(core, len(ids) * vocabulary * 4, max_bytes)
    if torch.is_grad_enabled():
        _log_path(core, path, len(ids), vocabulary)
    if torch.is_grad_enabled() and _is_plain(core):
        before, after = _scale(core)
        weight = core.get_output_embeddings().weight  # type: ignore[operator, union-attr]
        token_logps = linear_logps(selected, weight, ids, HeadSettings(before * after, chunk_tokens, path))
    else:
        token_logps = _through_modules(core, selected, ids, chunk_tokens, path)
    total = token_logps.new_zeros(count).index_add(0, rows, token_logps)
    return ResponseLogps(total, torch.bincount(rows, minlength=count))


def _through_modules(
    core: nn.Module, hidden: Float[Tensor, "M d"], ids: Int[Tensor, " M"], chunk_tokens: int, path: HeadPath
) -> Float[Tensor, " M"]:
    """As `linear_logps`, for any head, by calling it: without gradients, with a bias, a cap, or gathered weights."""
    head = _head(core)
    parts = []
    for part, part_ids in zip(hidden.split(chunk_tokens), ids.split(chunk_tokens), strict=True):
        if path == "recomputed":
            parts.append(checkpoint(_chunk_logps, head, part, part_ids, use_reentrant=False))
        else:
            parts.append(_chunk_logps(head, part, part_ids))
    return torch.cat(parts)


def _chunk_logps(
    head: Callable[[Tensor], Tensor], hidden: Float[Tensor, "M d"], ids: Int[Tensor, " M"]
) -> Float[Tensor, " M"]:
    logits = head(hidden)
    return -F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), ids, reduction="none")


def _is_plain(core: nn.Module) -> bool:
    """Whether the head is one product with a weight that is at hand."""
    project = core.get_output_embeddings()  # type: ignore[operator]
    capped = getattr(core.config.get_text_config(), "final_logit_softcapping", None)  # type: ignore[union-attr, operator]
    # A weight that is gathered only inside its module's call has no elements here (ZeRO-3), or a hook that brings it.
    at_hand = type(project) is nn.Linear and project.weight.numel() > 0 and not hasattr(project, "_hf_hook")
    return at_hand and project.bias is None and not capped


def _head_path(core: nn.Module, logit_bytes: int, max_logit_bytes: int) -> HeadPath:
    if not torch.is_grad_enabled():
        return "kept"
    if _is_plain(core) and not core.get_output_embeddings().weight.requires_grad:  # type: ignore[operator, union-attr]
        return "frozen"
    return "recomputed" if logit_bytes > max_logit_bytes else "kept"


def _log_path(core: nn.Module, path: HeadPath, tokens: int, vocabulary: int) -> None:
    if path not in _READY.setdefault(core, set()):
        _READY[core].add(path)
        size = tokens * vocabulary * 4 / 2**20
        said = {
            "kept": "its logits are kept for the backward pass",
            "recomputed": "above max_logit_bytes, so it is computed again in the backward pass",
            "frozen": "its weight is frozen, so no logits are kept and nothing is computed again",
        }
        logger.info("head: %d tokens × %d (%.0f MiB of logits): %s", tokens, vocabulary, size, said[path])


def _hidden_and_targets(
    core: nn.Module, batch: Mapping[str, Tensor]
) -> tuple[Float[Tensor, "B T d"], Int[Tensor, " M"], Int[Tensor, " M"], Int[Tensor, " M"], int]:
    """Last hidden states; and of each response token its id, the flat position that predicts it, and its response."""
    if is_encoder_decoder(core) and "pack" in batch:
        rows = batch["target_rows"]
        positions = torch.arange(len(rows), device=rows.device)
        return _packed_t5_states(core, batch), batch["target_ids"], positions, rows, int(batch["blocks"][:, 0].sum())
    if is_encoder_decoder(core):
        batch = pad_right(batch)  # encoders and decoders may count positions from the first column
        labels = batch["labels"]
        rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
        positions = rows * labels.shape[1] + columns
        return _decoder_states(core, batch), labels[rows, columns], positions, rows, len(labels)
    if "target_ids" in batch:
        targets = (
            batch["target_ids"],
            batch["target_positions"],
            batch["target_rows"],
            int(batch["blocks"][:, 0].sum()),
        )
        use_packed_attention(core)
        rows = PackedRows(batch["blocks"].tolist(), batch["unpack"], batch["pack"])
        mask = no_mask(batch["input_ids"].device)
        states = _causal_states(core, batch["input_ids"], mask, batch["position_ids"], packed_rows=rows)
        return states, *targets
    labels = batch["labels"]
    if bool((labels[:, 0] != IGNORED).any()):
        raise ConfigError("labels count the first token of a row, which nothing predicts: a prompt must precede it.")
    rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
    mask = batch["attention_mask"]
    position_ids = (mask.cumsum(1) - 1).clamp(min=0)
    positions = rows * labels.shape[1] + columns - 1
    states = _causal_states(core, batch["input_ids"], mask, position_ids)
    return states, labels[rows, columns], positions, rows, len(labels)


def _causal_states(
    core: nn.Module, ids: Int[Tensor, "B T"], mask: Tensor, position_ids: Int[Tensor, "B T"], **more: Any
) -> Float[Tensor, "B T d"]:
    backbone = getattr(core, core.base_model_prefix)  # type: ignore[arg-type]
    named = {"input_ids": ids, "attention_mask": mask}
    accepted = inspect.signature(backbone.forward).parameters
    named |= {k: v for k, v in {"position_ids": position_ids, "use_cache": False}.items() if k in accepted}
    return backbone(**named, **more).last_hidden_state


def _decoder_states(core: nn.Module, batch: Mapping[str, Tensor]) -> Float[Tensor, "B T d"]:
    mask = batch["attention_mask"]
    states = core.get_encoder()(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state  # type: ignore
    if "encoder_rows" in batch:
        states, mask = states[batch["encoder_rows"]], mask[batch["encoder_rows"]]
    labels = batch["labels"]
    shifted = torch.full_like(labels, core.config.decoder_start_token_id)  # type: ignore[union-attr]
    shifted[:, 1:] = labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED, core.config.pad_token_id)  # type: ignore
    decoder = core.get_decoder()  # type: ignore[operator]
    return decoder(
        input_ids=shifted, encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False
    ).last_hidden_state


def _packed_t5_states(core: nn.Module, batch: Mapping[str, Tensor]) -> Float[Tensor, "1 M d"]:
    """Hidden states (1, M, d) of the decoder of a T5 over packed responses, the encoder over packed prompts."""
    use_packed_attention(core)
    encoder, decoder = core.get_encoder(), core.get_decoder()  # type: ignore[operator]
    prompt_rows = PackedRows(batch["prompt_blocks"].tolist(), batch["prompt_unpack"], batch["prompt_pack"])
    states = _t5_stack(encoder, batch["input_ids"], prompt_rows, batch["prompt_mask"][:, None, None], None, None)
    rows = batch["target_rows"]
    shifted = batch["target_ids"].roll(1)
    shifted[torch.cat([rows.new_ones(1, dtype=torch.bool), rows[1:] != rows[:-1]])] = core.config.decoder_start_token_id  # type: ignore[union-attr]
    keys = (batch["key_blocks"].tolist(), batch["key_unpack"])
    response_rows = PackedRows(batch["blocks"].tolist(), batch["unpack"], batch["pack"], *keys)
    return _t5_stack(decoder, shifted[None], response_rows, None, states, batch["key_mask"][:, None, None])


def _t5_stack(
    stack: Any, ids: Tensor, rows: PackedRows, mask: Tensor | None, states: Tensor | None, cross_mask: Tensor | None
) -> Tensor:
    """T5Stack.forward over packed tokens: the relative positions are those of the unpacked rows."""
    width = rows.blocks[0][1]  # of the longest
    bias = stack.block[0].layer[0].SelfAttention.compute_bias(width, width, device=ids.device)
    no_bias = bias.new_zeros(1, 1, 1, 1)
    hidden = stack.dropout(stack.embed_tokens(ids))
    for block in stack.block:
        hidden = block(hidden, mask, bias, states, cross_mask, no_bias, packed_rows=rows)[0]
    return stack.dropout(stack.final_layer_norm(hidden))


def _scale(core: nn.Module) -> tuple[float, float]:
    """Factors on the hidden states and on the logits that some families apply."""
    config = core.config.get_text_config()  # type: ignore[union-attr, operator]
    before = config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0  # T5 v1.0
    after = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
    return before, after


def _head(core: nn.Module) -> Callable[[Tensor], Tensor]:
    """From hidden states to logits, with what some families do around the projection."""
    project = core.get_output_embeddings()  # type: ignore[operator]
    before, after = _scale(core)
    cap = getattr(core.config.get_text_config(), "final_logit_softcapping", None)  # type: ignore[union-attr, operator]

    def logits(hidden: Tensor) -> Tensor:
        out = project(hidden * before if before != 1.0 else hidden)
        out = out * after if after != 1.0 else out
        return torch.tanh(out / cap) * cap if cap else out

    return logits


def _probe(core: nn.Module) -> None:
    """On three tokens, our way to the logits and the model's own must agree."""
    device = next(core.parameters()).device
    ids = torch.arange(1, 4, device=device)[None]
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    with evaluating(core):
        if is_encoder_decoder(core):
            own = core(input_ids=ids, attention_mask=batch["attention_mask"], labels=ids).logits
            ours = _head(core)(_decoder_states(core, batch))
        else:
            own = core(input_ids=ids, attention_mask=batch["attention_mask"]).logits
            positions = torch.arange(3, device=device)[None]
            ours = _head(core)(_causal_states(core, ids, batch["attention_mask"], positions))
    if own.shape != ours.shape or not torch.allclose(own.float(), ours.float(), rtol=1e-2, atol=1e-2, equal_nan=True):
        raise ConfigError(
            f"{type(core).__name__} does more between hidden states and logits than valuefree knows, so its "
            "log-probabilities would be wrong. Please report the model's name."
        )


def supports_packing(model: nn.Module) -> bool:
    """Whether the padding-free form of a batch is exact for `model`: a known family, with `sdpa` in full everywhere.

    A T5 whose layers are sharded by FSDP is not packed: its relative positions are weights of one layer that all use.
    """
    core = unwrap_model(model)
    config = core.config.get_text_config()  # type: ignore[union-attr, operator]
    if attention_name(core) != "sdpa":
        return False
    if is_encoder_decoder(core):
        sharded = any(isinstance(weight, DTensor) for weight in core.parameters())
        return core.config.model_type in PACKED_ENCODER_DECODERS and not sharded  # type: ignore[union-attr]
    full = all(kind == "full_attention" for kind in getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) if not getattr(config, "layer_types", None) else None
    takes = inspect.signature(getattr(core, core.base_model_prefix).forward).parameters  # type: ignore[arg-type]
    return full and window is None and "position_ids" in takes and config.model_type in POSITION_RESTARTS


# Families whose positions come from position_ids alone; a test compares each with unshared rows.
POSITION_RESTARTS = frozenset(
    {"llama", "mistral", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox", "phi", "olmo2", "smollm3"}
)
PACKED_ENCODER_DECODERS = frozenset({"t5", "mt5"})
