"""Numbers with intervals, their text, and verdicts by rules on intervals. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from valuefree.evaluation.stats import Estimate

NONE = "–"
MARGIN = 0.02  # of J, in reward units: an interval within ± this is no difference
Outcome = Literal["supported", "contradicted", "undecided", "not tested"]


@dataclass(frozen=True)
class Finding:
    """A verdict on a claim of the paper, and the numbers behind it. claim: its key, or the statement itself."""

    claim: str
    verdict: Outcome
    text: str


@dataclass(frozen=True)
class Spread(Estimate):
    """Mean over several runs. n: of each run. deviation: standard deviation over runs, None for a single run."""

    deviation: float | None = None
    runs: int = 1


def spread(values: Sequence[float], *, n: int, interval: tuple[float, float] | None) -> Spread:
    """Of one value per run."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), interval, n, deviation, len(values))


def shown(found: Estimate | None, *, signed: bool = False, digits: int = 3) -> str:
    """Value, standard deviation over runs where there is one, and interval as text; a dash for None."""
    if found is None:
        return NONE
    form = f"{{:{'+' if signed else ''}.{digits}f}}"
    text = form.format(found.value)
    if isinstance(found, Spread) and found.deviation is not None:
        text += f" ± {form.format(found.deviation)}"
    if found.interval is not None:
        text += " [" + ", ".join(form.format(bound) for bound in found.interval) + "]"
    return text


def side(found: Estimate | None, bound: float = 0.0) -> int:
    """+1 if the interval lies above the bound, −1 if below it, 0 if it holds the bound or there is none."""
    if found is None or found.interval is None:
        return 0
    return 1 if found.interval[0] > bound else -1 if found.interval[1] < bound else 0


def below_zero(found: Estimate | None, margin: float = 0.0) -> Outcome:
    """Supported if the interval lies below zero, contradicted if above or within ± the margin, else undecided."""
    return _decide_sign(found, margin, -1)


def above_zero(found: Estimate | None, margin: float = 0.0) -> Outcome:
    """The mirror image of `below_zero`."""
    return _decide_sign(found, margin, 1)


def _decide_sign(found: Estimate | None, margin: float, wanted: int) -> Outcome:
    if _equal(found, margin):
        return "contradicted"
    return "undecided" if not side(found) else "supported" if side(found) == wanted else "contradicted"


def _equal(found: Estimate | None, margin: float) -> bool:
    """Whether the whole interval lies within ± the margin; or the value, where several seeds all have the same."""
    if found is None or (found.interval is None and found.n < 2):
        return False
    low, high = found.interval or (found.value, found.value)
    return -margin <= low and high <= margin


def decide(sides: Sequence[int]) -> Outcome:
    """From the parts of a claim, each +1 (for it), −1 (against it) or 0 (open).

    Supported if all are for it, contradicted if any is against it, else undecided; not tested without parts.
    """
    if not sides:
        return "not tested"
    if any(part < 0 for part in sides):
        return "contradicted"
    return "supported" if all(part > 0 for part in sides) else "undecided"


def counted(sides: Sequence[int], of: str) -> str:
    """How many of the parts are for a claim and how many against it. of: their name in the plural."""
    return f"{sum(s > 0 for s in sides)} for it, {sum(s < 0 for s in sides)} against, of {len(sides)} {of}"
