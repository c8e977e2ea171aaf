"""Memory-efficient log-probabilities of chosen tokens from hidden states and the weight of a linear head."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

HeadPath = Literal["kept", "recomputed", "frozen"]
CPU_CHUNK_BYTES = 32 * 2**20  # larger blocks are mapped anew, page by page, at every allocation by the C library


class HeadSettings(NamedTuple):
    """scale: factor on the logits. chunk_tokens: tokens per projection. path: how the backward pass gets its inputs."""

    scale: float
    chunk_tokens: int
    path: HeadPath


def linear_logps(hidden: Tensor, weight: Tensor, ids: Tensor, settings: HeadSettings) -> Tensor:
    r"""Log softmax(scale · W·h)[y] of each token, at least float32, shape (N,).

    With p the softmax, ∂ log p_y/∂h = scale·(W[y] − Σ_v p_v W[v]) and ∂ log p_y/∂W[v] = scale·([v = y] − p_v)·h. Both
    are linear in p − [v = y], so the upstream gradient scales the hidden states, never a [tokens × vocabulary] tensor.

    Args:
        hidden: (N, d). weight: (V, d). ids: (N,).
        settings: path ``frozen`` computes the gradient on `hidden` in the forward pass, for a weight without gradient;
            ``kept`` stores p − [v = y] of all tokens; ``recomputed`` stores nothing of that size and projects again in
            the backward pass.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    return _LinearLogps.apply(hidden, weight, ids, settings)


def _chunks(hidden: Tensor, weight: Tensor, chunk_tokens: int) -> Iterator[slice]:
    if hidden.device.type == "cpu":
        chunk_tokens = max(min(chunk_tokens, CPU_CHUNK_BYTES // (4 * len(weight))), 1)
    for start in range(0, len(hidden), chunk_tokens):
        yield slice(start, min(start + chunk_tokens, len(hidden)))


def _surplus(hidden: Tensor, weight: Tensor, ids: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities (n,) and the surplus p − [v = y], shape (n, V), both at least float32."""
    logits = hidden @ weight.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_probs = F.log_softmax(logits * scale if scale != 1.0 else logits, -1)
    logps = log_probs.gather(-1, ids[:, None]).squeeze(-1)
    surplus = log_probs.exp_()
    # Subtract before any cast to lower precision: if p_y is nearly 1, a cast first would round the difference to 0.
    surplus[torch.arange(len(ids), device=ids.device), ids] -= 1
    return logps, surplus


class _LinearLogps(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]  # torch declares forward(*args, **kwargs)
        ctx: Any, hidden: Tensor, weight: Tensor, ids: Tensor, settings: HeadSettings
    ) -> Tensor:
        logps, kept, hidden_gradient = [], None, None
        if settings.path == "kept":
            kept = hidden.new_empty(len(hidden), len(weight))
        elif settings.path == "frozen":
            hidden_gradient = torch.empty_like(hidden)
        for at in _chunks(hidden, weight, settings.chunk_tokens):
            part, surplus = _surplus(hidden[at], weight, ids[at], settings.scale)
            logps.append(part)
            if kept is not None:
                kept[at] = surplus
            elif hidden_gradient is not None:
                hidden_gradient[at] = surplus.to(weight.dtype) @ weight
        ctx.settings = settings
        if hidden_gradient is not None:
            ctx.save_for_backward(hidden_gradient)
        else:
            ctx.save_for_backward(hidden, weight, ids, *([kept] if kept is not None else []))
        return torch.cat(logps)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]  # the decorator is not typed
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        settings: HeadSettings = ctx.settings
        upstream = (-settings.scale * gradients[0])[:, None]
        if settings.path == "frozen":
            (hidden_gradient,) = ctx.saved_tensors
            return (upstream * hidden_gradient).to(hidden_gradient.dtype), None, None, None
        hidden, weight, ids, *kept = ctx.saved_tensors
        scaled = (upstream * hidden).to(hidden.dtype)
        if kept:
            return (upstream * (kept[0] @ weight)).to(hidden.dtype), kept[0].T @ scaled, None, None
        hidden_gradient, weight_gradient = torch.empty_like(hidden), torch.zeros_like(weight)
        for at in _chunks(hidden, weight, settings.chunk_tokens):
            surplus = _surplus(hidden[at], weight, ids[at], settings.scale)[1].to(weight.dtype)
            hidden_gradient[at] = upstream[at] * (surplus @ weight)
            weight_gradient.addmm_(surplus.T, scaled[at])
        return hidden_gradient, weight_gradient, None, None
