"""Findings on the paper's claims about sizes: each compares the three sizes of one model on the same data.

The paper's sizes are Small, Large and XL. Where a study has three sizes of another model, the smallest, the middle and
the largest stand for them. Two numbers differ if their 95 % intervals do not overlap.
"""

from collections.abc import Sequence
from itertools import product

from studies.paper.cells import Pair
from studies.paper.methods import REFERENCE
from studies.paper.published import SIZES
from studies.paper.results import Results
from studies.paper.scales import MAIN_TAU
from studies.paper.verdicts import Outcome, decide, shown, side
from valuefree.evaluation.stats import Estimate

Ruling = tuple[Outcome, str]
LOW_TAU, HIGH_TAU = 0.1, 5.0  # of Table IV
ONE_SIZE = "the claim compares three sizes of one model on the same data, and this study does not have them."


def _above(first: tuple[float, float], second: tuple[float, float]) -> int:
    """+1 where the first interval lies above the second, −1 where below, 0 where they overlap."""
    return 1 if first[0] > second[1] else -1 if first[1] < second[0] else 0


def _intervals(found: Sequence[Estimate | None]) -> list[tuple[float, float]] | None:
    """The intervals; None unless all three are there."""
    known = [one.interval for one in found if one is not None and one.interval is not None]
    return known if len(known) == len(SIZES) else None


def _listed(sizes: Sequence[Results], found: Sequence[Estimate | None], digits: int = 3, unit: str = "") -> str:
    return "; ".join(
        f"{results.scale.title}: {shown(one, signed=not unit, digits=digits)}{unit}"
        for results, one in zip(sizes, found, strict=True)
    )


def small_tau(results: Results) -> Ruling:
    """Whether RPO at τ = 0.1 beats SFT at the smallest and the largest size, and by less at the middle one."""
    sizes, sides, text = results.sizes, list[int](), list[str]()
    if not sizes:
        return "not tested", ONE_SIZE
    pair = Pair("RPO", REFERENCE, LOW_TAU)
    for judge in dict.fromkeys(name for one in sizes for name in one.reliable_judges):
        judged = [one.judged(judge, pair) for one in sizes]
        rates = [one.rate if one else None for one in judged]
        if (intervals := _intervals(rates)) is None:
            continue
        small, middle, large = intervals
        sides += [side(rates[0], 50.0), side(rates[2], 50.0)]
        sides.append(min(_above(small, middle), _above(large, middle)))
        text.append(f"win rate over SFT at τ = {LOW_TAU:g} by {judge}: {_listed(sizes, rates, 0, ' %')}")
    return decide(sides), f"{'. '.join(text)}." if text else "no judge saw all three sizes."


def steadier_with_size(results: Results) -> Ruling:
    """Whether the reward moves less from τ = 5 to 0.1 at the largest size than at the smallest."""
    sizes = results.sizes
    if not sizes:
        return "not tested", ONE_SIZE
    moves = [one.difference(one.runs("RPO", LOW_TAU), one.runs("RPO", HIGH_TAU)) for one in sizes]
    if (intervals := _intervals(moves)) is None:
        return "not tested", f"τ = {LOW_TAU:g} and {HIGH_TAU:g} were not run and rewarded at all sizes."
    small, _, large = map(_absolute, intervals)
    return decide([_above(small, large)]), (
        f"reward at τ = {LOW_TAU:g} less that at τ = {HIGH_TAU:g}: {_listed(sizes, moves)}. Compared are the absolute "
        "values at the smallest and the largest size."
    )


def _absolute(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = sorted(map(abs, interval))
    return (low, high) if interval[0] * interval[1] > 0 else (0.0, high)


def separation(results: Results) -> Ruling:
    """Whether RPO's lead over KTO and over DRO is larger at the largest size than at each other."""
    sizes, sides, text = results.sizes, list[int](), list[str]()
    if not sizes:
        return "not tested", ONE_SIZE
    for other in ("KTO", "DRO"):
        leads = [one.difference(one.runs("RPO", MAIN_TAU), one.runs(other, MAIN_TAU)) for one in sizes]
        if (intervals := _intervals(leads)) is None:
            continue
        sides += [_above(large, smaller) for large, smaller in product(intervals[-1:], intervals[:-1])]
        text.append(f"reward of RPO less that of {other}: {_listed(sizes, leads)}")
    return decide(sides), f"{'. '.join(text)}." if text else "rewards were not measured at all sizes."
