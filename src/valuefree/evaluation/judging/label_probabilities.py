"""Read a verdict from the probabilities of the label tokens, if a model gives them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from valuefree.evaluation.judging.labels import Labels, Verdict

MIN_LABEL_MASS = 0.5
TopLogprobs = Sequence[tuple[str, float]]
"""Candidates for the first token, each with its natural log-probability."""


@dataclass(frozen=True)
class LabelProbabilities:
    """Probability of each verdict given that a label is said (sum 1); mass: probability that a label is said."""

    first: float
    second: float
    neutral: float
    mass: float

    @property
    def verdict(self) -> Verdict:
        """The most probable verdict; neutral if it ties for first place, or if both answers are equally probable."""
        best = max(self.first, self.second, self.neutral)
        if self.neutral == best or self.first == self.second:
            return "neutral"
        return "first" if self.first == best else "second"


def label_probabilities(
    top: TopLogprobs | None, labels: Labels, *, text: str | None = None
) -> LabelProbabilities | str:
    """Probabilities of the labels from those of the first token, or the reason why they are unusable.

    A token counts for a label if it is the label or its beginning (``Ne`` for ``Neutral``), ignoring spaces.
    Probabilities that no model can have given are refused: above 1, not finite, two for one token, a sum above 1, or of
    other tokens than the one that begins the answer. Labels with less than half of the mass are refused too, because
    the judge most likely says something else.

    Args:
        top: the likely first tokens, or None if the model gave none. text: the answer that they belong to.
    """
    if not top:
        return "no probabilities came with the answer"
    if any(not math.isfinite(logprob) or logprob > 1e-6 for _, logprob in top):
        return "the probabilities are not finite or above 1"
    if len({token for token, _ in top}) < len(top) or math.fsum(math.exp(logprob) for _, logprob in top) > 1.001:
        return "the probabilities are not of one token"
    if text is not None and not any(token.strip() and text.lstrip().startswith(token.strip()) for token, _ in top):
        return "the probabilities are not those of the answer"
    found = {"first": 0.0, "second": 0.0, "neutral": 0.0}
    for token, logprob in top:
        verdict = _begins(token.strip(), labels)
        if verdict is not None:
            found[verdict] += math.exp(logprob)
    mass = math.fsum(found.values())
    if mass < MIN_LABEL_MASS:
        return "the labels have less than half of the probability"
    return LabelProbabilities(**{name: value / mass for name, value in found.items()}, mass=min(mass, 1.0))


def _begins(token: str, labels: Labels) -> Verdict | None:
    matching: list[Verdict] = [verdict for label, verdict in labels if token and label.startswith(token)]
    return matching[0] if len(matching) == 1 else None
