"""How well measures on held-out rows order policies by their true gain, and what a choice by them loses. No torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import rankdata

from studies.learned.cells import Cell
from studies.learned.measured import MEASURES
from valuefree.evaluation.stats import Estimate, t_mean

CLOSE = 0.5  # nats per response, up to which a policy counts as near its reference
CHECKPOINT, LR, SETTING, STRENGTH, METHOD = (
    "checkpoint",
    "learning rate",
    "checkpoint and learning rate",
    "strength",
    "method",
)
TASKS = (CHECKPOINT, LR, SETTING, STRENGTH, METHOD)
AXES = (SETTING, STRENGTH, METHOD)  # along which rank correlations are reported
DEFAULT_RULE, CODE_RULE = "keep the default", "choose_strength"
Unit = tuple[str, int]  # a world and a seed


@dataclass(frozen=True)
class Run:
    """A run with its measured points, which are those of `studies.learned.measured.measured_curve`."""

    cell: Cell
    points: Sequence[Mapping[str, Any]]

    @property
    def ends(self) -> list[Mapping[str, Any]]:
        """The points after the last step, one per strength."""
        last = max(point["step"] for point in self.points)
        return [point for point in self.points if point["step"] == last]

    @property
    def as_trained(self) -> list[Mapping[str, Any]]:
        """The points at strength 1, one per checkpoint."""
        return [point for point in self.points if point["scale"] == 1.0]


@dataclass(frozen=True)
class Candidate:
    """A policy that can be chosen. default: it is what is used without a choice."""

    run: Run
    point: Mapping[str, Any]
    default: bool


Group = Sequence[Candidate]
Pick = Callable[[Group, int], Candidate]  # chooses by one half of the prompts


def groups_of(runs: Sequence[Run], task: str, lrs: Mapping[str, float], method: str) -> dict[Unit, list[Group]]:
    """The choices of a task in each world and seed, those with at least two candidates.

    Runs on shuffled rewards are left out.

    Args:
        lrs: the default learning rate by world. method: label of the default method.
    """
    found: dict[Unit, dict[Any, list[Candidate]]] = {}
    for run in runs:
        cell = run.cell
        if cell.shuffled:
            continue
        last = run.ends[0]["step"]
        keys = {LR: cell.label, SETTING: cell.label, METHOD: cell.lr}
        for point in run.ends if task == STRENGTH else run.as_trained:
            if task in (LR, METHOD) and point["step"] < last:
                continue
            at_lr = cell.lr == lrs[cell.world] or task not in (LR, SETTING)
            default = point["scale"] == 1.0 and point["step"] == last and at_lr
            default = default and (task != METHOD or cell.label == method)
            group = keys.get(task, cell.name)
            found.setdefault((cell.world, cell.seed), {}).setdefault(group, []).append(Candidate(run, point, default))
    several: dict[Unit, list[Group]] = {
        unit: [group for group in groups.values() if len(group) > 1] for unit, groups in found.items()
    }
    return {unit: groups for unit, groups in several.items() if groups}


def the_default(group: Group) -> Candidate:
    """The candidate without a choice; the first if none is marked."""
    return next((candidate for candidate in group if candidate.default), group[0])


def by_measure(name: str) -> Pick:
    """The candidate with the largest value on a half; the default on a tie, and where no candidate has a value."""

    def pick(group: Group, half: int) -> Candidate:
        valued = [one for one in group if one.point["halves"][half].get(name) is not None]
        best = max(valued, key=lambda one: (one.point["halves"][half][name], one.default), default=None)
        return the_default(group) if best is None else best

    return pick


def by_code(group: Group, half: int) -> Candidate:
    """The strength that `choose_strength` takes."""
    scale = group[0].run.points[0]["chosen"][half]
    return next(candidate for candidate in group if candidate.point["scale"] == scale)


def rules_of(task: str, measures: Sequence[str] = MEASURES) -> dict[str, Pick]:
    """The rules of a task: the default, each measure, and for a strength what the package does."""
    rules: dict[str, Pick] = {DEFAULT_RULE: lambda group, half: the_default(group)}
    if task == STRENGTH:
        rules[CODE_RULE] = by_code
    return rules | {name: by_measure(name) for name in measures}


@dataclass(frozen=True)
class Loss:
    """What a choice loses: gain of the best candidate less that of the chosen one, and the gain of the best."""

    regret: float
    best: float

    @property
    def share(self) -> float:
        """The share of the best gain that is lost."""
        return self.regret / self.best if self.best > 0 else float("nan")


def loss_of(group: Group, pick: Pick) -> Loss:
    """Chosen on one half of the prompts, measured by the true gain on the other half; mean of both directions."""
    regrets, bests = [], []
    for half in (0, 1):
        best = max(candidate.point["half_gains"][half] for candidate in group)
        regrets.append(best - pick(group, half).point["half_gains"][half])
        bests.append(best)
    return Loss(fmean(regrets), fmean(bests))


def losses_of(groups: Mapping[Unit, Sequence[Group]], pick: Pick) -> dict[Unit, Loss]:
    """By world and seed the means over the groups."""
    found = {}
    for unit, several in groups.items():
        losses = [loss_of(group, pick) for group in several]
        found[unit] = Loss(fmean(loss.regret for loss in losses), fmean(loss.best for loss in losses))
    return found


def mean_regret(losses: Mapping[Unit, Loss]) -> Estimate | None:
    """Mean over worlds and seeds, with Student's interval."""
    return t_mean([loss.regret for loss in losses.values()]) if losses else None


