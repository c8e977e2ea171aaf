"""What the rows say about Table I, and with `limitations` about section VI. No torch."""

from collections.abc import Callable, Sequence

from studies.paper.claims.finding import MARGIN, Finding, Verdict, below_zero
from studies.paper.claims.limitations import limitations
from studies.paper.claims.plan import (
    DEFAULT,
    DRO_FROZEN,
    DRO_LEARNS,
    DRO_ORACLE,
    DRO_V,
    EQ_19,
    ESTIMATORS,
    NOISY,
    ORACLE,
    RPO_GIVEN,
    RPO_LEVEL_1,
    TUNING,
    VALUE_RATES,
    Row,
)
from studies.paper.claims.results import Rows, combined, difference, distinct, mean, pick, shown


def claim_findings(rows: Rows) -> list[Finding]:
    """A finding per statement; what has no rows, or no interval, is undecided."""
    makers: list[Callable[[Rows], Finding]] = [_explicit, _coupling]
    found = [make(rows) for make in makers]
    found += [_stable(rows, *measure) for measure in MEASURES]
    found += [_same_loss(rows), _learned(rows, "constant"), _learned(rows, "random"), _deployment(rows)]
    return found + limitations(rows)


# --------------------------------------------------------------------------------------------------- V and its costs


def _trained(rows: Rows, method: str) -> list[Row]:
    return pick(rows, "stability", method, condition=NOISY, chosen=True)


def _explicit(rows: Rows) -> Finding:
    groups = {method: _trained(rows, method) for method in (DRO_V, EQ_19, DEFAULT)}
    counts = {method: {row["value_parameters"] for row in found} for method, found in groups.items()}
    verdict: Verdict = "undecided"
    if all(counts.values()):
        as_said = min(counts[DRO_V]) > 0 and counts[EQ_19] == {0}
        verdict = "supported" if as_said else "contradicted"
    said = ", ".join(f"{method} {'/'.join(map(str, sorted(found))) or 'not run'}" for method, found in counts.items())
    return Finding(
        "Table I, explicit V estimation: DRO yes, RPO no (empirical)",
        verdict,
        f"Parameters that are trained for V: {said}. RPO estimates V all the same, once, before training.",
    )


def _coupling(rows: Rows) -> Finding:
    eq_19, oracle, dro, frozen = (_trained(rows, method) for method in (EQ_19, ORACLE, DRO_V, DRO_ORACLE))
    ours, theirs = difference(eq_19, oracle), difference(dro, frozen)
    found = combined((1.0, eq_19), (-1.0, oracle), (-1.0, dro), (1.0, frozen))
    return Finding(
        "Table I, π–V coupling: strong in DRO, weak in RPO",
        below_zero(found),
        f"Taken as what J* − J loses because V is not V*: RPO eq. 19 against RPO with V* {shown(ours, signed=True)}; "
        f"DRO-V, which learns V beside the policy, against DRO with V* {shown(theirs, signed=True)}; RPO's loss minus "
        f"DRO's {shown(found, signed=True)}. Supported if below zero.",
    )


# --------------------------------------------------------------------------------------------------------- stability

MEASURES = (
    ("loss_cv_steps", "the loss varies less over steps", 2),
    ("gradient_cv_steps", "the gradient norm varies less over steps", 2),
    ("loss_cv_orders", "the loss varies less over batch orders", 2),
    ("gradient_cv_orders", "the gradient norm varies less over batch orders", 2),
    ("gap_spread", "the final J varies less over batch orders", 4),
    ("steps_to_reach", "fewer steps to 90 % of the own final J", 0),
)


def _stable(rows: Rows, name: str, claim: str, digits: int) -> Finding:
    groups = {method: _trained(rows, method) for method in (EQ_19, DEFAULT, ORACLE, DRO_V, DRO_ORACLE)}
    found = difference(groups[EQ_19], groups[DRO_V], name)
    each = "; ".join(f"{method} {shown(mean(own, name), digits=digits)}" for method, own in groups.items())
    text = f"{each}. RPO eq. 19 minus DRO-V {shown(found, signed=True, digits=digits)}"
    control = difference(groups[ORACLE], groups[DRO_ORACLE], name)
    text += f"; with V* in both, where only DRO's lr/τ differs, {shown(control, signed=True, digits=digits)}."
    verdict, by_rate = below_zero(found), _at_every_rate(rows, name)
    if "_cv_" in name:
        deviation = name.replace("_cv_", "_sd_")
        absolute = difference(groups[EQ_19], groups[DRO_V], deviation)
        means = [shown(mean(groups[method], name.split("_")[0] + "_mean"), digits=2) for method in (EQ_19, DRO_V)]
        text += (
            f" These are proportions of {means[0]} and {means[1]}; the deviations themselves, in RPO's unit, differ by "
            f"{shown(absolute, signed=True)}. Undecided if the two say different things."
        )
        verdict = verdict if verdict == below_zero(absolute) else "undecided"
    if name == "steps_to_reach":
        ends = [shown(mean(groups[method])) for method in (EQ_19, DRO_V)]
        start = shown(mean(groups[EQ_19], "gap_reference"))
        text += f" The J* − J that they end at: {ends[0]} against {ends[1]}, from {start} at the reference."
    if any(other != verdict for other in by_rate.values()):
        verdict = "undecided"
    at_rates = ", ".join(f"{lr:g} {other}" for lr, other in by_rate.items())
    text += (
        f" With one learning rate for both, by the same interval: {at_rates or 'not run'}; undecided if not all agree."
    )
    return Finding(f"Table I, optimisation more stable: {claim} in RPO than in DRO", verdict, text)


