"""Response log-probabilities of a model on a batch; all of the package computes them here.

`core` is a transformers model without wrappers, typed Any, since attributes differ between architectures.
"""

import functools
import logging
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from valuefree.errors import ConfigError
from valuefree.models.fused_logprobs import HeadPath, HeadSettings, linear_logps
from valuefree.models.hidden_states import causal_states, decoder_states, hidden_and_targets
from valuefree.models.modules import evaluating, is_encoder_decoder, unwrap_model
from valuefree.models.sampler import Sampler, ScoringSettings
from valuefree.models.token_columns import WIDTH
from valuefree.models.token_statistics import response_statistics, subsample, token_part

logger = logging.getLogger(__name__)

CHUNK_TOKENS = 512
MAX_LOGIT_BYTES = 2**30
# Per patched model: head code paths already logged.
_LOGGED_PATHS: "WeakKeyDictionary[nn.Module, set[str]]" = WeakKeyDictionary()


class ResponseLogps(NamedTuple):
    """Log-probabilities of R responses, and values of P prompts.

    total: log π(y|x) of each response in nats, at least float32, shape (R,). tokens: tokens of each response, int64,
    (R,). values: outputs of the model's value network, (P,); None without a `value_batch`. statistics: the columns of
    `valuefree.models.token_columns`, (R, W); None unless asked for.
    """

    total: Float[Tensor, " R"]
    tokens: Int[Tensor, " R"]
    values: Float[Tensor, " P"] | None = None
    statistics: Float[Tensor, "R W"] | None = None

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
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    statistics: bool = False,
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
        temperature, top_k, top_p: score the model sampled so, as `Sampler` describes. A response with a token that such
            a sampler never draws has log-probability −inf.
        statistics: also return what `valuefree.models.token_columns` lists; only without gradients and truncation.

    Returns:
        `ResponseLogps` with one value per row of ``labels``; in the packed and shared forms, one per response.

    Raises:
        ConfigError: an architecture whose logits are not its head applied to its last hidden state; a sampler outside
            its range; truncation or statistics with gradients, or both together.
    """
    settings = ScoringSettings(chunk_tokens, max_logit_bytes, Sampler(temperature, top_k, top_p), statistics).check()
    patch_forward(model)
    return model(**{BATCH: batch, VALUES: value_batch, SETTINGS: settings})


BATCH = "response_batch"  # keyword argument with which a patched forward returns log-probabilities
VALUES = "value_batch"  # keyword argument of the prompts for the value network
SETTINGS = "scoring_settings"  # keyword argument of the `ScoringSettings`


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
            logps = _response_logps(self, batch, kwargs[SETTINGS])
            prompts = kwargs[VALUES]
            return logps if prompts is None else logps._replace(values=self.value_network(self, prompts))
        if instance_forward is not None:
            return instance_forward(*args, **kwargs)
        return type(self).forward(self, *args, **kwargs)

    core.forward = MethodType(forward, core)


def _response_logps(core: Any, batch: Mapping[str, Tensor], settings: ScoringSettings) -> ResponseLogps:
    hidden, ids, positions, rows, count = hidden_and_targets(core, batch)
    selected = hidden.reshape(-1, hidden.shape[-1]).index_select(0, positions)
    vocabulary: int = core.config.get_text_config().vocab_size
    path = _head_path(core, len(ids) * vocabulary * 4, settings.max_logit_bytes)
    statistics = None
    if torch.is_grad_enabled():
        _log_path(core, path, len(ids), vocabulary)
    if torch.is_grad_enabled() and _is_plain(core):
        before, after = _scale(core)
        scale = before * after / settings.sampler.temperature
        weight = core.get_output_embeddings().weight
        token_logps = linear_logps(selected, weight, ids, HeadSettings(scale, settings.chunk_tokens, path))
    elif settings.statistics:
        token_logps, statistics = _with_statistics(core, selected, ids, rows, count, settings)
    else:
        token_logps = _through_modules(core, selected, ids, settings, path)
    total = token_logps.new_zeros(count).index_add(0, rows, token_logps)
    return ResponseLogps(total, torch.bincount(rows, minlength=count), statistics=statistics)


def _through_modules(core: Any, hidden: Tensor, ids: Tensor, settings: ScoringSettings, path: HeadPath) -> Tensor:
    """The result of `linear_logps` by calling the head's module, which also works with a bias or gathered weights."""
    head, sampler = _head(core, settings.sampler), settings.sampler
    parts = []
    for part, part_ids in zip(hidden.split(settings.chunk_tokens), ids.split(settings.chunk_tokens), strict=True):
        if path == "recomputed":
            parts.append(checkpoint(_chunk_logps, head, part, part_ids, sampler, use_reentrant=False))
        else:
            parts.append(_chunk_logps(head, part, part_ids, sampler))
    return torch.cat(parts)