def mean_share(losses: Mapping[Unit, Loss]) -> float:
    """The share of the best gains that is lost, all worlds and seeds together."""
    best = sum(loss.best for loss in losses.values())
    return sum(loss.regret for loss in losses.values()) / best if best > 0 else float("nan")


def spearman(values: Sequence[float], truth: Sequence[float]) -> float | None:
    """Rank correlation; 0 where the values are all equal, None where the truths are, and below three points."""
    if len(values) < 3 or np.ptp(truth) == 0:
        return None
    if np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(values), rankdata(truth))[0, 1])


def correlations(
    groups: Mapping[Unit, Sequence[Group]], measure: str, kls: tuple[float, float] = (0.0, float("inf"))
) -> dict[Unit, float]:
    """By world and seed the mean over groups of the rank correlation of a measure with the true gain.

    Both are of all report prompts. Of a group, the candidates count whose KL is in `kls` and that have the measure.
    """
    found = {}
    for unit, several in groups.items():
        values = []
        for group in several:
            points = [one.point for one in group if kls[0] <= one.point["kl"] < kls[1]]
            points = [point for point in points if point["whole"].get(measure) is not None]
            value = spearman([point["whole"][measure] for point in points], [point["gain"] for point in points])
            values += [] if value is None else [value]
        if values:
            found[unit] = fmean(values)
    return found


def mean_correlation(found: Mapping[Unit, float]) -> Estimate | None:
    """Mean over worlds and seeds, with Student's interval."""
    return t_mean(list(found.values())) if found else None


@dataclass(frozen=True)
class Checks:
    """Counts over policies: what the checks refused, and whether the interval of the gain held the truth."""

    policies: int
    few: int  # refused for a small effective sample size
    mean_weight: int  # refused because the interval of the mean weight excludes 1
    printed: int
    held: int  # of those printed, with the truth's own error
    paired: int  # of those printed, the interval of the difference paired by prompt holds 0
    held_all: int  # of all, as if none were refused


def checks_of(points: Sequence[Mapping[str, Any]]) -> Checks:
    """The counts of some points."""
    printed = [point for point in points if point["refused"] is None]
    return Checks(
        policies=len(points),
        few=sum(point["refused"] == "share" for point in points),
        mean_weight=sum(point["refused"] == "mean weight" for point in points),
        printed=len(printed),
        held=sum(point["joint"] for point in printed),
        paired=sum(point["paired"] for point in printed),
        held_all=sum(point["joint"] for point in points),
    )
