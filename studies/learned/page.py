"""The page: which measure on held-out rows can be trusted. Every number is computed from the runs. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from studies.harness.cells import Row
from studies.harness.page import protocol, write_page
from studies.harness.results import number
from studies.learned import smol
from studies.learned.default_run import closed, default_runs, default_table, scales_table, smollm2_table
from studies.learned.figures import against_truth, by_strength
from studies.learned.grid import DEFAULT, Scale
from studies.learned.measured import GAIN, LOSS, LOWER, MEASURES, REWEIGHTED, TRAINING_LOSS
from studies.learned.results import (
    AXES,
    CHECKPOINT,
    CLOSE,
    CODE_RULE,
    DEFAULT_RULE,
    LR,
    METHOD,
    SETTING,
    STRENGTH,
    TASKS,
    checks_of,
    correlations,
    mean_correlation,
    mean_share,
    rules_of,
)
from studies.learned.tables import (
    AXIS_NAMES,
    BANDS,
    EVERYWHERE,
    Results,
    checks_table,
    choosing_table,
    correlation_table,
    coverage_table,
    paired_excess,
    percent,
    rank,
    regret_table,
    share_of,
)
from valuefree.evaluation.stats import Estimate
from valuefree.report import Section

USES = {
    CHECKPOINT: "Early stopping (checkpoint)",
    LR: "Automatic learning rate (at the last checkpoint)",
    SETTING: "Automatic learning rate with early stopping",
    STRENGTH: "Strength",
    METHOD: "Method",
}
WARNED_BELOW = 0.5  # mean rank correlation on the choosing seeds


def choices(results: Results) -> list[str]:
    """A sentence per kind of choice: the measure that is used, and what it loses on the reported seeds."""
    lines = []
    for task in TASKS:
        used = results.used(task)
        if used is None:
            continue
        parts = []
        for family in results.reported:
            losses, default = (results.losses(family, task, rule) for rule in (used, DEFAULT_RULE))
            if losses:
                lost = f"{percent(mean_share(losses))} of the best gain (the default {percent(mean_share(default))})"
                parts.append(f"{family} {lost}")
        lines.append(f"{USES[task]}: “{used}”. Lost on the reported seeds: {'; '.join(parts) or 'nothing to choose'}.")
    return lines


def warnings(results: Results) -> list[str]:
    """The regimes that get a warning by the rule of the protocol."""
    found = []
    for task in (SETTING, STRENGTH):
        used = results.used(task)
        for name, kls in BANDS.items():
            low = []
            for family, runs in results.choosing.items():
                mean = mean_correlation(correlations(results.groups(runs, task), used or "", kls))
                if mean is not None and mean.value < WARNED_BELOW:
                    low.append(f"{family} {mean.value:+.2f}")
            if low:
                found.append(f"{task}, {name}, by “{used}”: rank correlation on the choosing seeds {', '.join(low)}.")
    return found or ["No regime gets a warning."]


def best_orders(results: Results) -> list[str]:
    """By world and axis, the measure with the largest mean rank correlation, of those that every policy has."""
    lines = []
    for family, runs in results.reported.items():
        parts = []
        for axis in AXES:
            means = {
                m: mean_correlation(correlations(results.groups(runs, axis), m))
                for m in MEASURES
                if m not in (GAIN, LOWER)
            }
            known = {measure: mean for measure, mean in means.items() if mean is not None}
            if known:
                best = max(known, key=lambda measure: known[measure].value)
                parts.append(f"between {AXIS_NAMES.get(axis, axis + 's')} “{best}” ({rank(known[best])})")
        lines.append(f"{family}: of the measures without a check, the true gain is ordered best {', '.join(parts)}.")
    return lines


def strength_rules(results: Results) -> list[str]:
    """Per world: what `choose_strength`, the lower end of the gain, and the used measure do to the default run."""
    lines = []
    for family in results.reported:
        runs, used = default_runs(results, family), results.used(STRENGTH)
        if not runs:
            continue
        rules = [CODE_RULE, LOWER] + ([used] if used not in (None, LOWER) else [])
        parts = [f"“{rule}” {percent(closed(runs, rule))}" for rule in rules]
        text = "share of the gap between the default run and the best of the grid that a strength closes"
        lines.append(f"{family}, {text}: {', '.join(parts)}.")
    return lines


def misleading(results: Results) -> list[str]:
    """Measures that order policies against the true gain, and choices that are worse than no choice."""
    lines = []
    for family, runs in results.reported.items():
        for axis in AXES:
            for name, kls in {"": EVERYWHERE, **BANDS}.items():
                found = {m: mean_correlation(correlations(results.groups(runs, axis), m, kls)) for m in MEASURES}
                against = [f"“{m}” ({rank(one)})" for m, one in found.items() if one is not None and _end(one, 1) < 0]
                if against:
                    between = f"{AXIS_NAMES.get(axis, axis + 's')} {name}".strip()
                    lines.append(f"{family}, between {between}: against the true gain goes {', '.join(against)}.")
        for task in TASKS:
            excess = {rule: paired_excess(results, family, task, rule) for rule in list(rules_of(task))[1:]}
            worse = [f"“{r}” {number(one)}" for r, one in excess.items() if one is not None and _end(one, 0) > 0]
            if worse:
                lines.append(
                    f"{family}, choice of {task}: more gain is lost than by the default, by {'; '.join(worse)}."
                )
    return lines or ["None of the measures is shown to order policies against the true gain."]


def _end(estimate: Estimate, which: int) -> float:
    """An end of the interval; NaN without one, which is neither above nor below zero."""
    return estimate.interval[which] if estimate.interval is not None else float("nan")


def loss_lines(results: Results) -> list[str]:
    """How the held-out squared loss of methods with a temperature orders policies, beside the loss on training rows."""
    lines = []
    for family, runs in results.reported.items():
        some = [run for run in runs if run.points[0]["tau"] is not None]
        for axis in (SETTING, STRENGTH):
            found = {
                m: mean_correlation(correlations(results.groups(some, axis), m))
                for m in (LOSS, TRAINING_LOSS, REWEIGHTED)
            }
            if any(one is not None for one in found.values()):
                parts = [f"“{measure}” {rank(one)}" for measure, one in found.items()]
                lines.append(f"{family}, methods with a temperature, between {AXIS_NAMES[axis]}: {', '.join(parts)}.")
    return lines


def coverage_lines(results: Results) -> list[str]:
    """How often the interval of a printed gain held the true one."""
    lines = []
    for family, runs in results.reported.items():
        for name, (low, high) in BANDS.items():
            found = checks_of([p for run in runs for p in run.points if low <= p["kl"] < high])
            if found.policies:
                refused = share_of(found.policies - found.printed, found.policies)
                held = share_of(found.held, found.printed)
                lines.append(
                    f"{family}, {name}: refused {refused}; the interval of a printed gain held the truth in {held}."
                )
    total = [point for row in results.covered for point in row.curve or ()]
    if total:
        sums = {name: sum(point[name] for point in total) for name in ("covered_enough", "enough")}
        lines.append(
            f"Repeated data sets in the exact world, KL up to {CLOSE:g} nats, effective share of 35 % or more: "
            f"the interval holds the true gain in {share_of(sums['covered_enough'], sums['enough'])}."
        )
    return lines


def world_sections(results: Results) -> list[Section]:
    """A chapter per world."""
    sections = []
    for family in results.reported:
        tables = [correlation_table(results, family), regret_table(results, family)]
        if family != smol.WORLD:
            tables += [correlation_table(results, family, tau=True), regret_table(results, family, tau=True)]
        else:
            tables.insert(0, smollm2_table(results.reported[family], CLOSE))
        plots = [against_truth(results, family), by_strength(results, family)]
        sections.append(Section(f"world-{family}", f"World {family}", tables=tables, plots=plots))
    return sections


def protocol_lines(scale: Scale) -> list[str]:
    """The protocol with the sizes of the study."""
    values: dict[str, Any] = {item.name: getattr(scale, item.name) for item in fields(scale)}
    values |= {"labels": ", ".join(scale.labels), "default": DEFAULT, "close": f"{CLOSE:g}", "own": REWEIGHTED}
    return protocol(Path(__file__), **values)


def make_page(page: Path, results: Results, record: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Write the page, with its figures beside it."""
    sections = [
        Section("short", "In short", items=[*choices(results), *best_orders(results), *strength_rules(results)]),
        Section("misleads", "Where a measure misleads", items=misleading(results)),
        Section("loss", "Does a smaller held-out loss mean a larger gain?", items=loss_lines(results)),
        Section("warnings", "Regimes with a warning", items=warnings(results)),
        Section("method", "How it was done", protocol_lines(results.scale)),
        Section("choosing", "Choice of the measures, on seeds that are not reported", tables=[choosing_table(results)]),
        Section("default", "Strength of the default run", tables=[default_table(results), scales_table(results)]),
        Section(
            "checks", "Interval of the estimated gain", items=coverage_lines(results), tables=[checks_table(results)]
        ),
    ]
    if results.covered:
        tables = [coverage_table(results.covered)]
        sections.append(Section("coverage", "Coverage on repeated data sets in the exact world", tables=tables))
    write_page(page, "Which held-out measure can be trusted?", [*sections, *world_sections(results)], record, rows)
