"""Response log-probabilities of a model on a batch; all of the package computes them here.

`core` is a transformers model without wrappers, typed Any, since attributes differ between architectures.
"""

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
from valuefree.models.load import backbone_of, evaluating, is_encoder_decoder, unwrap_model
from valuefree.models.packed_attention import PackedRows, attention_name, no_mask, use_packed_attention

logger = logging.getLogger(__name__)

CHUNK_TOKENS = 512
MAX_LOGIT_BYTES = 2**30
# Per patched model: head code paths already logged.
_LOGGED_PATHS: "WeakKeyDictionary[nn.Module, set[str]]" = WeakKeyDictionary()


class ResponseLogps(NamedTuple):
    """Log-probabilities of R responses, and values of P prompts.

    total: log π(y|x) of each response in nats, at least float32, shape (R,). tokens: tokens of each response, int64,
    (R,). values: outputs of the model's value network, (P,); None without a `value_batch`.
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
    """Log-probability of each response: the sum over its tokens, including the end of sequence.

    The model's head runs on response positions only, `chunk_tokens` at a time and at least float32 from the logits on,
    so the [tokens × vocabulary] log-softmax of the whole batch never exists. With gradients, the head takes one of
    three code paths, which is logged:

    - ``frozen``, if the head's weight has no gradient (as with LoRA): the forward pass computes the gradient on the
      hidden states, and no logits are stored.
    - ``kept``: the logits of all chunks, at most `max_logit_bytes`, are stored for the backward pass.
    - ``recomputed``, if the logits are larger: the backward pass computes each chunk again.

    The outermost module is called, so that wrappers (DDP, FSDP, DeepSpeed, autocast) work.

    Args:
        model: a transformers encoder-decoder or decoder-only language model, or a peft model around one.
        batch: ``input_ids``, ``attention_mask`` and ``labels`` (−100 outside the response), padded on either side; or
            another form made by `valuefree.batches.collate.Collator`.
        chunk_tokens: response tokens per projection.
        max_logit_bytes: largest size of float32 logits that are stored for the backward pass.
        value_batch: prompts for the model's `ValueNetwork`, which runs in the same call, so that wrappers see both
            networks.

    Returns:
        `ResponseLogps` with one value per row of ``labels``; in the packed and shared forms, one per response.

    Raises:
        ConfigError: an architecture whose logits are not its head applied to its last hidden state.
    """
    patch_forward(model)
    limits = {"chunk_tokens": chunk_tokens, "max_logit_bytes": max_logit_bytes}
    return model(**{BATCH: batch, VALUES: value_batch}, **limits)


BATCH = "response_batch"  # keyword argument with which a patched forward returns log-probabilities
VALUES = "value_batch"  # keyword argument of the prompts for the value network


def patch_forward(model: nn.Module) -> None:
    """Patch a model's `forward` so that `response_logps` can call it; a patched model is left as it is.

    Call this before the model is sharded or wrapped; `response_logps` does so on first use. The computation has to
    happen inside `forward`, since only a call of the outermost module runs the hooks of DDP, FSDP and DeepSpeed and
    accelerate's autocast.

    Raises:
        ConfigError: an architecture whose logits are not its head applied to its last hidden state; an adapter that
            adds tokens (prompt tuning); weights that DeepSpeed has already partitioned.
    """
    core = unwrap_model(model)
    if core in _LOGGED_PATHS:
        return
    if any(hasattr(weight, "ds_id") for weight in core.parameters()):
        raise ConfigError(
            "DeepSpeed ZeRO-3 has already partitioned the model's weights, but scoring the reference needs whole "
            "weights. Load the model before creating the training arguments."
        )
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise ConfigError("adapters that add tokens (prompt or prefix tuning) are not supported; use LoRA or IA3.")
    _probe(core)
    _LOGGED_PATHS[core] = set()
    # A forward in the instance was set by another wrapper. Otherwise the class's forward is called with `self`, so that
    # a copy of the patched model runs its own weights.
    instance_forward = core.__dict__.get("forward")

    @functools.wraps(core.forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        batch = kwargs.get(BATCH)
        if batch is not None:
            logps = _response_logps(self, batch, kwargs["chunk_tokens"], kwargs["max_logit_bytes"])
            prompts = kwargs[VALUES]
            return logps if prompts is None else logps._replace(values=self.value_network(self, prompts))
        if instance_forward is not None:
            return instance_forward(*args, **kwargs)
        return type(self).forward(self, *args, **kwargs)

    core.forward = MethodType(forward, core)


def _response_logps(core: Any, batch: Mapping[str, Tensor], chunk_tokens: int, max_bytes: int) -> ResponseLogps:
    hidden, ids, positions, rows, count = _hidden_and_targets(core, batch)
    selected = hidden.reshape(-1, hidden.shape[-1]).index_select(0, positions)
    vocabulary: int = core.config.get_text_config().vocab_size
    path = _head_path(core, len(ids) * vocabulary * 4, max_bytes)
    if torch.is_grad_enabled():
        _log_path(core, path, len(ids), vocabulary)
    if torch.is_grad_enabled() and _is_plain(core):
        before, after = _scale(core)
        weight = core.get_output_embeddings().weight
        token_logps = linear_logps(selected, weight, ids, HeadSettings(before * after, chunk_tokens, path))
    else:
        token_logps = _through_modules(core, selected, ids, chunk_tokens, path)
    total = token_logps.new_zeros(count).index_add(0, rows, token_logps)
    return ResponseLogps(total, torch.bincount(rows, minlength=count))


def _through_modules(core: Any, hidden: Tensor, ids: Tensor, chunk_tokens: int, path: HeadPath) -> Tensor:
    """The result of `linear_logps` by calling the head's module, which also works with a bias or gathered weights."""
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


