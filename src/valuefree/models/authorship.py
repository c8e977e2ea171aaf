"""Whether a model wrote the responses that it scored: a verdict from the statistics of the scoring pass. No torch.

If the model wrote a response, then at every position the expected surprise −log p(y) is the entropy of p, and the
expected number of top-1 hits is the largest probability of p. Sums of (surprise − entropy) and of (hit − largest
probability) over tokens are martingales, so their variances are the sums of the model's own variances.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from valuefree.models.token_columns import BETAS, MASSES, RANKS, TokenStatistics
from valuefree.models.token_sums import TokenSums, ratio_of

Verdict = Literal["on-policy", "temperature", "truncated", "other", "undecided"]
SAME = (0.9, 1.1)  # the interval of the temperature, relative to the sampler of the scores, that counts as the same
LEVEL = 0.01  # of the two tests of the null hypothesis together
AT_END = 1.001  # factor within which an estimate lies at the end of the range
FLAT = 0.1  # expected share of top-1 hits below which the verdict comes with a doubt
FEWEST = 10.0  # expected tokens beyond a bound from which the bound is looked at
FEW = 0.1  # share of the expected tokens beyond a bound that a truncated sampler may seem to draw: texts are tokenised
#            again, which may differ from the tokens that were drawn


@dataclass(frozen=True)
class Authorship:
    """Who wrote the responses, as far as their tokens tell.

    Attributes:
        verdict: ``on-policy``: consistent with samples of the model, drawn as it was scored. ``temperature``: with
            samples at another temperature. ``truncated``: with samples by top-k or top-p. ``other``: another model, a
            person, or edited text. ``undecided``: too few tokens.
        rows, tokens: how many were read. cut: rows whose end of sequence was left out; see `cut_rows` in
            ``token_sums.py``.
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
    def drawn_at(self) -> float | None:
        """Temperature at which the model drew the responses, if the verdict says so and the estimate is not a bound."""
        if self.verdict == "on-policy":
            return self.scored_at
        known = self.verdict == "temperature" and self.temperature > self.temperature_limits[0] * AT_END
        return self.temperature if known else None

    @property
    def temperature_limits(self) -> tuple[float, float]:
        """Lowest and highest temperature that are searched."""
        return self.scored_at / BETAS[-1], self.scored_at / BETAS[0]

    def sentence(self) -> str:
        """The verdict in plain English, with its numbers."""
        hits = f"top-1 hits {self.hits:.1%} (expected {self.hits_expected:.1%})"
        numbers = f"{self._temperature()}, {hits}, in {self.rows} responses"
        at = f"temperature {self.scored_at:g}"
        sentences = {
            "on-policy": f"The responses are consistent with samples of this model at {at}: {numbers}. "
            "'Consistent' means not told apart: differences that do not change how probable the tokens are cannot be "
            f"seen.{self._small()}",
            "temperature": f"The responses are consistent with samples of this model at another temperature than "
            f"{self.scored_at:g}: {numbers}.",
            "truncated": f"The responses look like samples of this model with {self.bound}: of the tokens looked at, "
            f"{self.beyond} are beyond this bound, and {self.beyond_expected:.0f} were expected. Without the bound: "
            f"{numbers}.",
            "other": f"This model did not write the responses as they are: {numbers}. They come from another model or "
            "a person, or were edited.",
            "undecided": f"It cannot be told whether this model wrote the responses: {numbers}, {self.tokens} "
            f"tokens. The interval would have to lie within {SAME[0] * self.scored_at:g} to "
            f"{SAME[1] * self.scored_at:g}.",
        }
        cut = (
            f" The lengths of {self.cut} responses pile up at a limit, so this test leaves out their last token, "
            "which ends the response."
        )
        return sentences[self.verdict] + self._flat() + (cut if self.cut else "")

    def short(self) -> str:
        """The verdict alone, in one sentence."""
        return self.sentence().split(": ")[0] + "." + self._flat()

    def _flat(self) -> str:
        """A doubt about the verdict on a model whose samples many texts resemble."""
        if self.verdict not in ("on-policy", "temperature", "truncated") or not self.hits_expected < FLAT:
            return ""
        return (
            f" This model gives its most likely token a probability of {self.hits_expected:.0%} on average, so texts "
            "of other authors can pass for its samples: rely on the verdict only if you know that it wrote them."
        )

    def _small(self) -> str:
        if not self.p < LEVEL:
            return ""
        return f" The tests see a difference (p = {self.p:.1g}), but it is too small to matter."

    def _temperature(self) -> str:
        coldest, hottest = self.temperature_limits
        if math.isnan(self.temperature):
            return "no estimate of the temperature"
        if self.temperature <= coldest * AT_END:
            return f"estimated temperature {coldest:.2f} or below"
        if self.temperature >= hottest / AT_END:
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
        read: dict[str, Any] = {n: math.nan if v is None and n != "bound" else v for n, v in known.items()}
        return cls(**read)


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
    sums = TokenSums.of(statistics, logps, tokens)
    beta, first, last = sums.inverse_temperature()
    hits_expected = sums.hits_expected(beta)
    tails = sums.tails(beta)
    keeps = (tails >= FEWEST) & (sums.beyond <= FEW * tails)
    shown = int(np.argmax(np.where(keeps, tails, 0) if keeps.any() else tails))
    bound = shown if keeps.any() else None
    interval = (temperature / last, temperature / first)
    hits_z = ratio_of(sums.hits - sums.top1, math.sqrt(sums.top1_variance))
    surprise_z = ratio_of(-sums.logp - sums.entropy, math.sqrt(sums.variance))
    return Authorship(
        verdict=_verdict(sums, (1 / last, 1 / first), bound, _is_foreign(sums, beta, tails)),
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
        hits=ratio_of(sums.hits, sums.tokens),
        hits_expected=hits_expected,
        largest_rank=sums.largest_rank,
        largest_mass=sums.largest_mass,
        bound=None if bound is None else _name(bound),
        beyond=int(sums.beyond[shown]),
        beyond_expected=float(tails[shown]),
    )


def _name(bound: int) -> str:
    return f"top-k {RANKS[bound]}" if bound < len(RANKS) else f"top-p {MASSES[bound - len(RANKS)]:g}"


def _is_foreign(sums: TokenSums, beta: float, tails: np.ndarray) -> bool:
    """Whether no temperature explains the tokens: hits or tails do not fit, or only the hottest would do."""
    return sums.wrong_hits(beta) or _heavy(sums.beyond, tails) or beta <= BETAS[0] * AT_END


def _heavy(beyond: np.ndarray, expected: np.ndarray) -> bool:
    """Whether improbable tokens are at least twice as frequent as expected, and not by chance."""
    return bool(np.any((beyond >= 2 * expected) & (beyond - expected >= FEWEST + 4 * np.sqrt(expected))))


def _verdict(sums: TokenSums, relative: tuple[float, float], bound: int | None, wrong: bool) -> Verdict:
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


def _two_sided(z: float) -> float:
    return 1.0 if math.isnan(z) else math.erfc(abs(z) / math.sqrt(2))
