"""Tables of the claims, every number from the rows. No torch."""

from studies.paper.claims.plan import COVERAGE, EQ_19, SENSITIVITY, STABILITY, TUNING
from studies.paper.claims.results import Rows, difference, distinct, mean, pick, shares
from studies.paper.verdicts import NONE, shown
from studies.paper.wording import sentence, table
from valuefree.report import Table

SEEDS = sentence("seeds")


def claim_tables(rows: Rows) -> list[Table]:
    """The tables of every experiment, per world where there are two; without rows of an experiment none."""
    tables = [*_stability(rows), *_sensitivity(rows), _tuning(rows)]
    for make, experiment in ((_coverage, "coverage"), (_errors, "coverage"), (_reference, "reference")):
        tables += [make(rows, world) for world in distinct(rows, experiment, "world")]
    return [made for made in tables if made.rows]


def _means(rows: Rows, *names: str, signed: bool = False, digits: int = 3) -> list[str]:
    return [shown(mean(rows, name), signed=signed, digits=digits) for name in names]


def _stability(rows: Rows) -> list[Table]:
    """How much loss and gradient vary, and the ends of the same runs."""
    varying, ends = [], []
    for condition in distinct(rows, "stability", "condition"):
        for method in STABILITY:
            found = pick(rows, "stability", method, condition=condition, chosen=True)
            if found:
                columns = ("loss_cv_steps", "loss_cv_orders", "gradient_cv_steps", "gradient_cv_orders", "loss_mean")
                varying.append([condition, method, f"{found[0]['lr']:g}", *_means(found, *columns, digits=2)])
                numbers = f"{found[0]['policy_parameters']} + {found[0]['value_parameters']}"
                cells = [*_means(found, "gap", "gap_reference"), *_means(found, "gap_spread", digits=4)]
                ends.append([condition, method, numbers, *cells, *_means(found, "steps_to_reach", digits=0)])
    return [table("stability", varying, seeds=SEEDS), table("ends", ends)]


def _sensitivity(rows: Rows) -> list[Table]:
    """J* − J and the mean log-ratio by error of V; an error of 0 is the same run for both kinds of error."""
    gaps, ratios = [], []
    cases = dict.fromkeys((row["kind"], row["delta"]) for row in rows if row.get("experiment") == "sensitivity")
    for kind, delta in cases:
        where = {"kind": "constant" if delta == 0 else kind, "delta": delta}
        held, retuned = (
            [pick(rows, "sensitivity", method, **where, held=flag) for method in SENSITIVITY] for flag in (True, False)
        )
        name = f"{delta:+g}" if kind == "constant" else f"random, ± {delta:g}"
        again = [NONE if not found else f"{found.value:.3f}" for found in map(mean, retuned)]
        gaps.append([name, *(f"{_means(own, 'gap')[0]}; {other}" for own, other in zip(held, again, strict=True))])
        logratios = [_means(own, "logratio", signed=True, digits=2)[0] for own in held]
        ratios.append([name, *logratios, *_means(held[-1], "value_bias", signed=True, digits=2)])
    return [table("wrong_v", gaps, SENSITIVITY, seeds=SEEDS), table("follows", ratios, SENSITIVITY)]


def _tuning(rows: Rows) -> Table:
    lines = []
    for method in TUNING:
        found = pick(rows, "tuning", method)
        if found:
            cells = [*_means(found, "gap"), *_means(found, "value_bias", signed=True, digits=2)]
            lines.append([method, *cells, f"{found[0]['lr']:g}, {found[0]['step']}"])
    return table("tuning", lines, seeds=SEEDS)


def _groups(rows: Rows, world: str) -> list[tuple[str, int, list[Rows]]]:
    """(condition, responses per prompt, rows of each method of `COVERAGE`) of the coverage runs."""
    found = [
        (
            name,
            count,
            [pick(rows, "coverage", method, world=world, condition=name, responses=count) for method in COVERAGE],
        )
        for name in distinct(rows, "coverage", "condition")
        for count in distinct(rows, "coverage", "responses")
    ]
    return [group for group in found if group[2][0]]


def _coverage(rows: Rows, world: str) -> Table:
    lines = []
    for condition, count, groups in _groups(rows, world):
        versus = shown(difference(groups[0], groups[3]), signed=True)
        gaps = [cell for own in groups for cell in _means(own, "gap")]
        lines.append([condition, str(count), *gaps, versus, *_means(groups[0], "gap_reference")])
    here = [row for row in rows if row.get("experiment") == "coverage" and row["world"] == world]
    least = min((row["lr"], row["step"]) for row in here)
    chosen = [(row["lr"], row["step"]) == least for row in here if row["method"] == EQ_19 and row["seed"] == 0]
    corner = {"corner": sum(chosen), "cells": len(chosen), "lr": least[0], "steps": least[1]}
    return table("coverage", lines, COVERAGE, world=world, seeds=SEEDS, **corner)


def _errors(rows: Rows, world: str) -> Table:
    lines = []
    for condition, count, (eq_19, default, _, dro) in _groups(rows, world):
        biases = [cell for own in (eq_19, default, dro) for cell in _means(own, "value_bias", signed=True, digits=2)]
        lines.append([condition, str(count), *biases, *_means(eq_19, "logratio", signed=True, digits=2)])
    return table("errors", lines, world=world)


def _reference(rows: Rows, world: str) -> Table:
    lines = []
    for tilt in distinct(rows, "reference", "reference"):
        for method in COVERAGE:
            found = shares(pick(rows, "reference", method, world=world, reference=tilt))
            if found:
                cells = _means(found, "gap", "gap_reference", "share", "reward")
                cells += _means(found, "reward_gained", signed=True)
                lines.append([f"{tilt:+g}", method, *cells, *_means(found, "value_bias", signed=True, digits=2)])
    return table("reference", lines, world=world, seeds=SEEDS)
