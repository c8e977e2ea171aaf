"""Entropies, hits and tails of the distributions that predict tokens, at little more than the cost of scoring.

`valuefree.models.token_columns` names what is kept of each response.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from valuefree.models.token_columns import BETAS, EVERY, KEPT, MASSES, MAXIMA, RANKS, SLICES, WIDTH

CACHE_BYTES = 2**21  # logits that are handled at a time on a CPU, so that the passes over them read its cache
NEVER = -1e4  # log-probability in place of −inf, whose product with probability 0 would not be a number
_SAMPLED_WIDTH = WIDTH - SLICES["sampled"].start


class TokenPart(NamedTuple):
    """Statistics of N tokens in one pass over their logits.

    logps: log p(y), (N,). full: log p(y) and the five sums over all tokens in their order, (N, 6). sampled: the columns
    of the subsample, (n, S).
    """

    logps: Float[Tensor, " N"]
    full: Float[Tensor, "N 6"]
    sampled: Float[Tensor, "n S"]


def subsample(ids: Int[Tensor, " N"], rows: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """Which tokens are in the subsample: every `EVERY`-th of a response, but never its last.

    The first of them depends on the tokens of the response alone, so a score does not depend on its batch. `rows`: the
    response of each token; the tokens of a response stand together and in order.
    """
    if not len(ids):
        return torch.zeros_like(ids, dtype=torch.bool)
    place = torch.arange(len(ids), device=ids.device)
    last = last_tokens(rows)
    lengths = torch.bincount(rows)
    start = torch.zeros_like(lengths)
    start[rows[last]] = last + 1
    start -= lengths
    phase = torch.zeros_like(lengths).index_add(0, rows, ids)
    chosen = (place - start[rows] + phase[rows]) % EVERY == 0
    chosen[last] = False
    return chosen


def last_tokens(rows: Int[Tensor, " N"]) -> Int[Tensor, " R"]:
    """Index of the last token of each response, in the order in which the responses stand."""
    changes = rows[1:] != rows[:-1]
    return torch.cat([changes.nonzero().flatten(), rows.new_full((1,), len(rows) - 1)])


def token_part(logits: Float[Tensor, "N V"], ids: Int[Tensor, " N"], sampled: Bool[Tensor, " N"]) -> TokenPart:
    """Statistics of tokens from their logits, at least float32, which are not changed."""
    on_cpu = logits.device.type == "cpu"
    size = max(CACHE_BYTES // (4 * logits.shape[-1]), 1) if on_cpu else max(len(ids), 1)
    logps, full, chosen = [], [], [logits[:0]]
    for part, part_ids, part_sampled in zip(logits.split(size), ids.split(size), sampled.split(size), strict=True):
        log_probs = F.log_softmax(part, -1)
        logps.append(log_probs.gather(-1, part_ids[:, None]).squeeze(-1))
        full.append(_full(log_probs, logps[-1]))
        if part_sampled.any():
            chosen.append(log_probs[part_sampled])
    all_logps = torch.cat(logps)
    columns = _sampled(torch.cat(chosen).clamp_(min=NEVER), all_logps[sampled])
    return TokenPart(all_logps, torch.cat(full), columns)


def _full(log_probs: Float[Tensor, "N V"], logps: Float[Tensor, " N"]) -> Float[Tensor, "N 6"]:
    best = log_probs.amax(-1)
    mean, square = _moments(log_probs.exp(), log_probs)
    if not bool(square.isfinite().all()):  # some logits are −inf
        log_probs = log_probs.clamp(min=NEVER)
        mean, square = _moments(log_probs.exp(), log_probs)
    top1 = best.exp()
    hits = (logps >= best).to(logps)
    return torch.stack([logps, -mean, square - mean.square(), hits, top1, top1 * (1 - top1)], -1)


def _moments(weights: Float[Tensor, "N V"], values: Float[Tensor, "N V"]) -> tuple[Tensor, Tensor]:
    """Σ w·v and Σ w·v² of each row; `weights` are overwritten, so that a block stays in the cache."""
    mean = weights.mul_(values).sum(-1)
    return mean, weights.mul_(values).sum(-1)


def _sampled(log_probs: Float[Tensor, "n V"], logps: Float[Tensor, " n"]) -> Float[Tensor, "n S"]:
    kept = min(KEPT, log_probs.shape[-1])
    top = log_probs.topk(kept).values
    rank, mass = _rank_and_mass(log_probs, top, logps)
    limits, informative = _bounds(top)
    beyond = torch.cat([rank[:, None] > rank.new_tensor(RANKS), mass[:, None] >= mass.new_tensor(MASSES)], -1)
    means, variances, best, tails = [], [], [], []
    for beta in BETAS:
        weights = (log_probs * beta).exp_()
        total = weights.sum(-1)
        mean, square = _moments(weights, log_probs)
        means.append(mean / total)
        variances.append(square / total - means[-1].square())
        inside = (top * beta).exp().cumsum(-1) / total[:, None]
        best.append(inside[:, 0])
        tails.append((1 - inside.gather(-1, limits - 1)).clamp(min=0) * informative)
    columns = [torch.ones_like(logps)[:, None], *(torch.stack(part, -1) for part in (means, variances, best))]
    columns += [rank[:, None], mass[:, None], beyond * informative, torch.cat(tails, -1)]
    return torch.cat([column.to(log_probs) for column in columns], -1)


def _rank_and_mass(
    log_probs: Float[Tensor, "n V"], top: Float[Tensor, "n K"], logps: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """1 + number of more probable tokens, and their probability; the whole vocabulary is read where `top` ends."""
    above = top > logps[:, None]
    rank, mass = 1.0 + above.sum(-1), (top.exp() * above).sum(-1)
    rest = above.all(-1).nonzero().flatten()
    if len(rest):
        above = log_probs[rest] > logps[rest, None]
        rank[rest] = 1.0 + above.sum(-1)
        mass[rest] = (log_probs[rest].exp() * above).sum(-1)
    return rank, mass


def _bounds(top: Float[Tensor, "n K"]) -> tuple[Int[Tensor, "n B"], Bool[Tensor, "n B"]]:
    """How many tokens each of `RANKS` and `MASSES` keeps, at least 1, and whether `top` shows them."""
    kept = top.shape[-1]
    ranks = torch.tensor(RANKS, device=top.device).clamp(max=kept).expand(len(top), -1)
    reached = top.exp().cumsum(-1)[:, None] < top.new_tensor(MASSES)[:, None]  # (n, masses, K)
    masses = reached.sum(-1) + 1
    informative = torch.cat([torch.ones_like(ranks, dtype=torch.bool), masses <= kept], -1)
    return torch.cat([ranks, masses.clamp(max=kept)], -1), informative


def response_statistics(
    full: Float[Tensor, "N 6"],
    sampled: Float[Tensor, "n S"],
    chosen: Bool[Tensor, " N"],
    rows: Int[Tensor, " N"],
    count: int,
) -> Float[Tensor, "{count} W"]:
    """The columns of `token_columns` for `count` responses, from the parts of all of their tokens."""
    result = full.new_zeros(count, WIDTH)
    last = last_tokens(rows)
    result[:, : SLICES["last_logp"].start] = full.new_zeros(count, 5).index_add(0, rows, full[:, 1:])
    result[rows[last], SLICES["last_logp"].start : SLICES["sampled"].start] = full[last]
    first = SLICES["sampled"].start
    of = rows[chosen]
    result[:, first:] = full.new_zeros(count, _SAMPLED_WIDTH).index_add(0, of, sampled)
    for name in MAXIMA:
        column = sampled[:, SLICES[name].start - first]
        result[:, SLICES[name].start] = full.new_zeros(count).scatter_reduce(0, of, column, "amax")
    return result
