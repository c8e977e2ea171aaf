"""Sums of the scoring pass over all rows, and the temperature that explains them. No torch.

With β = 1/T, the log-likelihood of a temperature has the derivative Σ (log p(y) − E_{p_β}[log p]), which falls in β,
and the information Σ Var_{p_β}[log p]. At β = 1 both are known of all tokens. Only the difference to β = 1 comes from
the subsample, scaled by the ratio of the variances at β = 1: to first order in β − 1 it is then that of all tokens.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from valuefree.models.token_columns import BETAS, TokenStatistics

HITS_EFFECT = 0.03  # share of top-1 hits by which another author differs at least,
HITS_RATIO = 0.25  # or this part of the expected share, where few tokens are hits
SHORTEST_LIMIT = 8  # tokens; shorter responses pile up without a limit, such as labels of one token
PILE = 0.05  # share of the rows of one length from which a limit on the length is assumed
_GRID = np.linspace(math.log(BETAS[0]), math.log(BETAS[-1]), 2001)  # log β
_KNOTS = np.log(BETAS)
_ONE = BETAS.index(1.0)


def cut_rows(tokens: Int[np.ndarray, " R"]) -> Bool[np.ndarray, " R"]:
    """Responses that seem cut at a limit on new tokens, whose end of sequence was then not sampled.

    Lengths of samples pile up at such a limit, and only there. The rule: let L be the most frequent length among the
    longest half. If L is at least `SHORTEST_LIMIT` and at least `PILE` of the rows, and at least 5, have L tokens, 3
    times as many as the mean count of the five lengths below L, then all rows with L tokens or more are cut.
    """
    counts = np.bincount(tokens)
    start = int(np.median(tokens)) if len(tokens) else 0
    if len(counts) <= start:
        return np.zeros(len(tokens), dtype=bool)
    limit = start + int(np.argmax(counts[start:]))
    below = counts[max(limit - 5, 0) : limit]
    piled = counts[limit] >= max(PILE * len(tokens), 5, 3 * (below.mean() if len(below) else 0))
    return (tokens >= limit) & bool(piled and limit >= SHORTEST_LIMIT)


def ratio_of(numerator: float, denominator: float) -> float:
    """Their ratio, NaN unless the denominator is positive."""
    return numerator / denominator if denominator > 0 else math.nan


@dataclass(frozen=True)
class TokenSums:
    """Sums over all rows; those over all tokens without the ends of sequences that were not sampled."""

    tokens: int
    cut: int
    logp: float
    entropy: float
    variance: float
    hits: float
    top1: float
    top1_variance: float
    sampled: float
    means: np.ndarray
    variances: np.ndarray
    top1s: np.ndarray
    beyond: np.ndarray
    tails_at: np.ndarray
    largest_rank: int
    largest_mass: float

    @classmethod
    def of(cls, statistics: TokenStatistics, logps: np.ndarray, tokens: np.ndarray) -> "TokenSums":
        """Of R responses; logps, tokens: (R,)."""
        cut = cut_rows(tokens)

        def kept(name: str) -> float:
            return float(statistics[name].sum() - statistics[f"last_{name}"][cut].sum())

        return cls(
            tokens=int(tokens.sum() - cut.sum()),
            cut=int(cut.sum()),
            logp=float(logps.sum() - statistics["last_logp"][cut].sum()),
            **{name: kept(name) for name in ("entropy", "variance", "hits", "top1", "top1_variance")},
            **{name: statistics[name].sum(0) for name in ("sampled", "means", "variances", "top1s", "beyond")},
            tails_at=statistics["tails"].sum(0),
            largest_rank=int(statistics["largest_rank"].max(initial=0)),
            largest_mass=float(statistics["largest_mass"].max(initial=0)),
        )

    def inverse_temperature(self) -> tuple[float, float, float]:
        """β̂ and its 95 % interval, by inverting the score test; at the ends of the grid where it does not end before.

        Without a subsample the expectation is taken as linear in β.
        """
        if not self.variance > 0:
            return math.nan, math.nan, math.nan
        ratio = ratio_of(self.variance, self.variances[_ONE])
        if math.isnan(ratio):
            expected, information = (np.exp(_GRID) - 1) * self.variance, np.full(len(_GRID), self.variance)
        else:
            slopes = self.variances * np.array(BETAS)
            expected = ratio * (_hermite(self.means, slopes) - self.means[_ONE])
            information = ratio * np.interp(_GRID, _KNOTS, self.variances)
        z = (self.logp + self.entropy - expected) / np.sqrt(np.maximum(information, 1e-12))
        falling = np.minimum.accumulate(z)
        estimate, first, last = np.exp(np.interp([0.0, -1.96, 1.96], -falling, _GRID))
        return float(estimate), float(first), float(last)

    def hits_expected(self, beta: float) -> float:
        """Share of hits at β: that at β = 1 of all tokens, and the difference to it from the subsample."""
        share = ratio_of(self.top1, self.tokens)
        if math.isnan(beta) or not self.sampled > 0:
            return share
        at = self.top1s / self.sampled
        return min(max(share + _at(at, beta) - float(at[_ONE]), 0.0), 1.0)

    def wrong_hits(self, beta: float) -> bool:
        """Whether the share of hits differs from that at β by more than the effect that matters, and not by chance."""
        if math.isnan(beta) or not self.tokens:
            return False
        expected = self.hits_expected(beta)
        difference = self.hits / self.tokens - expected
        beyond_range = (beta > 0.999 * BETAS[-1] and difference > 0) or (beta < 1.001 * BETAS[0] and difference < 0)
        error = math.sqrt(max(expected * (1 - expected), 1e-12) / self.tokens)
        return abs(difference) > max(min(HITS_EFFECT, HITS_RATIO * expected), 2.6 * error) and not beyond_range

    def tails(self, beta: float) -> np.ndarray:
        """Expected tokens of the subsample beyond each bound at β, (B,)."""
        if math.isnan(beta):
            return np.zeros(self.tails_at.shape[1])
        return np.array([max(_at(column, beta), 0.0) for column in self.tails_at.T])


def _at(values: np.ndarray, beta: float) -> float:
    """A smooth function of log β, given at `BETAS`, at another β."""
    return float(np.interp(math.log(beta), _GRID, _hermite(values, np.gradient(values, _KNOTS))))


def _hermite(values: Float[np.ndarray, " K"], slopes: Float[np.ndarray, " K"]) -> Float[np.ndarray, " G"]:
    """Cubic through values and slopes in log β at `BETAS`, on the grid."""
    piece = np.clip(np.searchsorted(_KNOTS, _GRID, side="right") - 1, 0, len(_KNOTS) - 2)
    width = np.diff(_KNOTS)[piece]
    t = (_GRID - _KNOTS[piece]) / width
    left = (1 + 2 * t) * (1 - t) ** 2 * values[piece] + t * (1 - t) ** 2 * width * slopes[piece]
    return left + t**2 * (3 - 2 * t) * values[piece + 1] + t**2 * (t - 1) * width * slopes[piece + 1]
