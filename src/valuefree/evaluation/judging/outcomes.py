"""From the verdicts of two orders to one outcome per pair of answers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from valuefree.data.prompts import Prompt
from valuefree.evaluation.judging.label_probabilities import LabelProbabilities
from valuefree.evaluation.judging.labels import Verdict

Result = Literal["win", "loss", "neutral"]
Category = Literal["win", "loss", "neutral", "disagreement", "half win", "half loss", "unjudged"]
CATEGORIES: tuple[Category, ...] = ("win", "loss", "neutral", "disagreement", "half win", "half loss", "unjudged")
SCORES: dict[str, float] = {"win": 1.0, "neutral": 0.5, "loss": 0.0}
Order = Literal["ab", "ba"]
NO_ANSWER = "the judge gave no answer"  # the reason if a call failed or was not made


@dataclass(frozen=True)
class Opinion:
    """The verdict of a judge on one pair in one order.

    Attributes:
        order: ``ab`` if the first system's answer was shown first.
        verdict: by position; None if there is none, and then `reason` says why.
        source: ``probabilities``, ``text``, ``reward``, or ``decided`` for pairs that need no judge.
        fallback: why the text was read although probabilities were requested.
    """

    order: Order
    verdict: Verdict | None
    source: Literal["probabilities", "text", "reward", "decided"]
    reason: str | None = None
    fallback: str | None = None
    probabilities: LabelProbabilities | None = None

    @property
    def result(self) -> Result | None:
        """For the first system: win, loss, neutral, or None if unjudged."""
        if self.verdict is None or self.verdict == "neutral":
            return self.verdict
        return "win" if (self.verdict == "first") == (self.order == "ab") else "loss"

    @property
    def expected_score(self) -> float | None:
        """P(win) + P(neutral)/2 for the first system, where there are probabilities."""
        if self.probabilities is None:
            return None
        own = self.probabilities.first if self.order == "ab" else self.probabilities.second
        return own + self.probabilities.neutral / 2


@dataclass(frozen=True)
class Comparison:
    """Two answers to one prompt, with the opinions on them. lengths: words of the two answers."""

    prompt: Prompt
    opinions: tuple[Opinion, ...]
    lengths: tuple[int, int]
    decided: Literal["identical", "empty"] | None = None

    @property
    def score(self) -> float | None:
        """Mean over the orders of win 1, neutral ½, loss 0; None if one order is unjudged."""
        results = [opinion.result for opinion in self.opinions]
        if any(result is None for result in results):
            return None
        return sum(SCORES[result] for result in results if result is not None) / len(results)

    @property
    def category(self) -> Category:
        """The category in which the pair is counted."""
        results = [opinion.result for opinion in self.opinions]
        found = set(results)
        if None in found:
            return "unjudged"
        if len(found) == 1:
            return results[0]  # type: ignore[return-value]  # not None, see above
        if found == {"win", "loss"}:
            return "disagreement"
        return "half win" if "win" in found else "half loss"

    def to_dict(self) -> dict[str, Any]:
        """A row of verdicts.jsonl."""
        return {
            "prompt": self.prompt,
            "category": self.category,
            "score": self.score,
            "decided": self.decided,
            "words": list(self.lengths),
            "opinions": [_opinion(opinion) for opinion in self.opinions],
        }


def _opinion(opinion: Opinion) -> dict[str, Any]:
    row: dict[str, Any] = {
        "order": opinion.order,
        "result": opinion.result,
        "source": opinion.source,
        "reason": opinion.reason,
        "fallback": opinion.fallback,
    }
    if opinion.probabilities is not None:
        probabilities = asdict(opinion.probabilities)
        row["label_mass"] = probabilities.pop("mass")
        row["probabilities"] = probabilities
    return row


def decided_without_asking(first: str, second: str) -> tuple[Literal["identical", "empty"], Result] | None:
    """The reason and result for a pair that needs no judge: equal answers are neutral, an empty answer loses."""
    first, second = first.strip(), second.strip()
    if first == second:
        return "identical", "neutral"
    if not first or not second:
        return "empty", "win" if first else "loss"
    return None


def verdict_of(result: Result, order: Order) -> Verdict:
    """The verdict by position that gives the first system this result in `order`."""
    if result == "neutral":
        return "neutral"
    return "first" if (result == "win") == (order == "ab") else "second"


def count_categories(comparisons: Sequence[Comparison]) -> dict[Category, int]:
    """Number of pairs in each category, in the order of `CATEGORIES`."""
    found = [comparison.category for comparison in comparisons]
    return {category: found.count(category) for category in CATEGORIES}
