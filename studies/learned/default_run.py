"""The default run: how much of what it lacks to the best of the grid a choice of its strength adds. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from studies.harness.results import number
from studies.learned.grid import DEFAULT, default_lr
from studies.learned.results import STRENGTH, Candidate, Pick, Run, rules_of
from studies.learned.tables import Results, percent
from valuefree.evaluation.stats import t_mean
from valuefree.report import Table


@dataclass(frozen=True)
class DefaultRun:
    """True gains of a world and seed, means of both halves: of the default run, and of what might replace it."""

    default: float
    chosen: dict[str, float]  # by rule of the strength
    best_strength: float
    best_of_grid: float


def default_runs(results: Results, family: str) -> list[DefaultRun]:
    """One per world and seed."""
    runs = [run for run in results.reported[family] if not run.cell.shuffled]
    found = []
    for run in runs:
        cell = run.cell
        if cell.label != DEFAULT or cell.lr != default_lr(cell.world, results.scale):
            continue
        beside = [other for other in runs if (other.cell.world, other.cell.seed) == (cell.world, cell.seed)]
        found.append(_default_run(run, beside))
    return found


def _default_run(run: Run, beside: Sequence[Run]) -> DefaultRun:
    group = [Candidate(run, point, point["scale"] == 1.0) for point in run.ends]
    every = [point for other in beside for point in other.points]

    def gain(pick: Pick) -> float:
        return fmean(pick(group, half).point["half_gains"][half] for half in (0, 1))

    return DefaultRun(
        default=fmean(next(one for one in group if one.default).point["half_gains"]),
        chosen={name: gain(rule) for name, rule in rules_of(STRENGTH).items()},
        best_strength=fmean(max(one.point["half_gains"][half] for one in group) for half in (0, 1)),
        best_of_grid=fmean(max(point["half_gains"][half] for point in every) for half in (0, 1)),
    )


def closed(runs: Sequence[DefaultRun], rule: str) -> float:
    """The share of the gap between the default runs and the best of their grids that a rule closes."""
    gap = sum(run.best_of_grid - run.default for run in runs)
    return sum(run.chosen[rule] - run.default for run in runs) / gap if gap > 0 else float("nan")


def default_table(results: Results) -> Table:
    """By world: gains, and the share of the gap that each rule closes."""
    rules = list(rules_of(STRENGTH))
    head = ["world", "gain of the default run", "of its best strength", "of the best of the grid"]
    lines = []
    for family in results.reported:
        runs = default_runs(results, family)
        if not runs:
            continue
        gains = [[run.default for run in runs], [run.best_strength for run in runs], [run.best_of_grid for run in runs]]
        line = [family, *(number(t_mean(values)) for values in gains)]
        gap = sum(run.best_of_grid - run.default for run in runs)
        best = sum(run.best_strength - run.default for run in runs)
        line += [percent(best / gap if gap > 0 else float("nan"))]
        line += [percent(closed(runs, rule)) for rule in rules[1:]]
        lines.append(line)
    head += ["share of the gap closed by the best strength", *(f"by {rule}" for rule in rules[1:])]
    return Table("", head, lines, "A negative share: the chosen strength has a smaller true gain than strength 1.")


def scales_table(results: Results) -> Table:
    """Mean strengths that the rules take, and that with the largest true gain, over all reported runs."""
    rules = list(rules_of(STRENGTH).items())[1:]
    lines = []
    for family, runs in results.reported.items():
        groups = [group for several in results.groups(runs, STRENGTH).values() for group in several]
        if not groups:
            continue
        halves = [(group, half) for group in groups for half in (0, 1)]
        best = fmean(max(g, key=lambda one: one.point["half_gains"][h]).point["scale"] for g, h in halves)
        taken = [fmean(rule(g, h).point["scale"] for g, h in halves) for _, rule in rules]
        lines.append([family, f"{best:.2f}", *(f"{scale:.2f}" for scale in taken)])
    return Table("Mean strength taken", ["world", "with the largest true gain", *(name for name, _ in rules)], lines)


def smollm2_table(runs: Sequence[Run], close: float) -> Table:
    """The policies near their reference: estimated and true gain, and whether they agree."""
    head = ["run", "seed", "strength", "KL", "estimated gain", "half-width", "true gain", "agree", "checks"]
    lines = []
    for run in sorted(runs, key=lambda run: (run.cell.shuffled, run.cell.label, run.cell.lr, run.cell.seed)):
        cell = run.cell
        for point in run.points:
            if point["kl"] >= close:
                continue
            _, low, high = point["estimate"]
            title = f"{cell.label}, lr {cell.lr:g}{', rewards shuffled' if cell.shuffled else ''}"
            line = [title, str(cell.seed), f"{point['scale']:g}", f"{point['kl']:.2f}", interval(point["estimate"])]
            line += [f"{(high - low) / 2:.3f}", interval(point["truth"]), "yes" if point["joint"] else "no"]
            lines.append([*line, "passed" if point["refused"] is None else f"refused: {point['refused']}"])
    note = "Agree: the true gain lies in the interval of the estimate, widened by the error of the true gain."
    return Table(f"Policies below {close:g} nats", head, lines, note)


def interval(triple: Sequence[float]) -> str:
    """``+0.055 [+0.012, +0.101]``."""
    return f"{triple[0]:+.3f} [{triple[1]:+.3f}, {triple[2]:+.3f}]"
