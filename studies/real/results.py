"""The rows of the study as results: the choice of settings, gains with intervals, comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from studies.harness.cells import Row
from studies.real.cells import SHUFFLED, Group, Setting
from studies.real.methods import METHODS, settings_of
from valuefree.evaluation.stats import Estimate, crossed_mean


def true_score(point: Mapping[str, Any]) -> float:
    """Mean true gain on the validation prompts: a user with a reward function can choose by it."""
    return fmean(point["gains"])


def log_score(point: Mapping[str, Any]) -> float:
    """Ranking accuracy of the logged responses to the validation prompts: no reward function is needed."""
    return point["log"]["ranking_accuracy"]


SCORES = {"reward": true_score, "log": log_score}


@dataclass(frozen=True)
class Choices:
    """The setting of each group, by what it was chosen by: a key of `SCORES`."""

    by: Mapping[str, Mapping[Group, Setting]]

    @classmethod
    def of(cls, groups: Sequence[Group], tuned: Sequence[Row]) -> "Choices":
        """The highest score of each group, the first of equals; a group with one setting has it without a run."""
        by: dict[str, dict[Group, Setting]] = {}
        for name, score in SCORES.items():
            best: dict[Group, tuple[float, Setting]] = {}
            for row in tuned:
                if row.curve and (row.cell.group not in best or score(row.end) > best[row.cell.group][0]):
                    best[row.cell.group] = score(row.end), row.cell.setting
            by[name] = {}
            for group in groups:
                settings = settings_of(METHODS[group[2]])
                if len(settings) == 1:
                    by[name][group] = settings[0]
                elif group in best:
                    by[name][group] = best[group][1]
        return cls(by)

    def settings(self) -> dict[Group, list[Setting]]:
        """All chosen settings of each group."""
        groups = dict.fromkeys(group for chosen in self.by.values() for group in chosen)
        return {group: [chosen[group] for chosen in self.by.values() if group in chosen] for group in groups}


@dataclass(frozen=True)
class Reported:
    """The reported runs of a group at one setting.

    gains: by run and prompt, (R, P), in the order of the rows. shuffled: the same with permuted rewards, or None. The
    others are means over runs.
    """

    group: Group
    setting: Setting
    gains: np.ndarray
    shuffled: np.ndarray | None
    kl: float
    length: float
    distinct: float
    off_task: float
    strength: float | None

    @property
    def gain(self) -> Estimate:
        """Mean, with an interval for other runs on other prompts."""
        return crossed_mean(self.gains)


def reported(rows: Sequence[Row]) -> dict[tuple[Group, Setting], Reported]:
    """The results of the runs that have ended."""
    found: dict[tuple[Group, Setting], dict[str, list[Mapping[str, Any]]]] = {}
    for row in rows:
        if row.curve:
            runs = found.setdefault((row.cell.group, row.cell.setting), {"report": [], SHUFFLED: []})
            runs[row.cell.stage].append(row.end)
    return {key: _averaged(*key, runs["report"], runs[SHUFFLED]) for key, runs in found.items() if runs["report"]}


def _averaged(
    group: Group, setting: Setting, runs: Sequence[Mapping[str, Any]], shuffled: Sequence[Mapping[str, Any]]
) -> Reported:
    strengths = [run["strength"] for run in runs if run.get("strength") is not None]
    return Reported(
        group,
        setting,
        np.array([run["gains"] for run in runs]),
        np.array([run["gains"] for run in shuffled]) if shuffled else None,
        *(fmean(run[name] for run in runs) for name in ("kl", "length", "distinct", "off_task")),
        fmean(strengths) if strengths else None,
    )


def difference(ours: Reported, theirs: Reported) -> Estimate:
    """Mean of the difference of gains, with an interval for other runs on other prompts.

    Runs are paired in their order, which is that of their seeds.
    """
    return _less(ours.gains, theirs.gains)


def within(result: Reported, kl: float) -> np.ndarray:
    """Gains by run and prompt, (R, P), of the policies within a KL to the reference: themselves, or mixed with it.

    A mixture that takes each response from the policy with probability w and from the reference otherwise has w times
    the gain and at most w times the KL (the KL is convex), so w = kl / KL is always within.
    """
    return result.gains * (1.0 if result.kl <= kl else kl / result.kl)


def difference_within(ours: Reported, theirs: Reported) -> Estimate:
    """`difference` at equal KL: the one of the larger KL is taken within the other's."""
    kl = max(0.0, min(ours.kl, theirs.kl))  # an estimate from samples can be below zero
    return _less(within(ours, kl), within(theirs, kl))


def _less(ours: np.ndarray, theirs: np.ndarray) -> Estimate:
    runs = min(len(ours), len(theirs))  # they differ where a study is not finished
    return crossed_mean(ours[:runs] - theirs[:runs])
