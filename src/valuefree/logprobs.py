"""The only place that turns a model and a batch into response log-probabilities."""

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from valuefree.data.batching import IGNORED
from valuefree.errors import ConfigError
from valuefree.models import evaluating, is_encoder_decoder

CHUNK_TOKENS = 512
MAX_LOGIT_BYTES = 256 * 2**20
_PROBED: "WeakKeyDictionary[nn.Module, bool]" = WeakKeyDictionary()


class ResponseLogps(NamedTuple):
    """Per response: `total` log π(y|x) in nats, float32 at least, shape (R,); `tokens` counted in it, int64."""

    total: Tensor
    tokens: Tensor

    @property
    def mean(self) -> Tensor:
        """Log-probability per token, shape (R,)."""
        return self.total / self.tokens


def response_logps(
    model: nn.Module,
    batch: Mapping[str, Tensor],
    *,
    chunk_tokens: int = CHUNK_TOKENS,
    max_logit_bytes: int = MAX_LOGIT_BYTES,
) -> ResponseLogps:
    """Log-probability of each response, over its tokens alone, end of sequence included.

    The model's head runs on response positions only, `chunk_tokens` at a time, in at least float32 from the logits on,
    so no [tokens × vocabulary] log-softmax of the batch exists at once. With gradients, the logits of all chunks are
    kept for the backward pass while they take at most `max_logit_bytes`; above it each chunk is computed again there.

    Args:
        model: a transformers encoder-decoder or decoder-only language model, or a peft model around one.
        batch: ``input_ids``, ``attention_mask`` and ``labels`` (−100 where not a response token), padded on either
            side, or the shared-prompt form of `valuefree.data.batching.collate_shared`.
        chunk_tokens: response tokens per projection.
        max_logit_bytes: of float32 logits kept for the backward pass.

    Returns:
        `ResponseLogps` with one value per row of ``labels`` (per response in the shared form).

    Raises:
        ConfigError: an architecture whose logits are not its head applied to its last hidden state.
    """
    core = _core(model)
    _probe(core)
    hidden, ids, positions, rows, count = _hidden_and_targets(core, batch)
    selected = hidden.reshape(-1, hidden.shape[-1]).index_select(0, positions)
    head = _head(core)
    vocabulary: int = core.config.get_text_config().vocab_size  # type: ignore[union-attr, operator]
    again = torch.is_grad_enabled() and len(ids) * vocabulary * 4 > max_logit_bytes
    parts = []
    for part, part_ids in zip(selected.split(chunk_tokens), ids.split(chunk_tokens), strict=True):
        if again:
            parts.append(checkpoint(_chunk_logps, head, part, part_ids, use_reentrant=False))
        else:
            parts.append(_chunk_logps(head, part, part_ids))
    token_logps = torch.cat(parts)
    total = token_logps.new_zeros(count).index_add(0, rows, token_logps)
    return ResponseLogps(total, torch.bincount(rows, minlength=count))


def _chunk_logps(head: Callable[[Tensor], Tensor], hidden: Tensor, ids: Tensor) -> Tensor:
    logits = head(hidden)
    return -F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), ids, reduction="none")


def _core(model: nn.Module) -> nn.Module:
    """The transformers model within wrappers; an adapter stays in force, as its layers sit inside."""
    while isinstance(getattr(model, "module", None), nn.Module):
        model = model.module  # type: ignore[assignment]
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def _hidden_and_targets(core: nn.Module, batch: Mapping[str, Tensor]):
    """Last hidden states; and of each response token its id, the flat position that predicts it, and its response."""
    if is_encoder_decoder(core):
        labels = batch["labels"]
        rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
        positions = rows * labels.shape[1] + columns
        return _decoder_states(core, batch), labels[rows, columns], positions, rows, len(labels)
    if "target_ids" in batch:
        count = int(batch["target_rows"].max()) + 1
        targets = (batch["target_ids"], batch["target_positions"], batch["target_rows"], count)
        return _causal_states(core, batch, batch["position_ids"]), *targets
    labels = batch["labels"]
    if bool((labels[:, 0] != IGNORED).any()):
        raise ConfigError("labels count the first token of a row, which nothing predicts: a prompt must precede it.")
    rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
    mask = batch["attention_mask"]
    position_ids = (mask.cumsum(1) - 1).clamp(min=0)
    positions = rows * labels.shape[1] + columns - 1
    return _causal_states(core, batch, position_ids), labels[rows, columns], positions, rows, len(labels)


def _causal_states(core: nn.Module, batch: Mapping[str, Tensor], position_ids: Tensor) -> Tensor:
    backbone = getattr(core, core.base_model_prefix)  # type: ignore[arg-type]
    mask = batch["attention_mask"]
    if mask.ndim == 4 and core.config._attn_implementation != "sdpa":  # type: ignore[union-attr]
        dtype = next(core.parameters()).dtype
        mask = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
    named = {"input_ids": batch["input_ids"], "attention_mask": mask}
    accepted = inspect.signature(backbone.forward).parameters
    named |= {k: v for k, v in {"position_ids": position_ids, "use_cache": False}.items() if k in accepted}
    return backbone(**named).last_hidden_state


def _decoder_states(core: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
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


def _head(core: nn.Module) -> Callable[[Tensor], Tensor]:
    """From hidden states to logits, with what some families do around the projection."""
    config = core.config.get_text_config()  # type: ignore[union-attr]
    project = core.get_output_embeddings()  # type: ignore[operator]
    before = config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0  # T5 v1.0
    after = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)

    def logits(hidden: Tensor) -> Tensor:
        out = project(hidden * before if before != 1.0 else hidden)
        out = out * after if after != 1.0 else out
        return torch.tanh(out / cap) * cap if cap else out

    return logits


def _probe(core: nn.Module) -> None:
    """Once per model: on three tokens, our way to the logits and the model's own must agree."""
    if core in _PROBED:
        return
    device = next(core.parameters()).device
    ids = torch.arange(1, 4, device=device)[None]
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    with evaluating(core):
        if is_encoder_decoder(core):
            own = core(input_ids=ids, attention_mask=batch["attention_mask"], labels=ids).logits
            ours = _head(core)(_decoder_states(core, batch))
        else:
            own = core(input_ids=ids, attention_mask=batch["attention_mask"]).logits
            ours = _head(core)(_causal_states(core, batch, torch.arange(3, device=device)[None]))
    if own.shape != ours.shape or not torch.allclose(own.float(), ours.float(), rtol=1e-2, atol=1e-2, equal_nan=True):
        raise ConfigError(
            f"{type(core).__name__} does more between hidden states and logits than valuefree knows, so its "
            "log-probabilities would be wrong. Please report the model's name."
        )
    _PROBED[core] = True


def shares_prompts(model: nn.Module) -> bool:
    """Whether the shared-prompt form of a batch is exact for `model`: every layer attends fully, through a mask."""
    core = _core(model)
    if is_encoder_decoder(core):
        return True
    config = core.config.get_text_config()  # type: ignore[union-attr]
    full = all(kind == "full_attention" for kind in getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) if not getattr(config, "layer_types", None) else None
    takes = inspect.signature(getattr(core, core.base_model_prefix).forward).parameters  # type: ignore[arg-type]
    positions = "position_ids" in takes and config.model_type in POSITION_RESTARTS
    return full and window is None and positions and config._attn_implementation in ("sdpa", "eager")


# Families whose positions come from position_ids alone; a test compares each with unshared rows.
POSITION_RESTARTS = frozenset(
    {"llama", "mistral", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox", "phi", "olmo2", "smollm3"}
)
