"""A verdict on each statement of Table I, from the rows of the runs; those of section VI are in `limitations`."""

from collections.abc import Iterable, Mapping

from studies.paper.claims.limitations import limitations
from studies.paper.claims.plan import (
    DEFAULT,
    DRO_FROZEN,
    DRO_LEARNS,
    DRO_ORACLE,
    DRO_V,
    EQ_19,
    NOISY,
    ORACLE,
    RPO_GIVEN,
    RPO_LEVEL_1,
    TUNED_DRO,
    TUNED_RPO,
    TUNING,
    Row,
)
from studies.paper.claims.results import Rows, combined, difference, distinct, mean, pick
from studies.paper.verdicts import MARGIN, Finding, Outcome, below_zero, shown
from studies.paper.wording import finding, sentence

TUNED_EQ_19 = TUNED_RPO["reference"]
MEASURES = (  # column, statement, digits
    ("loss_cv_steps", "the loss varies less over steps", 2),
    ("gradient_cv_steps", "the gradient norm varies less over steps", 2),
    ("loss_cv_orders", "the loss varies less over batch orders", 2),
    ("gradient_cv_orders", "the gradient norm varies less over batch orders", 2),
    ("gap_spread", "the final J varies less over batch orders", 4),
    ("steps_to_reach", "fewer steps to 90 % of the own final J", 0),
)


def claim_findings(rows: Rows) -> list[Finding]:
    """A finding per statement; what has no rows, or no interval, is undecided."""
    stability = {
        method: pick(rows, "stability", method, condition=NOISY, chosen=True)
        for method in (EQ_19, DEFAULT, ORACLE, DRO_V, DRO_ORACLE)
    }
    return [
        _explicit(stability),
        _coupling(stability),
        *(_stable(rows, stability, *measure) for measure in MEASURES),
        _same_loss(rows),
        _learned(rows, "constant"),
        _learned(rows, "random"),
        _deployment(rows),
        *limitations(rows),
    ]


# ------------------------------------------------------------------------------------------- V and its costs, stability


def _explicit(runs: Mapping[str, Rows]) -> Finding:
    counts = {method: {row["value_parameters"] for row in runs[method]} for method in (DRO_V, EQ_19, DEFAULT)}
    verdict: Outcome = "undecided"
    if all(counts.values()):
        as_said = min(counts[DRO_V]) > 0 and counts[EQ_19] == {0}
        verdict = "supported" if as_said else "contradicted"
    text = ", ".join(f"{method} {'/'.join(map(str, sorted(found))) or 'not run'}" for method, found in counts.items())
    return finding("explicit", verdict, counts=text)


def _coupling(runs: Mapping[str, Rows]) -> Finding:
    eq_19, oracle, dro, frozen = (runs[method] for method in (EQ_19, ORACLE, DRO_V, DRO_ORACLE))
    found = combined((1.0, eq_19), (-1.0, oracle), (-1.0, dro), (1.0, frozen))
    return finding(
        "coupling", below_zero(found), ours=difference(eq_19, oracle), theirs=difference(dro, frozen), found=found
    )


def _stable(rows: Rows, runs: Mapping[str, Rows], name: str, what: str, digits: int) -> Finding:
    ours, theirs = runs[EQ_19], runs[DRO_V]
    found, verdict = difference(ours, theirs, name), below_zero(difference(ours, theirs, name))
    extra = {"proportion": "", "ends": ""}
    if "_cv_" in name:
        absolute = difference(ours, theirs, name.replace("_cv_", "_sd_"))
        means = [mean(own, name.split("_")[0] + "_mean") for own in (ours, theirs)]
        extra["proportion"] = " " + sentence("proportion", means=means, absolute=absolute)
        verdict = verdict if verdict == below_zero(absolute) else "undecided"
    if name == "steps_to_reach":
        start = mean(ours, "gap_reference")
        extra["ends"] = " " + sentence("ends", ends=[mean(ours), mean(theirs)], start=start)
    by_rate = {}  # the verdict with one learning rate for both: a tuned rate may lie at the edge of the grid
    for lr in distinct(rows, "stability", "lr"):
        pair = (pick(rows, "stability", method, condition=NOISY, lr=lr) for method in (EQ_19, DRO_V))
        by_rate[lr] = below_zero(difference(*pair, name))
    if any(other != verdict for other in by_rate.values()):
        verdict = "undecided"
    return finding(
        "stable",
        verdict,
        what=what,
        each="; ".join(f"{method} {shown(mean(own, name), digits=digits)}" for method, own in runs.items()),
        found=shown(found, signed=True, digits=digits),
        control=shown(difference(runs[ORACLE], runs[DRO_ORACLE], name), signed=True, digits=digits),
        rates=", ".join(f"{lr:g} {other}" for lr, other in by_rate.items()) or "not run",
        **extra,
    )


