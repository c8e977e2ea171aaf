"""What runs amount to: reward at a matched KL, the choice of settings, and differences paired on seeds. No torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from studies.harness.controls import includes_zero, sign
from studies.small.cells import CONTROL, Row
from studies.small.scale import KLS
from valuefree.evaluation.stats import t_mean

Curve = Sequence[Mapping[str, Any]]
Group = tuple[str, str, str]


@dataclass(frozen=True)
class Paired:
    """A mean over n seeds with its 95 % interval, by Student's t; the interval is None where n < 2."""

    value: float
    interval: tuple[float, float] | None
    n: int

    @property
    def sign(self) -> int:
        """+1 or −1 when the interval excludes zero as it is printed, else 0."""
        return sign(self.interval)

    def to_dict(self) -> dict[str, Any]:
        """Value, interval and n."""
        return asdict(self)


def mean_over(values: Sequence[float]) -> Paired | None:
    """`Paired` of one value per seed; None of none."""
    if not values:
        return None
    found = t_mean(values)
    return Paired(found.value, found.interval, found.n)


def reward_at(curve: Curve, kl: float) -> float | None:
    """Reward where the run first reaches `kl`, linear between its checkpoints; None when it never does.

    Between two policies this is what their mixture earns, whose KL is at most the one interpolated.
    """
    for before, after in pairwise(curve):
        if before["kl"] <= kl <= after["kl"] and after["kl"] > before["kl"]:
            share = (kl - before["kl"]) / (after["kl"] - before["kl"])
            return before["reward"] + share * (after["reward"] - before["reward"])
    return None


def end_gain(curve: Curve) -> float:
    """Reward where the run ends less that of the reference on the same prompts."""
    return curve[-1]["reward"] - curve[0]["reward"]


def score(curve: Curve) -> float:
    """What tuning maximises: the mean over `KLS` of the reward there less that of the reference.

    A level that the run never reaches counts as no gain, or as the loss where the run ends below the reference: no run
    is credited with a reward at a KL that it does not have.
    """
    missed = min(0.0, end_gain(curve))
    rewards = [reward_at(curve, kl) for kl in KLS]
    return sum(missed if reward is None else reward - curve[0]["reward"] for reward in rewards) / len(KLS)


def choose(rows: Sequence[Row]) -> dict[Group, tuple[float, float | None]]:
    """Of every group the (learning rate, strength) with the highest mean `score` over the tuning seeds.

    A setting of which any run failed is not chosen; a group of which all settings failed is left out. Of equals the
    first in the order of the rows.
    """
    scores: dict[Group, dict[tuple[float, float | None], list[float]]] = {}
    for row in rows:
        settings = scores.setdefault(row.cell.group, {})
        value = score(row.curve) if row.curve is not None else -math.inf
        settings.setdefault((row.cell.lr, row.cell.strength), []).append(value)
    best: dict[Group, tuple[float, float | None]] = {}
    for group, settings in scores.items():
        setting = max(settings, key=lambda name: sum(settings[name]) / len(settings[name]))
        if math.isfinite(sum(settings[setting])):
            best[group] = setting
    return best


def by_seed(rows: Sequence[Row], group: Group, stage: str) -> dict[int, Curve]:
    """Curves of a group's runs that did not fail."""
    found = {row.cell.seed: row.curve for row in rows if row.cell.group == group and row.cell.stage == stage}
    return {seed: curve for seed, curve in sorted(found.items()) if curve is not None}


def difference(ours: Mapping[int, float | None], theirs: Mapping[int, float | None]) -> Paired | None:
    """Ours − theirs over the seeds where both have a value; None without any."""
    pairs = [(value, theirs.get(seed)) for seed, value in ours.items()]
    return mean_over([one - two for one, two in pairs if one is not None and two is not None])


def rewards_at(curves: Mapping[int, Curve], kl: float) -> dict[int, float | None]:
    """`reward_at` of each seed."""
    return {seed: reward_at(curve, kl) for seed, curve in curves.items()}


@dataclass(frozen=True)
class Control:
    """Gains at the end of runs with true and with permuted rewards, and their difference, over the control's seeds."""

    true: Paired
    permuted: Paired
    difference: Paired

    @property
    def used(self) -> bool | None:
        """Whether the difference excludes zero, by its interval; None for one seed."""
        found = self.difference
        return None if found.n < 2 else not includes_zero(found.value, found.interval)


def control_of(rows: Sequence[Row], group: Group, control: str) -> Control | None:
    """A control of a group, on the seeds that have both runs; None without any."""
    true, permuted = by_seed(rows, group, "report"), by_seed(rows, group, CONTROL + control)
    seeds = sorted(true.keys() & permuted.keys())
    ours = {seed: end_gain(true[seed]) for seed in seeds}
    theirs = {seed: end_gain(permuted[seed]) for seed in seeds}
    true_gain, permuted_gain = mean_over(list(ours.values())), mean_over(list(theirs.values()))
    between = difference(dict(ours), dict(theirs))
    if true_gain is None or permuted_gain is None or between is None:
        return None
    return Control(true_gain, permuted_gain, between)
