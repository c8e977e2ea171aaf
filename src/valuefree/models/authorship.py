"""Whether a model wrote the responses that it scored: a verdict from the statistics of the scoring pass. No torch.

If the model wrote a response, then at every position the expected surprise −log p(y) is the entropy of p, and the
expected number of top-1 hits is the largest probability of p. Sums of (surprise − entropy) and of (hit − largest
probability) over tokens are martingales, so their variances are the sums of the model's own variances.

With β = 1/T, the log-likelihood of a temperature has the derivative Σ (log p(y) − E_{p_β}[log p]), which falls in β,
and the information Σ Var_{p_β}[log p]. At β = 1 both are known of all tokens. Only the difference to β = 1 comes from
the subsample, scaled by the ratio of the variances at β = 1: to first order in β − 1 it is then that of all tokens.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from valuefree.models.token_columns import BETAS, MASSES, RANKS, TokenStatistics

Verdict = Literal["on-policy", "temperature", "truncated", "other", "undecided"]
SAME = (0.9, 1.1)  # the interval of the temperature, relative to the sampler of the scores, that counts as the same
HITS_EFFECT = 0.03  # share of top-1 hits by which another author differs at least
LEVEL = 0.01  # of the two tests of the null hypothesis together
FEWEST = 10.0  # expected tokens beyond a bound from which the bound is looked at
FEW = 0.1  # share of the expected tokens beyond a bound that a truncated sampler may seem to draw: texts are tokenised
#            again, which may differ from the tokens that were drawn
SHORTEST_LIMIT = 8  # tokens; shorter responses pile up without a limit, such as labels of one token
PILE = 0.05  # share of the rows of one length from which a limit on the length is assumed
_GRID = np.linspace(math.log(BETAS[0]), math.log(BETAS[-1]), 2001)  # log β
_KNOTS = np.log(BETAS)
_ONE = BETAS.index(1.0)


@dataclass(frozen=True)
class Authorship:
    """Who wrote the responses, as far as their tokens tell.

    Attributes:
        verdict: ``on-policy``: consistent with samples of the model, drawn as it was scored. ``temperature``: with
            samples at another temperature. ``truncated``: with samples by top-k or top-p. ``other``: another model, a
            person, or edited text. ``undecided``: too few tokens.
        rows, tokens: how many were read. cut: rows whose end of sequence was left out; see `cut_rows`.
        scored_at: temperature at which the responses were scored.
        surprise_z, hits_z: standardised sums of (surprise − entropy) and of (hit − largest probability).
        p: two-sided, of both tests together (Bonferroni).
        temperature, low, high: maximum-likelihood estimate and its 95 % interval; an estimate at the end of the range
            that is searched (``temperature_limits``) means that or beyond.
        hits, hits_expected: share of top-1 hits, and the share expected at the estimated temperature.
        largest_rank, largest_mass: of a token in the subsample: its rank, and the probability of more probable tokens.
        bound: a bound that the responses seem to keep, such as ``top-k 50``; None if there is none. Of several, the one
            beyond which the most tokens were expected.
        beyond, beyond_expected: tokens of the subsample beyond `bound` and their expected number at the estimated
            temperature; without a bound, beyond that for which the most were expected.
    """

    verdict: Verdict
    rows: int
    tokens: int
    cut: int
    scored_at: float
    surprise_z: float
    hits_z: float
    p: float
    temperature: float
    low: float
    high: float
    hits: float
    hits_expected: float
    largest_rank: int
    largest_mass: float
    bound: str | None
    beyond: int
    beyond_expected: float

    @property
    def on_policy(self) -> bool:
        """Whether the verdict is ``on-policy``."""
        return self.verdict == "on-policy"

    @property
    def temperature_limits(self) -> tuple[float, float]:
        """Lowest and highest temperature that are searched."""
        return self.scored_at / BETAS[-1], self.scored_at / BETAS[0]

    def sentence(self) -> str:
        """The verdict in plain English, with its numbers."""
        numbers = f"{self._temperature()}, top-1 hits {self.hits:.1%} (expected {self.hits_expected:.1%})"
        at = f"temperature {self.scored_at:g}"
        sentences = {
            "on-policy": f"The responses are consistent with samples of this model at {at}: {numbers}. "
            "'Consistent' means not told apart: differences that do not change how probable the tokens are cannot be "
            "seen.",
            "temperature": f"The responses are consistent with samples of this model at another temperature than "
            f"{self.scored_at:g}: {numbers}.",
            "truncated": f"The responses look like samples of this model with {self.bound}: of the tokens looked at, "
            f"{self.beyond} are beyond this bound, and {self.beyond_expected:.0f} were expected. Without the bound: "
            f"{numbers}.",
            "other": f"This model did not write the responses as they are: {numbers}. They come from another model or "
            "a person, or were edited.",
            "undecided": f"The responses are too few to tell whether this model wrote them: {numbers}, {self.tokens} "
            f"tokens. The interval would have to lie within {SAME[0] * self.scored_at:g} to "
            f"{SAME[1] * self.scored_at:g}.",
        }
        cut = f" The end of sequence of {self.cut} responses at the longest length was left out." if self.cut else ""
        return sentences[self.verdict] + cut

    def _temperature(self) -> str:
        coldest, hottest = self.temperature_limits
        if math.isnan(self.temperature):
            return "no estimate of the temperature"
        if self.temperature <= coldest * 1.001:
            return f"estimated temperature {coldest:.2f} or below"
        if self.temperature >= hottest / 1.001:
            return f"estimated temperature {hottest:.2f} or above"
        return f"estimated temperature {self.temperature:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def table(self) -> list[tuple[str, str]]:
        """Names and values for a printed table."""
        beyond = self.bound or "the widest bound"
        return [
            ("responses written by", self.verdict),
            ("temperature", f"{self.temperature:.3f} [{self.low:.3f}, {self.high:.3f}]"),
            ("surprise − entropy", f"z = {self.surprise_z:+.1f}"),
            ("top-1 hits", f"{self.hits:.1%}, expected {self.hits_expected:.1%}, z = {self.hits_z:+.1f}"),
            ("p of both tests", f"{self.p:.2g}"),
            (f"tokens beyond {beyond}", f"{self.beyond}, expected {self.beyond_expected:.1f}"),
            ("largest rank, mass above", f"{self.largest_rank}, {self.largest_mass:.3f}"),
        ]

    def to_dict(self) -> dict[str, Any]:
        """All fields, and the sentence, for a JSON file; None for a number that is not finite."""
        values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}
        return {**values, "sentence": self.sentence()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Authorship":
        """What `to_dict` was made of."""
        known = {field.name: values[field.name] for field in fields(cls)}
        return cls(**{name: math.nan if value is None and name != "bound" else value for name, value in known.items()})


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


def authorship(
    statistics: TokenStatistics,
    logps: Float[np.ndarray, " R"],
    tokens: Int[np.ndarray, " R"],
    *,
    temperature: float = 1.0,
) -> Authorship:
    """Test and estimate who wrote R responses.

    Args:
        statistics: of the scoring pass, R rows.
        logps: log-probability of each response in nats. tokens: tokens of each response.
        temperature: of the sampler of the scores, which did not truncate.

    Returns:
        The verdict by effect size: of the interval of the temperature, of the share of hits at the estimated
        temperature, and of the tokens beyond bounds; see `Authorship`.
    """
    sums = _Sums.of(statistics, logps, tokens)
    beta, first, last = sums.inverse_temperature()
    hits_expected = sums.hits_expected(beta)
    tails = sums.tails(beta)
    keeps = (tails >= FEWEST) & (sums.beyond <= FEW * tails)
    shown = int(np.argmax(np.where(keeps, tails, 0) if keeps.any() else tails))
    bound = shown if keeps.any() else None
    interval = (temperature / last, temperature / first)
    hits_z = _ratio(sums.hits - sums.top1, math.sqrt(sums.top1_variance))
    surprise_z = _ratio(-sums.logp - sums.entropy, math.sqrt(sums.variance))
    return Authorship(
        verdict=_verdict(sums, (1 / last, 1 / first), bound, sums.wrong_hits(beta) or _heavy(sums.beyond, tails)),
        rows=len(tokens),
        tokens=sums.tokens,
        cut=sums.cut,
        scored_at=temperature,
        surprise_z=surprise_z,
        hits_z=hits_z,
        p=min(1.0, 2 * min(_two_sided(surprise_z), _two_sided(hits_z))),
        temperature=temperature / beta,
        low=interval[0],
        high=interval[1],
        hits=_ratio(sums.hits, sums.tokens),
        hits_expected=hits_expected,
        largest_rank=sums.largest_rank,
        largest_mass=sums.largest_mass,
        bound=None if bound is None else _name(bound),
        beyond=int(sums.beyond[shown]),
        beyond_expected=float(tails[shown]),
    )


def _name(bound: int) -> str:
    return f"top-k {RANKS[bound]}" if bound < len(RANKS) else f"top-p {MASSES[bound - len(RANKS)]:g}"


def _heavy(beyond: np.ndarray, expected: np.ndarray) -> bool:
    """Whether improbable tokens are at least twice as frequent as expected, and not by chance."""
    return bool(np.any((beyond >= 2 * expected) & (beyond - expected >= FEWEST + 4 * np.sqrt(expected))))


def _verdict(sums: "_Sums", relative: tuple[float, float], bound: int | None, wrong: bool) -> Verdict:
    low, high = relative
    if not sums.variance > 0 or math.isnan(low):
        return "undecided"
    if bound is not None:
        return "truncated"
    if wrong:
        return "other"
    if SAME[0] <= low and high <= SAME[1]:
        return "on-policy"
    return "temperature" if high < SAME[0] or low > SAME[1] else "undecided"


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def _two_sided(z: float) -> float:
    return 1.0 if math.isnan(z) else math.erfc(abs(z) / math.sqrt(2))


@dataclass(frozen=True)
class _Sums:
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
    def of(cls, statistics: TokenStatistics, logps: np.ndarray, tokens: np.ndarray) -> "_Sums":
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
        ratio = _ratio(self.variance, self.variances[_ONE])
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
        share = _ratio(self.top1, self.tokens)
        if math.isnan(beta) or not self.sampled > 0:
            return share
        at = self.top1s / self.sampled
        return min(max(share + _at(at, beta) - float(at[_ONE]), 0.0), 1.0)

    def wrong_hits(self, beta: float) -> bool:
        """Whether the share of hits differs from that at β by more than `HITS_EFFECT`, and not by chance."""
        if math.isnan(beta) or not self.tokens:
            return False
        expected = self.hits_expected(beta)
        difference = self.hits / self.tokens - expected
        beyond_range = (beta > 0.999 * BETAS[-1] and difference > 0) or (beta < 1.001 * BETAS[0] and difference < 0)
        error = math.sqrt(max(expected * (1 - expected), 1e-12) / self.tokens)
        return abs(difference) > max(HITS_EFFECT, 2.6 * error) and not beyond_range

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
