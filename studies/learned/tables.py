"""Tables of the study. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from studies.harness.cells import Row
from studies.harness.results import number
from studies.learned.grid import DEFAULT, Scale, default_lr
from studies.learned.measured import MEASURES, WITH_TAU
from studies.learned.results import (
    AXES,
    CLOSE,
    DEFAULT_RULE,
    SETTING,
    STRENGTH,
    TASKS,
    Group,
    Run,
    Unit,
    by_measure,
    checks_of,
    correlations,
    groups_of,
    losses_of,
    mean_correlation,
    mean_regret,
    mean_share,
    rules_of,
)
from valuefree.evaluation.stats import Estimate, t_mean
from valuefree.report import Table

EVERYWHERE, NEAR, FAR = (0.0, float("inf")), (0.0, CLOSE), (CLOSE, float("inf"))
BANDS = {f"below {CLOSE:g} nats": NEAR, f"from {CLOSE:g} nats on": FAR}
AXIS_NAMES = {"checkpoint and learning rate": "checkpoints and learning rates", "strength": "strengths"}


@dataclass(frozen=True)
class Results:
    """Measured runs by family of worlds: those that rules were chosen on, and the reported ones; cells of coverage."""

    choosing: Mapping[str, Sequence[Run]]
    reported: Mapping[str, Sequence[Run]]
    covered: Sequence[Row] = ()
    scale: Scale = field(default_factory=Scale)

    def groups(self, runs: Sequence[Run], task: str) -> dict[Unit, list[Group]]:
        """The choices of a task."""
        lrs = {run.cell.world: default_lr(run.cell.world, self.scale) for run in runs}
        return groups_of(runs, task, lrs, DEFAULT)

    def losses(self, family: str, task: str, rule: str) -> dict[Unit, Any]:
        """What a rule loses on the reported runs of a family, by world and seed."""
        return losses_of(self.groups(self.reported[family], task), rules_of(task)[rule])

    def lost(self, task: str, measure: str) -> dict[str, float]:
        """The share of the best gains that a choice by `measure` loses on the choosing runs, by family."""
        found = {}
        for family, runs in self.choosing.items():
            groups = self.groups(runs, task)
            if groups:
                found[family] = mean_share(losses_of(groups, by_measure(measure)))
        return found

    def used(self, task: str) -> str | None:
        """The measure with the smallest mean share lost on the choosing runs; None without such runs."""
        lost = {measure: self.lost(task, measure) for measure in MEASURES}
        means = {measure: fmean(shares.values()) for measure, shares in lost.items() if shares}
        return min(means, key=lambda measure: means[measure]) if means else None


def percent(share: float) -> str:
    """``12 %``; a dash for NaN."""
    return "–" if share != share else f"{100 * share:.0f} %"


def correlation_table(results: Results, family: str, *, tau: bool = False) -> Table:
    """Rank correlations with the true gain, on the reported runs. tau: only methods with a temperature."""
    runs = [run for run in results.reported[family] if not tau or run.points[0]["tau"] is not None]
    columns = [(axis, EVERYWHERE) for axis in AXES if not tau or axis != "method"]
    columns += [(axis, kls) for axis in (SETTING, STRENGTH) for kls in (NEAR, FAR)]
    names = {EVERYWHERE: "", NEAR: f", below {CLOSE:g} nats", FAR: f", from {CLOSE:g} nats on"}
    head = ["measure", *(f"between {AXIS_NAMES.get(axis, axis + 's')}{names[kls]}" for axis, kls in columns)]
    lines = []
    for measure in (*MEASURES, *WITH_TAU) if tau else MEASURES:
        found = [mean_correlation(correlations(results.groups(runs, axis), measure, kls)) for axis, kls in columns]
        lines.append([measure, *(rank(one) for one in found)])
    title = "Rank correlation with the true gain"
    return Table(title + (", methods with a temperature" if tau else ""), head, lines)


def rank(estimate: Estimate | None) -> str:
    """``.82 [.74, .90]``, in two digits."""
    if estimate is None:
        return "–"
    text = f"{estimate.value:+.2f}"
    return text if estimate.interval is None else f"{text} [{estimate.interval[0]:+.2f}, {estimate.interval[1]:+.2f}]"


def regret_table(results: Results, family: str, *, tau: bool = False) -> Table:
    """Regret of each rule for each kind of choice, with the share of the best gain that is lost."""
    runs = [run for run in results.reported[family] if not tau or run.points[0]["tau"] is not None]
    tasks = {
        task: groups for task in TASKS if (groups := results.groups(runs, task)) and not (tau and task == "method")
    }
    measures = (*MEASURES, *WITH_TAU) if tau else MEASURES
    names = list(dict.fromkeys(name for task in tasks for name in rules_of(task, measures)))
    lines = []
    for name in names:
        line = [name]
        for task, groups in tasks.items():
            rule = rules_of(task, measures).get(name)
            losses = None if rule is None else losses_of(groups, rule)
            line.append("–" if losses is None else f"{number(mean_regret(losses))} ({percent(mean_share(losses))})")
        lines.append(line)
    title = "Regret of a choice: true gain lost, and its share of the best gain"
    return Table(title + (", methods with a temperature" if tau else ""), ["rule", *tasks], lines)


def choosing_table(results: Results) -> Table:
    """The share of the best gain that each measure loses on the seeds that rules are chosen on."""
    head = ["measure", *TASKS]
    used = {task: results.used(task) for task in TASKS}
    lines = []
    for measure in MEASURES:
        line = [measure]
        for task in TASKS:
            shares = results.lost(task, measure)
            text = ", ".join(f"{family} {percent(share)}" for family, share in shares.items())
            line.append((text or "–") + (" (used)" if used[task] == measure else ""))
        lines.append(line)
    return Table("", head, lines, "By kind of choice. The measure with the smallest mean of the worlds is used.")


def checks_table(results: Results) -> Table:
    """What the checks refuse, and how often the interval of a printed gain holds the true one."""
    head = ["world", "KL", "policies", "refused: effective sample size", "refused: mean weight", "gain printed"]
    head += ["interval holds the true gain", "the same, paired by prompt", "held if none were refused"]
    lines = []
    for family, runs in results.reported.items():
        points = [point for run in runs for point in run.points]
        for name, (low, high) in BANDS.items():
            found = checks_of([point for point in points if low <= point["kl"] < high])
            counts = [found.policies, found.few, found.mean_weight, found.printed]
            held = [share_of(found.held, found.printed), share_of(found.paired, found.printed)]
            lines.append([family, name, *map(str, counts), *held, share_of(found.held_all, found.policies)])
    return Table(
        "", head, lines, "Policies of one seed share their report rows, so that their outcomes are not independent."
    )


def share_of(part: int, whole: int) -> str:
    """``93 % (14 of 15)``."""
    return f"{part / whole:.1%} ({part} of {whole})" if whole else "–"


def coverage_table(covered: Sequence[Row]) -> Table:
    """Coverage of the nominal 95 % interval, policies and worlds pooled by number of prompts and KL."""
    head = [
        "prompts",
        "KL",
        "data sets",
        "effective share of 35 % or more",
        "half-width",
        "interval holds the true gain",
    ]
    head += ["truth below the interval", "truth above it", "holds it where all checks pass", "where none is refused"]
    lines = []
    for prompts, kl in sorted({(row.cell.prompts, point["kl"]) for row in covered for point in row.curve or ()}):
        points = [p for row in covered if row.cell.prompts == prompts for p in row.curve or () if p["kl"] == kl]
        total = {name: sum(point[name] for point in points) for name in points[0] if name not in ("policy", "truth")}
        line = [str(prompts), f"{kl:g}", str(total["data_sets"]), share_of(total["enough"], total["data_sets"])]
        line += [f"{fmean(point['half_width'] for point in points):.3f}"]
        line += [share_of(total[name], total["enough"]) for name in ("covered_enough", "above_enough", "below_enough")]
        line += [share_of(total["covered_printed"], total["printed"]), share_of(total["covered"], total["data_sets"])]
        lines.append(line)
    return Table("", head, lines)


def paired_excess(results: Results, family: str, task: str, rule: str) -> Estimate | None:
    """Regret of `rule` less that of the default, paired by world and seed."""
    ours, default = (results.losses(family, task, name) for name in (rule, DEFAULT_RULE))
    return t_mean([ours[unit].regret - default[unit].regret for unit in ours]) if ours else None
