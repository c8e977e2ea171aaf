"""Which strength of a trained policy the held-out rows support."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuefree.errors import ConfigError
from valuefree.evaluation.held_out.comparison import compare
from valuefree.evaluation.held_out.learned import Learned
from valuefree.evaluation.held_out.measure import measure
from valuefree.evaluation.held_out.reweighted import reweighted_difference
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
    """The scale that the rows support; scale 1 unless they show that another is better.

    Each scale is compared with scale 1 on the same rows, paired by prompt. Of the scales whose difference has an
    interval above zero, the one with the highest lower end is chosen. If the reference drew the rows, the reweighted
    gain is compared. Otherwise the ranking accuracy is compared, and no scale above 1 is considered: a better ranking
    of another author's responses does not show that a policy may move further. To choose by the lower end of the
    estimated gain would scale down every policy whose gain is uncertain, because the interval of a gain is proportional
    to the scale.

    Args:
        rows: by scale, the same rows of prompts that were not trained on; with scale 1.
        sampled: as in `measure`: None if the rows were drawn from the reference.
        max_kl: largest KL(policy‖reference) in nats per response. Of the scales within it the best is chosen, the
            largest if none is shown to be better.

    Raises:
        ConfigError: `max_kl`, and no scale has a KL that the rows can estimate within it.
    """
    points = strength_curve(rows, sampled=sampled, seed=seed)
    allowed = [point for point in points if max_kl is None or (point.kl is not None and point.kl <= max_kl)]
    if not allowed:
        raise ConfigError(
            f"max_kl is {max_kl:g}, and at no strength do the rows show a KL within it: "
            f"{sampled or 'the policy is too far from its reference to estimate it'}. Leave max_kl out, or give the "
            "strength by --scale."
        )
    kept = 1.0 if any(point.scale == 1.0 for point in allowed) else max(point.scale for point in allowed)
    best, lower = kept, 0.0
    for scale in (point.scale for point in allowed):
        if scale == kept or (sampled is not None and scale > kept):
            continue
        if sampled is None:
            difference = reweighted_difference(rows[scale], rows[kept])
        else:
            difference = compare(rows[scale], rows[kept], sampled=sampled, seed=seed).difference
        if difference.interval is not None and difference.interval[0] > lower:
            best, lower = scale, difference.interval[0]
    limit = f" within a KL of {max_kl:g} nats" if max_kl is not None else ""
    if best == kept:
        return StrengthChoice(kept, f"no other strength{limit} is shown to be better", points)
    shown = "a larger reweighted gain" if sampled is None else "a better ranking"
    return StrengthChoice(best, f"the selection rows show {shown}{limit} than at strength {kept:g}", points)


def rows_at_scales(
    rows_of: Callable[[], LoggedRows], at: Callable[[float], Any], scales: Sequence[float] = SCALES
) -> dict[float, LoggedRows]:
    """Rows of the policy by scale. rows_of: measures the policy as it is. at: context with the policy at a scale."""
    found = {}
    for scale in scales:
        with at(scale):
            found[scale] = rows_of()
    return found
