"""Which strength of a trained policy the held-out rows support."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuefree.evaluation.held_out.comparison import compare
from valuefree.evaluation.held_out.learned import Learned
from valuefree.evaluation.held_out.measure import measure
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.evaluation.stats.estimate import Estimate, Statistic

SCALES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class StrengthPoint(Statistic):
    """What the rows say of the policy at one strength.

    Attributes:
        scale: factor on the distance from the reference; 1 is the policy as trained.
        ranking, explained_share, rms: as in `Learned`.
        gain: estimated gain in reward; None where it cannot be estimated.
        kl: KL(policy‖reference), in nats per response; None likewise.
        effective_share: Kish's effective sample size as a share of the rows; None for rows of another author.
    """

    scale: float
    ranking: Estimate
    explained_share: Estimate
    rms: float
    gain: Estimate | None
    kl: float | None
    effective_share: float | None

    @classmethod
    def of(cls, scale: float, learned: Learned) -> "StrengthPoint":
        """The point of a policy at `scale` of which `learned` was measured."""
        gain = learned.gain
        return cls(
            scale,
            learned.ranking,
            learned.explained_share,
            learned.rms,
            gain.gain if gain else None,
            gain.kl_policy.value if gain else None,
            learned.effective_share,
        )


@dataclass(frozen=True)
class StrengthChoice(Statistic):
    """The chosen scale, the reason in a sentence, and the curve on the rows that it was chosen on."""

    scale: float
    reason: str
    points: tuple[StrengthPoint, ...]


def strength_curve(rows: Mapping[float, LoggedRows], **settings: Any) -> tuple[StrengthPoint, ...]:
    """A point per scale. settings: of `measure`."""
    return tuple(StrengthPoint.of(scale, measure(at, **settings)) for scale, at in sorted(rows.items()))


def choose_strength(
    rows: Mapping[float, LoggedRows], *, sampled: str | None, max_kl: float | None = None, seed: int = 0
) -> StrengthChoice:
    """The scale that the rows support.

    Where the gain of the policy as trained can be estimated, the scale with the highest lower end of the gain's
    interval is chosen. Otherwise the scale with the largest explained share is chosen if it ranks significantly better
    than the policy as trained, and scale 1 if none does.

    Args:
        rows: by scale, the same rows of prompts that were not trained on; with scale 1.
        sampled: as in `measure`: None if the rows were drawn from the reference.
        max_kl: largest KL(policy‖reference) in nats per response, where it can be estimated.

    Raises:
        KeyError: scale 1 is missing.
    """
    points = strength_curve(rows, sampled=sampled, seed=seed)
    at_one = next(point for point in points if point.scale == 1.0)
    estimated = [point for point in points if point.gain is not None and point.gain.interval is not None]
    within = [point for point in estimated if max_kl is None or (point.kl is not None and point.kl <= max_kl)]
    if within and (at_one in estimated or max_kl is not None):
        best = max(within, key=_lower_end)
        limit = f" at a KL of at most {max_kl:g} nats" if max_kl is not None else ""
        return StrengthChoice(best.scale, f"it has the highest lower end of the estimated gain{limit}", points)
    best = max(points, key=lambda point: point.explained_share.value)
    difference = compare(rows[best.scale], rows[1.0], seed=seed).difference
    if best.scale != 1.0 and difference.interval is not None and difference.interval[0] > 0:
        return StrengthChoice(best.scale, "it ranks the responses better than the policy as trained", points)
    return StrengthChoice(1.0, "no other scale ranks the responses better than the policy as trained", points)


def _lower_end(point: StrengthPoint) -> float:
    assert point.gain is not None
    assert point.gain.interval is not None
    return point.gain.interval[0]


def rows_at_scales(
    rows_of: Callable[[], LoggedRows], at: Callable[[float], Any], scales: Sequence[float] = SCALES
) -> dict[float, LoggedRows]:
    """Rows of the policy by scale. rows_of: measures the policy as it is. at: context with the policy at a scale."""
    found = {}
    for scale in scales:
        with at(scale):
            found[scale] = rows_of()
    return found
