"""A finding: a statement of the paper, a verdict by a rule on intervals, and the numbers. No torch."""

from dataclasses import dataclass
from typing import Literal

from studies.paper.claims.results import equal, sign
from valuefree.evaluation.stats import Estimate

Verdict = Literal["supported", "contradicted", "undecided"]
MARGIN = 0.02  # of J, in reward units: an interval within ± this is no difference


@dataclass(frozen=True)
class Finding:
    """A statement of the paper, whether the numbers bear it out, and the numbers."""

    claim: str
    verdict: Verdict
    text: str


def below_zero(estimate: Estimate | None, margin: float = 0.0) -> Verdict:
    """Supported if the interval lies below zero, contradicted if above or within ± the margin, else undecided."""
    if equal(estimate, margin):
        return "contradicted"
    found = sign(estimate)
    return "undecided" if not found else "supported" if found < 0 else "contradicted"


def above_zero(estimate: Estimate | None, margin: float = 0.0) -> Verdict:
    """The mirror image of `below_zero`."""
    if equal(estimate, margin):
        return "contradicted"
    found = sign(estimate)
    return "undecided" if not found else "supported" if found > 0 else "contradicted"
