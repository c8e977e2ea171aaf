"""From hidden states to log-probabilities of chosen tokens through a linear head, with little memory in between."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

HeadPath = Literal["kept", "recomputed", "frozen"]
CPU_CHUNK_BYTES = 32 * 2**20  # larger blocks the C library takes from the system anew each time, page by page


class HeadSettings(NamedTuple):
    """scale: factor on the logits. chunk_tokens: tokens per projection. path: what is kept for the backward pass."""

    scale: float
    chunk_tokens: int
    path: HeadPath


def linear_logps(hidden: Tensor, weight: Tensor, ids: Tensor, settings: HeadSettings) -> Tensor:
    r"""Log softmax(scale · W·h)[y] of each token, in float32 at least, shape (N,).

    With p the softmax, ∂ log p_y/∂h = scale·(W[y] − Σ_v p_v W[v]) and ∂ log p_y/∂W[v] = scale·([v = y] − p_v)·h. Both
    are linear in p − [v = y], so what comes from above multiplies the hidden states, never a [tokens × vocabulary].

    Args:
        hidden: (N, d). weight: (V, d). ids: (N,).
        settings: ``frozen`` forms the gradient on `hidden` at once, for a weight that takes none; ``kept`` keeps
            p − [v = y] of all tokens; ``recomputed`` nothing of that size, and projects again in the backward pass.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        kind = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(kind), weight.to(kind)
    return _LinearLogps.apply(hidden, weight, ids, settings)


def _chunks(hidden: Tensor, weight: Tensor, chunk_tokens: int) -> Iterator[slice]:
    if hidden.device.type == "cpu":
        chunk_tokens = max(min(chunk_tokens, CPU_CHUNK_BYTES // (4 * len(weight))), 1)
    for start in range(0, len(hidden), chunk_tokens):
        yield slice(start, min(start + chunk_tokens, len(hidden)))


def _surplus(hidden: Tensor, weight: Tensor, ids: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities (n,) and p − [v = y], shape (n, V), both in float32 at least."""
    logits = hidden @ weight.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_probs = F.log_softmax(logits * scale if scale != 1.0 else logits, -1)
    logps = log_probs.gather(-1, ids[:, None]).squeeze(-1)
    surplus = log_probs.exp_()
    # In full precision, before any cast: where p_y is nearly 1 the difference is all that counts.
    surplus[torch.arange(len(ids), device=ids.device), ids] -= 1
    return logps, surplus


class _LinearLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, ids: Tensor, settings: HeadSettings) -> Tensor:  # type: ignore[override]
        logps, kept, slopes = [], None, None
        if settings.path == "kept":
            kept = hidden.new_empty(len(hidden), len(weight))
        elif settings.path == "frozen":
            slopes = torch.empty_like(hidden)
        for at in _chunks(hidden, weight, settings.chunk_tokens):
            part, surplus = _surplus(hidden[at], weight, ids[at], settings.scale)
            logps.append(part)
            if kept is not None:
                kept[at] = surplus
            elif slopes is not None:
                slopes[at] = surplus.to(weight.dtype) @ weight
        ctx.settings = settings
        if slopes is not None:
            ctx.save_for_backward(slopes)
        else:
            ctx.save_for_backward(hidden, weight, ids, *([kept] if kept is not None else []))
        return torch.cat(logps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # type: ignore[override]
        settings: HeadSettings = ctx.settings
        from_above = (-settings.scale * gradients[0])[:, None]
        if settings.path == "frozen":
            (slopes,) = ctx.saved_tensors
            return (from_above * slopes).to(slopes.dtype), None, None, None
        hidden, weight, ids, *kept = ctx.saved_tensors
        weighted = (from_above * hidden).to(hidden.dtype)
        if kept:
            return (from_above * (kept[0] @ weight)).to(hidden.dtype), kept[0].T @ weighted, None, None
        of_hidden, of_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        for at in _chunks(hidden, weight, settings.chunk_tokens):
            surplus = _surplus(hidden[at], weight, ids[at], settings.scale)[1].to(weight.dtype)
            of_hidden[at] = from_above[at] * (surplus @ weight)
            of_weight.addmm_(surplus.T, weighted[at])
        return of_hidden, of_weight, None, None
