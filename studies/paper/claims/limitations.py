"""A verdict on each statement of section VI, from the rows: coverage, noise, few responses, the reference. No torch."""

from collections.abc import Mapping

from studies.paper.claims.plan import ALIKE, DEFAULT, DRAWN, DRO_V, EQ_19, MISSING, NOISY, ORACLE, Row
from studies.paper.claims.results import Rows, combined, difference, distinct, mean, pick, shares
from studies.paper.verdicts import MARGIN, Finding, above_zero, below_zero, shown
from studies.paper.wording import finding
from valuefree.evaluation.stats import Estimate

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


def _listed(found: Mapping[str, Estimate | None], digits: int = 3, separator: str = "; ") -> str:
    """Differences by name."""
    return separator.join(f"{name} {shown(one, signed=True, digits=digits)}" for name, one in found.items())


def _underestimates(rows: Rows, world: str) -> Finding:
    biases = {
        condition: mean(_of(rows, world, EQ_19, condition), "value_bias")
        for condition in (DRAWN, *distinct(rows, "coverage", "condition"))
    }
    found = biases.pop(DRAWN)
    learned = mean(_of(rows, world, DRO_V, DRAWN), "value_bias")
    values = {"n": COUNT, "drawn": DRAWN, "found": found, "others": _listed(biases, 2, ", "), "learned": learned}
    return finding("underestimates", below_zero(found), world=world, **values)


def _harmed(rows: Rows, world: str, condition: str, what: str) -> Finding:
    """J* − J under a condition minus that of the data as drawn."""
    harm = {
        method: difference(_of(rows, world, method, condition), _of(rows, world, method, DRAWN))
        for method in (EQ_19, DEFAULT, DRO_V, ORACLE)
    }
    level, start = (mean(_of(rows, world, EQ_19, condition), column) for column in ("gap", "gap_reference"))
    values = {"what": what, "n": COUNT, "condition": condition, "drawn": DRAWN, "each": _listed(harm), "margin": MARGIN}
    return finding("harmed", above_zero(harm[EQ_19], MARGIN), world=world, level=level, start=start, **values)


def _extrapolates(rows: Rows, world: str) -> Finding:
    def cost(method: str) -> list[Row]:
        return [_of(rows, world, method, condition) for condition in (MISSING, DRAWN)]

    found, default = (
        combined(*zip((1.0, -1.0, -1.0, 1.0), [*cost(method), *cost(DRO_V)], strict=True))
        for method in (EQ_19, DEFAULT)
    )
    values = {"missing": MISSING, "n": COUNT, "found": found, "default": default}
    return finding("extrapolates", above_zero(found, MARGIN), world=world, **values)


def _few(rows: Rows, world: str) -> Finding:
    counts = sorted(distinct(rows, "coverage", "responses"))
    few, many = counts[0], counts[-1]
    cost = {
        method: difference(_of(rows, world, method, DRAWN, few), _of(rows, world, method, DRAWN, many))
        for method in (EQ_19, DEFAULT, DRO_V)
    }
    ends = [mean(_of(rows, world, EQ_19, DRAWN, count)) for count in (few, many)]
    start = mean(_of(rows, world, EQ_19, DRAWN, few), "gap_reference")
    values = {"few": few, "many": many, "drawn": DRAWN, "each": _listed(cost), "ends": ends, "start": start}
    return finding("few", above_zero(cost[EQ_19], MARGIN), world=world, **values)


def _reference(rows: Rows, world: str) -> Finding:
    tilts = sorted(distinct(rows, "reference", "reference"))
    ends = tilts[0], tilts[-1]
    runs = {
        method: [shares(pick(rows, "reference", method, world=world, reference=tilt)) for tilt in ends]
        for method in (EQ_19, DEFAULT, DRO_V, ORACLE)
    }
    cost = {method: difference(*runs[method], "share") for method in (EQ_19, DEFAULT, DRO_V)}
    values = {
        "gained": [mean(own, "share") for own in runs[EQ_19]],
        "rewards": [mean(own, "reward") for own in runs[ORACLE]],
        "biases": [mean(own, "value_bias") for own in runs[EQ_19]],
        "each": _listed(cost),
    }
    return finding("reference", below_zero(cost[EQ_19]), world=world, worst=ends[0], best=ends[1], **values)