# ------------------------------------------------------------------------------------------------------- sensitivity


def _harm(rows: Rows, method: str, kind: str) -> list[Row]:
    """Per seed the mean over δ ≠ 0 of J(δ = 0) − J(δ), at the setting that δ = 0 chose, as `gap`."""
    deltas = sorted({row["delta"] for row in rows if row.get("kind") == kind and row["delta"] != 0})
    base, *groups = (
        {row["seed"]: row["gap"] for row in pick(rows, "sensitivity", method, kind=own, delta=delta, held=True)}
        for own, delta in [("constant", 0.0), *((kind, delta) for delta in deltas)]
    )
    if not groups or any(set(group) != set(base) for group in groups):
        return []
    return [
        {"seed": seed, "gap": sum(group[seed] - start for group in groups) / len(groups)}
        for seed, start in base.items()
    ]


def _both(rows: Rows, method: str) -> list[Row]:
    """Mean of the harm over constant and over random δ."""
    constant, random = (_harm(rows, method, kind) for kind in ("constant", "random"))
    if combined((0.5, constant), (0.5, random)) is None:
        return []
    return [{"seed": a["seed"], "gap": (a["gap"] + b["gap"]) / 2} for a, b in zip(constant, random, strict=True)]


def _same_loss(rows: Rows) -> Finding:
    ours, theirs, level = (_both(rows, method) for method in (RPO_GIVEN, DRO_FROZEN, RPO_LEVEL_1))
    found = difference(ours, theirs)
    values = {"ours": mean(ours), "theirs": mean(theirs), "level": mean(level), "versus": difference(level, ours)}
    return finding("same_loss", below_zero(found, MARGIN), found=found, margin=MARGIN, **values)


def _learned(rows: Rows, kind: str) -> Finding:
    ours, theirs = (_harm(rows, method, kind) for method in (RPO_GIVEN, DRO_LEARNS))
    found = difference(ours, theirs)
    what = "the same for every prompt" if kind == "constant" else "another for every prompt"
    bias = mean(pick(rows, "tuning", TUNED_EQ_19), "value_bias")
    values = {"what": what, "ours": mean(ours), "theirs": mean(theirs), "found": found, "bias": bias}
    return finding("learned", below_zero(found, MARGIN), **values)


# -------------------------------------------------------------------------------------------------------- deployment


def _deployment(rows: Rows) -> Finding:
    runs = {name: pick(rows, "tuning", name) for name in TUNING}
    gaps = {name: found for name, own in runs.items() if (found := mean(own)) is not None}

    def ends(names: Iterable[str]) -> list[str]:
        """The methods with the lowest and the highest mean J* − J."""
        known = [name for name in names if name in gaps]
        return [choose(known, key=lambda name: gaps[name].value) for choose in (min, max) if known]

    dro, rpo = ends(TUNED_DRO.values()), ends(TUNED_RPO.values())
    if not dro or not rpo:
        return finding("deployment_unmeasured", "undecided")
    best, worst = (runs[name] for name in dro)
    found = difference(runs[TUNED_EQ_19], worst)
    values = {
        "best": dro[0],
        "worst": dro[1],
        "first": rpo[0],
        "last": rpo[1],
        "gaps": [gaps[name] for name in dro + rpo],
    }
    versus = {"apart": difference(worst, best), "eq_19": mean(runs[TUNED_EQ_19]), "found": found}
    return finding("deployment", below_zero(found, MARGIN), **values, **versus)