def _at_every_rate(rows: Rows, name: str) -> dict[float, Verdict]:
    """The verdict at each learning rate of the grid, given to both: a tuned one may lie at the edge of the grid."""
    found = {}
    for lr in distinct(rows, "stability", "lr"):
        ours, theirs = (pick(rows, "stability", method, condition=NOISY, lr=lr) for method in (EQ_19, DRO_V))
        found[lr] = below_zero(difference(ours, theirs, name))
    return found


# ------------------------------------------------------------------------------------------------------- sensitivity


def _harm(rows: Rows, method: str, kind: str) -> list[Row]:
    """Per seed the mean over δ ≠ 0 of J(δ = 0) − J(δ), at the setting that δ = 0 chose, as `gap`."""
    deltas = sorted({row["delta"] for row in rows if row.get("kind") == kind and row["delta"] != 0})
    base = {row["seed"]: row["gap"] for row in _off(rows, method, "constant", 0.0)}
    groups = [{row["seed"]: row["gap"] for row in _off(rows, method, kind, delta)} for delta in deltas]
    if not groups or any(set(group) != set(base) for group in groups):
        return []
    return [
        {"seed": seed, "gap": sum(group[seed] - start for group in groups) / len(groups)}
        for seed, start in base.items()
    ]


def _off(rows: Rows, method: str, kind: str, delta: float) -> list[Row]:
    return pick(rows, "sensitivity", method, kind=kind, delta=delta, held=True)


def _both(rows: Rows, method: str) -> list[Row]:
    """The harm over constant and random δ, half and half."""
    constant, random = (_harm(rows, method, kind) for kind in ("constant", "random"))
    found = combined((0.5, constant), (0.5, random))
    if found is None:
        return []
    return [{"seed": a["seed"], "gap": (a["gap"] + b["gap"]) / 2} for a, b in zip(constant, random, strict=True)]


def _same_loss(rows: Rows) -> Finding:
    ours, theirs, level = (_both(rows, method) for method in (RPO_GIVEN, DRO_FROZEN, RPO_LEVEL_1))
    found = difference(ours, theirs)
    return Finding(
        "Table I, robustness to estimation errors: RPO less sensitive than DRO, by its loss",
        below_zero(found, MARGIN),
        f"V fixed at V* + δ in both, learning rates alike. What J loses, mean over δ: RPO {shown(mean(ours))}, DRO "
        f"{shown(mean(theirs))}, RPO minus DRO {shown(found, signed=True)}; within ± {MARGIN} is no difference, as "
        f"both are then the same regression. RPO with level κ = 1, which the paper does not have, {shown(mean(level))} "
        f"({shown(difference(level, ours), signed=True)} against RPO).",
    )


def _learned(rows: Rows, kind: str) -> Finding:
    ours, theirs = (_harm(rows, method, kind) for method in (RPO_GIVEN, DRO_LEARNS))
    found = difference(ours, theirs)
    what = "the same for every prompt" if kind == "constant" else "another for every prompt"
    biased = pick(rows, "tuning", TUNING[len(VALUE_RATES) + ESTIMATORS.index("reference")])
    return Finding(
        f"Table I, robustness to estimation errors: RPO less sensitive than a DRO whose V goes on learning, δ {what}",
        below_zero(found, MARGIN),
        f"V = V* + δ at the start. What J loses, mean over δ: RPO, whose V̂ stays, {shown(mean(ours))}; DRO, whose V "
        f"learns from there, {shown(mean(theirs))}; RPO minus DRO {shown(found, signed=True)}. Eq. 19's own error "
        f"here: V̂ − V* = {shown(mean(biased, 'value_bias'), signed=True, digits=2)} reward units.",
    )


# -------------------------------------------------------------------------------------------------------- deployment


def _range(rows: Rows, names: Sequence[str]) -> tuple[str, str] | None:
    """The methods with the lowest and the highest mean J* − J."""
    found = {name: mean(pick(rows, "tuning", name)) for name in names}
    known = {name: estimate.value for name, estimate in found.items() if estimate is not None}
    return (min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])) if known else None


def _deployment(rows: Rows) -> Finding:
    claim = "Table I, practical deployment: DRO requires tuning of V, RPO does without"
    dro, rpo = _range(rows, TUNING[: len(VALUE_RATES)]), _range(rows, TUNING[len(VALUE_RATES) :])
    eq_19 = pick(rows, "tuning", TUNING[len(VALUE_RATES) + ESTIMATORS.index("reference")])
    if dro is None or rpo is None:
        return Finding(claim, "undecided", "Not measured.")
    best, worst = (pick(rows, "tuning", name) for name in dro)
    found = difference(eq_19, worst)
    gaps = {name: shown(mean(pick(rows, "tuning", name))) for name in (*dro, *rpo)}
    return Finding(
        claim,
        below_zero(found, MARGIN),
        f"DRO-V is best with {dro[0]} ({gaps[dro[0]]}) and worst with {dro[1]} ({gaps[dro[1]]}), a difference of "
        f"{shown(difference(worst, best), signed=True)} in J* − J. RPO eq. 19, which has no such choice, is at "
        f"{shown(mean(eq_19))}, {shown(found, signed=True)} against the worst DRO-V. The estimators of V̂ go from "
        f"{rpo[0]} ({gaps[rpo[0]]}) to {rpo[1]} ({gaps[rpo[1]]}): that is a choice for V too. Supported if RPO eq. "
        "19 is below the worst DRO-V.",
    )
