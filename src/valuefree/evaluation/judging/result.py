"""The result of judging: win rate, its interval and bounds, diagnostics of the judge, and missing verdicts."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from valuefree import __version__
from valuefree.data.validation import prompt_key, prompt_text
from valuefree.errors import DataError, number_of
from valuefree.evaluation.judging.asking import Asked
from valuefree.evaluation.judging.outcomes import NO_ANSWER, Comparison, Opinion, count_categories
from valuefree.evaluation.stats import (
    Agreement,
    Estimate,
    LengthControlled,
    WinTieLoss,
    clustered_mean,
    cohen_kappa,
    length_controlled_win_rate,
    preferred,
    win_tie_loss,
)

PARSER = "v2"  # of texts and probabilities; raise it when some text is read differently


@dataclass(frozen=True)
class Setup:
    """The judge and the protocol behind the verdicts.

    Attributes:
        judge, revision: identify the judge. prompt: name and hash; None for a reward function.
        guarded: whether delimiters separate the answers from the question. labels: the words that are verdicts.
        orders: 2, or 1 with random placement by `seed`. read: auto, probabilities or text.
        cut: number of texts truncated to max_characters.
        served: names of the model that the server reported in the answers that were used.
    """

    judge: str
    revision: str
    prompt: str | None
    guarded: bool
    orders: int
    read: str
    temperature: float = 0.0
    seed: int = 0
    max_characters: int | None = None
    cut: int = 0
    served: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgeResult:
    """Verdicts on the answers of two systems to the same prompts. Rates are those of the first system, `names[0]`."""

    names: tuple[str, str]
    comparisons: Sequence[Comparison]
    setup: Setup
    asked: Asked = field(default_factory=Asked)

    # ------------------------------------------------------------------------------------------------------- rates

    @cached_property
    def judged(self) -> list[Comparison]:
        """Pairs with a verdict in every order."""
        return [comparison for comparison in self.comparisons if comparison.score is not None]

    @property
    def coverage(self) -> float:
        """Share of the pairs that are judged."""
        return len(self.judged) / len(self.comparisons)

    def win_rate(self) -> Estimate | None:
        """Mean over prompts of the order-averaged score, bootstrap over prompts; None if nothing is judged."""
        return self._mean(lambda comparison: comparison.score)

    def preferred_rate(self) -> Estimate | None:
        """The paper's percentage, as a share: verdicts that prefer the first system; neutral ones do not."""
        return self._mean(lambda comparison: float(np.mean([o.result == "win" for o in comparison.opinions])))

    def expected_win_rate(self) -> Estimate | None:
        """As `win_rate`, from probabilities instead of verdicts; None unless all judged pairs have them."""
        asked = [pair for pair in self.judged if pair.decided is None]
        if not asked or any(opinion.expected_score is None for pair in asked for opinion in pair.opinions):
            return None

        def score(pair: Comparison) -> float | None:
            if pair.decided is not None:
                return pair.score
            return float(np.mean([opinion.expected_score or 0.0 for opinion in pair.opinions]))

        return self._mean(score)

    def bounds(self) -> tuple[float, float]:
        """The win rate if all unjudged pairs were lost, and if all of them were won."""
        low, high = (
            clustered_mean([c.score if c.score is not None else end for c in self.comparisons], self._keys(), seed=0)
            for end in (0.0, 1.0)
        )
        return low.value, high.value

    def outcomes(self) -> WinTieLoss:
        """Prompts won, tied and lost by their mean score, with the exact sign test."""
        scores: dict[str, list[float]] = {}
        for comparison in self.judged:
            scores.setdefault(prompt_key(comparison.prompt), []).append(comparison.score or 0.0)
        return win_tie_loss([float(np.mean(values)) - 0.5 for values in scores.values()])

    def _mean(self, value: Callable[[Comparison], float | None], over: Sequence[Comparison] | None = None):
        chosen = self.judged if over is None else over
        if not chosen:
            return None
        values = [value(pair) for pair in chosen]
        return self._share(values, self._keys(chosen))  # type: ignore[arg-type]  # judged pairs have a value

    def _share(self, values: Sequence[float], keys: Sequence[str]) -> Estimate:
        return clustered_mean(values, keys, bounds=(0.0, 1.0), seed=self.setup.seed)

    def _keys(self, over: Sequence[Comparison] | None = None) -> list[str]:
        return [prompt_key(comparison.prompt) for comparison in (self.comparisons if over is None else over)]

    # ------------------------------------------------------------------------------------------------- diagnostics

    @cached_property
    def _opinions(self) -> list[tuple[Comparison, Opinion]]:
        """Opinions that a judge was asked for."""
        asked = ("probabilities", "text")
        return [(pair, opinion) for pair in self.comparisons for opinion in pair.opinions if opinion.source in asked]

    def first_position_rate(self) -> Estimate | None:
        """Share of the verdicts for an answer that pick the one shown first; ½ for a judge without position bias."""
        picked = [(pair, o) for pair, o in self._opinions if o.verdict in ("first", "second")]
        if not picked:
            return None
        return self._share([float(o.verdict == "first") for _, o in picked], self._keys([pair for pair, _ in picked]))

    def flip_rate(self) -> Estimate | None:
        """Share of the pairs whose winner changes with the order, of those judged in both orders."""
        return self._mean(lambda pair: float(pair.category == "disagreement"), self._in_both_orders())

    def _in_both_orders(self) -> list[Comparison]:
        return [pair for pair in self.judged if pair.decided is None and len(pair.opinions) == 2]

    def length_controlled(self) -> LengthControlled | None:
        """The win rate at equal length, and how the score depends on length; None if nothing is judged."""
        if not self.judged:
            return None
        differences = [float(pair.lengths[0] - pair.lengths[1]) for pair in self.judged]
        scores = [float(pair.score) for pair in self.judged if pair.score is not None]
        return length_controlled_win_rate(scores, differences, self._keys(self.judged), seed=self.setup.seed)

    def agreement(self, other: "JudgeResult") -> Agreement:
        """Cohen's κ of two judges over win, loss and neutral by score; pairs that either left unjudged are excluded.

        Raises:
            DataError: the results are not about the same pairs, in the same order.
        """
        mine, theirs = ([prompt_text(c.prompt) for c in result.comparisons] for result in (self, other))
        if mine != theirs:
            raise DataError("two results can only be compared on the same prompts in the same order.")
        first, second = ([overall(c.score) for c in result.comparisons] for result in (self, other))
        return cohen_kappa(first, second, clusters=self._keys(), seed=self.setup.seed)

    def unread(self) -> Counter[str]:
        """Why verdicts are missing: unreadable answers, and calls that failed or were not made."""
        return Counter(opinion.reason or "" for _, opinion in self._opinions if opinion.verdict is None)

    def fallbacks(self) -> Counter[str]:
        """Why texts were read instead of probabilities."""
        return Counter(opinion.fallback for _, opinion in self._opinions if opinion.fallback is not None)

    # ------------------------------------------------------------------------------------------------------- text

    @property
    def signature(self) -> str:
        """Two win rates are comparable if their signatures differ only in n, cov and the systems."""
        setup = self.setup
        orders = str(setup.orders) if setup.orders == 2 else f"{setup.orders}-random"
        parts = {
            "judge": f"{setup.judge}@{setup.revision}",
            "prompt": setup.prompt or "none",
            "orders": orders if setup.prompt else "none",
            "ties": ".5",
            "read": f"{setup.read}-{PARSER}",
            "temp": f"{setup.temperature:g}",
            "cut": str(setup.max_characters or "no"),
            "n": str(len(self.comparisons)),
            "cov": f"{self.coverage:.3f}",
            "seed": str(setup.seed),
            "ver": __version__,
        }
        return "|".join(f"{name}:{value}" for name, value in parts.items())

    def report(self) -> str:
        """A few sentences: the rate with its interval, missing verdicts, and reasons for doubt."""
        rate = self.win_rate()
        first, second = self.names
        if rate is None:
            none = f"None of {number_of(len(self.comparisons), 'pair')} is judged: no win rate."
            return "\n".join([none, *self._unreadable(), self.signature])
        conclusion = _conclusion(rate, self.outcomes(), first, second)
        lines = [f"{first} against {second}: win rate {rate}, {conclusion}"]
        if self.coverage < 1:
            low, high = self.bounds()
            lines.append(
                f"{len(self.comparisons) - len(self.judged)} of {len(self.comparisons)} pairs are unjudged: depending "
                f"on them the rate over all pairs is between {low:.3f} and {high:.3f}."
            )
        lines += self._unreadable()
        both = self._in_both_orders()
        if flips := sum(pair.category == "disagreement" for pair in both):
            lines.append(
                f"The winner changes with the order in {flips} of {number_of(len(both), 'pair')} judged in both."
            )
        if self.setup.orders == 1 and self.setup.prompt:
            lines.append("One order only, placed at random: position bias is averaged out, but cannot be measured.")
        if len(self.setup.served) > 1:
            lines.append(f"The server answered as several models: {', '.join(self.setup.served)}.")
        if self.setup.prompt and not self.setup.guarded:
            lines.append("The prompt has no delimiters: an answer can contain instructions to the judge.")
        return "\n".join([*lines, self.signature])

    def _unreadable(self) -> list[str]:
        """A warning if most answers hold no verdict, which points to the prompt or the judge."""
        answers = [opinion for _, opinion in self._opinions if opinion.reason != NO_ANSWER]
        silent = [opinion for opinion in answers if opinion.verdict is None]
        if 2 * len(silent) <= len(answers):
            return []
        (reason, _), *_ = Counter(opinion.reason for opinion in silent).most_common(1)
        return [
            f"{len(silent)} of {number_of(len(answers), 'answer')} cannot be read, most often because {reason}; their "
            f"texts are in the cache. Verdicts are read as {', '.join(self.setup.labels)} (--labels names other words "
            "of a prompt file); a judge that reasons first needs more tokens (--max-new-tokens)."
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything except the single verdicts, for judge.json."""
        controlled = self.length_controlled()
        return {
            "systems": list(self.names),
            "signature": self.signature,
            "setup": asdict(self.setup),
            "pairs": len(self.comparisons),
            "coverage": self.coverage,
            "win_rate": _plain(self.win_rate()),
            "bounds": list(self.bounds()),
            "preferred_rate": _plain(self.preferred_rate()),
            "expected_win_rate": _plain(self.expected_win_rate()),
            "length_controlled": controlled.to_dict() if controlled else None,
            "categories": count_categories(self.comparisons),
            "prompts": self.outcomes().to_dict(),
            "first_position_rate": _plain(self.first_position_rate()),
            "flip_rate": _plain(self.flip_rate()),
            "decided": dict(Counter(pair.decided for pair in self.comparisons if pair.decided)),
            "sources": dict(Counter(opinion.source for pair in self.comparisons for opinion in pair.opinions)),
            "fallbacks": dict(self.fallbacks()),
            "unread": dict(self.unread()),
            "asked": asdict(self.asked),
        }


def overall(score: float | None) -> str | None:
    """One word for a score: win above ½, loss below ½, neutral at ½; None for None."""
    if score is None:
        return None
    return "neutral" if score == 0.5 else "win" if score > 0.5 else "loss"


def _conclusion(rate: Estimate, outcomes: WinTieLoss, first: str, second: str) -> str:
    if rate.interval is None:
        return "on one prompt: no interval, no conclusion."
    low, high = rate.interval
    shown = f"95 % interval over {rate.n} prompts, won / tied / lost {outcomes}"
    if preferred(rate, outcomes.p_value) is None:
        doubt = "the interval holds ½" if low <= 0.5 <= high else "p is not below .05"
        return f"{shown}; {doubt}: no preference is shown."
    return f"{shown}: this judge prefers {first if low > 0.5 else second}."


def _plain(estimate: Estimate | None) -> dict[str, Any] | None:
    return estimate.to_dict() if estimate is not None else None