def _chunk_logps(
    head: Callable[[Tensor], Tensor], hidden: Float[Tensor, "M d"], ids: Int[Tensor, " M"], sampler: Sampler
) -> Float[Tensor, " M"]:
    logits = head(hidden)
    return -F.cross_entropy(sampler.truncate(logits), ids, reduction="none")


def _with_statistics(
    core: Any, hidden: Tensor, ids: Tensor, rows: Tensor, count: int, settings: ScoringSettings
) -> tuple[Tensor, Tensor]:
    """Log-probability of each token, (N,), and the statistics of each response, (R, W)."""
    head, chosen, size = _head(core, settings.sampler), subsample(ids, rows), settings.chunk_tokens
    if not len(ids):
        return hidden.new_zeros(0, dtype=torch.float32), hidden.new_zeros(count, WIDTH, dtype=torch.float32)
    chunks = zip(hidden.split(size), ids.split(size), chosen.split(size), strict=True)
    parts = [token_part(head(part), part_ids, part_chosen) for part, part_ids, part_chosen in chunks]
    logps, full, sampled = (torch.cat(column) for column in zip(*parts, strict=True))
    return logps, response_statistics(full, sampled, chosen, rows, count)


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
        logger.debug("head: %d tokens × %d (%.0f MiB of logits): %s", tokens, vocabulary, size, reasons[path])


def _scale(core: Any) -> tuple[float, float]:
    """Factors on the hidden states and on the logits that some families apply."""
    config = core.config.get_text_config()
    before = config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0  # T5 v1.0
    after = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
    return before, after


def _head(core: Any, sampler: Sampler | None = None) -> Callable[[Tensor], Tensor]:
    """The function from hidden states to logits, including the scaling and capping of some families.

    With a sampler, logits are divided by its temperature and at least float32; as in `generate`, in this order.
    """
    project = core.get_output_embeddings()
    before, after = _scale(core)
    cap = _softcap(core)

    def logits(hidden: Tensor) -> Tensor:
        out = project(hidden * before if before != 1.0 else hidden)
        out = out * after if after != 1.0 else out
        out = torch.tanh(out / cap) * cap if cap else out
        if sampler is None:
            return out
        out = out.to(torch.promote_types(out.dtype, torch.float32))
        return out / sampler.temperature if sampler.temperature != 1.0 else out

    return logits


def _probe(core: Any) -> None:
    """Raise ConfigError unless `_head` gives the model's own logits on three tokens."""
    device = next(core.parameters()).device
    ids = torch.arange(1, 4, device=device)[None]
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    with evaluating(core):
        if is_encoder_decoder(core):
            own = core(input_ids=ids, attention_mask=batch["attention_mask"], labels=ids).logits
            ours = _head(core)(decoder_states(core, batch))
        else:
            own = core(input_ids=ids, attention_mask=batch["attention_mask"]).logits
            positions = torch.arange(3, device=device)[None]
            ours = _head(core)(causal_states(core, ids, batch["attention_mask"], positions))
    if own.shape != ours.shape or not torch.allclose(own.float(), ours.float(), rtol=1e-2, atol=1e-2, equal_nan=True):
        raise ConfigError(
            f"{type(core).__name__} does more between hidden states and logits than valuefree supports, so its "
            "log-probabilities would be wrong. Please report the model's name."
        )
