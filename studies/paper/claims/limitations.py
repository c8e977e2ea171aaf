"""What the rows say about section VI: coverage, noise, few responses, and the reference. No torch."""

from studies.paper.claims.finding import MARGIN, Finding, above_zero, below_zero
from studies.paper.claims.plan import ALIKE, DEFAULT, DRAWN, DRO_V, EQ_19, MISSING, NOISY, ORACLE, Row
from studies.paper.claims.results import Rows, combined, difference, distinct, mean, pick, shares, shown

COUNT = 4  # responses per prompt at which conditions are compared
HARMS = {
    MISSING: "insufficient coverage of high-reward outputs",
    NOISY: "noisy rewards",
    ALIKE: "limited variation in responses",
}


def limitations(rows: Rows) -> list[Finding]:
    """Every statement in every world that was run."""
    found = []
    for world in distinct(rows, "coverage", "world"):
        found += [_underestimates(rows, world), _few(rows, world)]
        there = distinct(rows, "coverage", "condition")
        found += [_harmed(rows, world, name, text) for name, text in HARMS.items() if name in there]
        found += [_extrapolates(rows, world)] if MISSING in there else []
    return found + [_reference(rows, world) for world in distinct(rows, "reference", "world")]


def _of(rows: Rows, world: str, method: str, condition: str, count: int = COUNT) -> list[Row]:
    return pick(rows, "coverage", method, world=world, condition=condition, responses=count)


def _claim(text: str, world: str) -> str:
    return f"Section VI, {text} ({world} responses)"


def _underestimates(rows: Rows, world: str) -> Finding:
    found = mean(_of(rows, world, EQ_19, DRAWN), "value_bias")
    others = ", ".join(
        f"{condition} {shown(mean(_of(rows, world, EQ_19, condition), 'value_bias'), signed=True, digits=2)}"
        for condition in distinct(rows, "coverage", "condition")
        if condition != DRAWN
    )
    learned = mean(_of(rows, world, DRO_V, DRAWN), "value_bias")
    return Finding(
        _claim("the empirical partition underestimates the reward landscape", world),
        below_zero(found),
        f"V̂ − V* of eq. 19 at n = {COUNT}, {DRAWN}: {shown(found, signed=True, digits=2)} reward units; {others}. "
        "Without noise it is τ log π*(observed responses), below zero unless the data list every response. The V that "
        f"DRO-V learned: {shown(learned, signed=True, digits=2)}.",
    )


def _harmed(rows: Rows, world: str, condition: str, name: str) -> Finding:
    """J* − J under a condition minus that of the data as drawn."""
    harm = {method: _harm(rows, world, method, condition) for method in (EQ_19, DEFAULT, DRO_V, ORACLE)}
    each = "; ".join(f"{method} {shown(found, signed=True)}" for method, found in harm.items())
    level, start = (mean(_of(rows, world, EQ_19, condition), column) for column in ("gap", "gap_reference"))
    return Finding(
        _claim(f"RPO is harmed by {name}", world),
        above_zero(harm[EQ_19], MARGIN),
        f"J* − J at n = {COUNT}, {condition} minus {DRAWN}: {each}. RPO eq. 19 is then at {shown(level)}, the "
        f"reference at {shown(start)}. Decided for eq. 19; within ± {MARGIN} is no harm.",
    )


def _harm(rows: Rows, world: str, method: str, condition: str):
    return difference(_of(rows, world, method, condition), _of(rows, world, method, DRAWN))


def _extrapolates(rows: Rows, world: str) -> Finding:
    groups = [_of(rows, world, method, condition) for method in (EQ_19, DRO_V) for condition in (MISSING, DRAWN)]
    found = combined(*zip((1.0, -1.0, -1.0, 1.0), groups, strict=True))
    default = [_of(rows, world, DEFAULT, condition) for condition in (MISSING, DRAWN)]
    versus = combined(*zip((1.0, -1.0, -1.0, 1.0), [*default, *groups[2:]], strict=True))
    return Finding(
        _claim("a trained value model extrapolates beyond observed samples, RPO does not", world),
        above_zero(found, MARGIN),
        f"What {MISSING} costs in J at n = {COUNT}: RPO eq. 19 minus DRO-V {shown(found, signed=True)}; RPO default "
        f"minus DRO-V {shown(versus, signed=True)}. Above zero: the learned V suffers less.",
    )


def _few(rows: Rows, world: str) -> Finding:
    counts = sorted(distinct(rows, "coverage", "responses"))
    few, many = counts[0], counts[-1]
    cost = {
        method: difference(_of(rows, world, method, DRAWN, few), _of(rows, world, method, DRAWN, many))
        for method in (EQ_19, DEFAULT, DRO_V)
    }
    each = "; ".join(f"{method} {shown(found, signed=True)}" for method, found in cost.items())
    ends = [shown(mean(_of(rows, world, EQ_19, DRAWN, count))) for count in (few, many)]
    return Finding(
        _claim("few responses per prompt hurt RPO", world),
        above_zero(cost[EQ_19], MARGIN),
        f"J* − J at n = {few} minus n = {many}, {DRAWN}: {each}. RPO eq. 19 goes from {ends[0]} to {ends[1]}, the "
        f"reference is at {shown(mean(_of(rows, world, EQ_19, DRAWN, few), 'gap_reference'))}.",
    )


def _reference(rows: Rows, world: str) -> Finding:
    tilts = sorted(distinct(rows, "reference", "reference"))
    worst, best = tilts[0], tilts[-1]

    def at(method: str, tilt: float) -> list[Row]:
        return shares(pick(rows, "reference", method, world=world, reference=tilt))

    cost = {method: difference(at(method, worst), at(method, best), "share") for method in (EQ_19, DEFAULT, DRO_V)}
    each = "; ".join(f"{method} {shown(found, signed=True)}" for method, found in cost.items())
    ends = [shown(mean(at(EQ_19, tilt), "share")) for tilt in (worst, best)]
    rewards = [shown(mean(at(ORACLE, tilt), "reward"), digits=2) for tilt in (worst, best)]
    biases = [shown(mean(at(EQ_19, tilt), "value_bias"), signed=True, digits=2) for tilt in (worst, best)]
    return Finding(
        _claim("a poorly aligned reference makes RPO less effective", world),
        below_zero(cost[EQ_19]),
        f"Share of the attainable J with the reference tilted by {worst:+g} minus {best:+g}: {each}. RPO eq. 19 gains "
        f"{ends[0]} and {ends[1]}, with V̂ − V* = {biases[0]} and {biases[1]}. What is attainable differs too, for "
        f"every method: with V* it ends at E r = {rewards[0]} and {rewards[1]}.",
    )
