"""What runs amount to: reward at a matched KL, the choice of settings, and differences paired on seeds. No torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from valuefree.evaluation.stats import t_mean
from valuefree.study.small.cells import Row
from valuefree.study.small.scale import KLS

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
        """+1 or −1 when the interval excludes zero, else 0."""
        if self.interval is None:
            return 0
        return 1 if self.interval[0] > 0 else -1 if self.interval[1] < 0 else 0

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


def reward_within(curve: Curve, kl: float) -> float:
    """Reward where the run first reaches `kl`; of its last checkpoint when it never does."""
    found = reward_at(curve, kl)
    return curve[-1]["reward"] if found is None else found


def gain(curve: Curve) -> float:
    """Mean of `reward_within` over `KLS`, less the reward of the untouched reference on the same prompts."""
    return sum(reward_within(curve, kl) for kl in KLS) / len(KLS) - curve[0]["reward"]


def choose(rows: Sequence[Row]) -> dict[Group, tuple[float, float | None]]:
    """Of every group the (learning rate, strength) with the highest mean gain over the tuning seeds.

    A setting of which any run failed is not chosen; a group of which all settings failed is left out. Of equals the
    first in the order of the rows.
    """
    gains: dict[Group, dict[tuple[float, float | None], list[float]]] = {}
    for row in rows:
        settings = gains.setdefault(row.cell.group, {})
        value = gain(row.curve) if row.curve is not None else -math.inf
        settings.setdefault((row.cell.lr, row.cell.strength), []).append(value)
    best: dict[Group, tuple[float, float | None]] = {}
    for group, settings in gains.items():
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
    """Gains with true and with shuffled rewards, and their difference, over the seeds of the control."""

    true: Paired
    shuffled: Paired
    difference: Paired

    @property
    def survives(self) -> bool:
        """The shuffled gain has its interval above zero and is at least half of the true one: rewards went unused."""
        return self.shuffled.sign > 0 and self.shuffled.value >= 0.5 * self.true.value

    @property
    def used(self) -> bool:
        """The true gain exceeds the shuffled one with an interval above zero, and the latter does not survive."""
        return self.difference.sign > 0 and not self.survives


def control_of(rows: Sequence[Row], group: Group) -> Control | None:
    """The control of a group, on the seeds that have both runs; None without any."""
    true, shuffled = by_seed(rows, group, "report"), by_seed(rows, group, "control")
    seeds = sorted(true.keys() & shuffled.keys())
    ours = {seed: gain(true[seed]) for seed in seeds}
    theirs = {seed: gain(shuffled[seed]) for seed in seeds}
    true_gain, shuffled_gain = mean_over(list(ours.values())), mean_over(list(theirs.values()))
    between = difference(dict(ours), dict(theirs))
    if true_gain is None or shuffled_gain is None or between is None:
        return None
    return Control(true_gain, shuffled_gain, between)