def _is_plain(core: Any) -> bool:
    """Whether the head is one product with a weight that this process can read."""
    project = core.get_output_embeddings()
    # A weight that is gathered only while its module runs is empty here (ZeRO-3), or the module has an accelerate hook.
    readable = type(project) is nn.Linear and project.weight.numel() > 0 and not hasattr(project, "_hf_hook")
    return readable and project.bias is None and not _softcap(core)


def _softcap(core: Any) -> float | None:
    """Bound on the logits, cap·tanh(logits/cap), that some families apply."""
    return getattr(core.config.get_text_config(), "final_logit_softcapping", None)


def _head_path(core: Any, logit_bytes: int, max_logit_bytes: int) -> HeadPath:
    if not torch.is_grad_enabled():
        return "kept"
    if _is_plain(core) and not core.get_output_embeddings().weight.requires_grad:
        return "frozen"
    return "recomputed" if logit_bytes > max_logit_bytes else "kept"


def _log_path(core: Any, path: HeadPath, tokens: int, vocabulary: int) -> None:
    if path not in _LOGGED_PATHS.setdefault(core, set()):
        _LOGGED_PATHS[core].add(path)
        size = tokens * vocabulary * 4 / 2**20
        reasons = {
            "kept": "logits are kept for the backward pass",
            "recomputed": "logits exceed max_logit_bytes, so they are computed again in the backward pass",
            "frozen": "the weight is frozen, so no logits are kept or computed again",
        }
        logger.info("head: %d tokens × %d (%.0f MiB of logits): %s", tokens, vocabulary, size, reasons[path])


def _hidden_and_targets(core: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
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
        return _decoder_states(core, batch), labels[rows, columns], positions, rows, len(labels)
    if "target_ids" in batch:
        use_packed_attention(core)
        rows = PackedRows(batch["blocks"].tolist(), batch["unpack"], batch["pack"])
        mask = no_mask(batch["input_ids"].device)
        states = _causal_states(core, batch["input_ids"], mask, batch["position_ids"], packed_rows=rows)
        targets = (batch["target_ids"], batch["target_positions"], batch["target_rows"])
        return states, *targets, int(batch["blocks"][:, 0].sum())
    labels = batch["labels"]
    if bool((labels[:, 0] != IGNORED).any()):
        raise ConfigError("labels include the first token of a row, which nothing predicts: a prompt must precede it.")
    rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
    mask = batch["attention_mask"]
    position_ids = (mask.cumsum(1) - 1).clamp(min=0)
    positions = rows * labels.shape[1] + columns - 1
    states = _causal_states(core, batch["input_ids"], mask, position_ids)
    return states, labels[rows, columns], positions, rows, len(labels)


def _causal_states(core: Any, ids: Tensor, mask: Tensor, position_ids: Tensor, **options: Any) -> Tensor:
    backbone = backbone_of(core)
    accepted = inspect.signature(backbone.forward).parameters
    options |= {k: v for k, v in {"position_ids": position_ids, "use_cache": False}.items() if k in accepted}
    return backbone(input_ids=ids, attention_mask=mask, **options).last_hidden_state


def _decoder_states(core: Any, batch: Mapping[str, Tensor]) -> Tensor:
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


def _scale(core: Any) -> tuple[float, float]:
    """Factors on the hidden states and on the logits that some families apply."""
    config = core.config.get_text_config()
    before = config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0  # T5 v1.0
    after = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
    return before, after


def _head(core: Any) -> Callable[[Tensor], Tensor]:
    """The function from hidden states to logits, including the scaling and capping of some families."""
    project = core.get_output_embeddings()
    before, after = _scale(core)
    cap = _softcap(core)

    def logits(hidden: Tensor) -> Tensor:
        out = project(hidden * before if before != 1.0 else hidden)
        out = out * after if after != 1.0 else out
        return torch.tanh(out / cap) * cap if cap else out

    return logits


def _probe(core: Any) -> None:
    """Raise ConfigError unless `_head` gives the model's own logits on three tokens."""
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
            f"{type(core).__name__} does more between hidden states and logits than valuefree supports, so its "
            "log-probabilities would be wrong. Please report the model's name."
        )


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
