"""The results of a study, world by world, and the tables and sentences that every study makes of them. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any

from studies.harness.controls import DIGITS, REMOVES, removes_all
from valuefree.evaluation.stats import Estimate, t_mean
from valuefree.report import Table

EMPTY = "–"
DAGGER = "A dagger (†) marks a signed number whose 95 % interval excludes zero, to the digits shown"
GAIN = "gain"  # the measure that controls are compared in: reward above the reference's
Values = Mapping[int, float]  # of a measure, by seed
Setting = Mapping[str, tuple[float, Sequence[float]]]  # by axis: the chosen value, and all that were tried


def sign(estimate: Estimate | None) -> int:
    """+1 or −1 where the interval excludes zero as it is printed, else 0."""
    if estimate is None or estimate.interval is None:
        return 0
    low, high = (round(end, DIGITS) for end in estimate.interval)
    return 1 if low > 0 else -1 if high < 0 else 0


def mean_of(values: Values) -> Estimate | None:
    """The mean over seeds with Student's 95 % interval; None without a seed."""
    return t_mean(list(values.values())) if values else None


def difference(ours: Values, theirs: Values) -> Estimate | None:
    """The mean of ours − theirs over the seeds that have both; None without any."""
    return mean_of({seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs})


def number(estimate: Estimate | None, *, signed: bool = False, seeds: int | None = None) -> str:
    """A mean with its interval, a dagger where a signed one excludes zero, and its n where that is not `seeds`."""
    if estimate is None:
        return EMPTY
    form = f"{'+' if signed else ''}.{DIGITS}f"
    text = f"{estimate.value:{form}}"
    if estimate.interval is not None:
        text += f" [{estimate.interval[0]:{form}}, {estimate.interval[1]:{form}}]"
    text += "†" if signed and sign(estimate) else ""
    return text if seeds in (None, estimate.n) else f"{text} ({estimate.n} of {seeds} seeds)"


def first_at(points: Iterable[tuple[float, Any]], kl: float, *, root: bool) -> Any | None:
    """Value where a curve of (KL, value), a float or an array, first reaches `kl`; None if it never does.

    Between points it is linear in the KL or, with `root`, in its square root: near the reference the best gain at a KL
    of d nats is σ√(2d), σ the reward's standard deviation under the reference.
    """
    power = 0.5 if root else 1.0
    for (low, before), (high, after) in pairwise(points):
        if low <= kl <= high and high > low:
            return before + (kl**power - low**power) / (high**power - low**power) * (after - before)
    return None


def edge_of(value: float, tried: Sequence[float]) -> str | None:
    """``lowest`` or ``highest`` where `value` is the first or the last of several that were tried."""
    if len(set(tried)) < 2:
        return None
    return "lowest" if value == min(tried) else "highest" if value == max(tried) else None


def setting_text(setting: Setting) -> str:
    """The value on each axis, with an asterisk at an edge."""
    return ", ".join(
        f"{axis} {value:g}{'*' if edge_of(value, tried) else ''}" for axis, (value, tried) in setting.items()
    )


@dataclass(frozen=True)
class World:
    """The results of the methods in one world.

    measures: by method and permutation of the rewards (None: the true rewards) the measures of each seed, by name;
    a seed may lack a measure. settings: of each method that has results.
    """

    title: str
    methods: Sequence[str]
    measures: Mapping[tuple[str, str | None], Mapping[int, Mapping[str, float]]]
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def values(self, method: str, measure: str, control: str | None = None) -> dict[int, float]:
        """The seeds that have the measure."""
        runs = self.measures.get((method, control), {})
        return {seed: found[measure] for seed, found in sorted(runs.items()) if measure in found}

    def mean(self, method: str, measure: str, form: str) -> str:
        """The plain mean over seeds, formatted."""
        values = self.values(method, measure)
        return format(fmean(values.values()), form) if values else EMPTY

    def estimate(self, method: str, measure: str) -> Estimate | None:
        """The mean over seeds with its interval."""
        return mean_of(self.values(method, measure))

    def difference(self, method: str, other: str, measure: str) -> Estimate | None:
        """`method` less `other`, paired by seed."""
        return difference(self.values(method, measure), self.values(other, measure))

    def controlled(self, method: str, control: str) -> tuple[Estimate, Estimate, Estimate] | None:
        """The gain with true rewards, that after the permutation, and their difference, over the seeds with both."""
        true, permuted = self.values(method, GAIN), self.values(method, GAIN, control)
        both = true.keys() & permuted.keys()
        found = [mean_of({s: v for s, v in gains.items() if s in both}) for gains in (true, permuted)]
        if found[0] is None or found[1] is None:
            return None
        return found[0], found[1], t_mean([true[seed] - permuted[seed] for seed in sorted(both)])

    @property
    def controls(self) -> list[str]:
        """The permutations that were run here."""
        return [control for control in REMOVES if any(control == key[1] for key in self.measures)]


def unused(world: World, control: str) -> list[str]:
    """Methods whose true gain less that after the permutation is not distinguishable from zero; see `UNUSED`."""
    named = []
    for method in world.methods:
        found = world.controlled(method, control)
        if found is None or found[2].n < 2:
            continue
        true, permuted, lost = found
        if round(lost.value, DIGITS) == 0 if lost.interval is None else not sign(lost):
            named.append(f"{method} (gain {true.value:+.3f}, permuted {permuted.value:+.3f})")
    return named


def unused_lines(worlds: Iterable[World]) -> list[str]:
    """For every world the methods that did not detectably use the rewards, or the order of a prompt's responses."""
    lines = []
    for world in worlds:
        parts = []
        if everything := removes_all(world.controls):
            parts.append(f"did not detectably use the rewards: {', '.join(unused(world, everything)) or 'none'}")
        if "within" in world.controls:
            parts.append(
                "did not detectably use what distinguishes a prompt's responses: "
                f"{', '.join(unused(world, 'within')) or 'none'}"
            )
        lines += [f"{world.title}: {'; '.join(parts)}."] if parts else []
    return lines


def control_table(world: World) -> Table:
    """Per method: the gain with true rewards, and for each permutation the gain after it and the difference."""
    head = ["method", "gain"]
    for control in world.controls:
        head += [f"permuted {control}", f"true minus {control}"]
    lines = []
    for method in world.methods:
        found = [world.controlled(method, control) for control in world.controls]
        true = next((one[0] for one in found if one is not None), None)
        if true is None:
            continue
        line = [method, number(true, signed=True)]
        for one in found:
            line += [number(part, signed=True) for part in (one[1:] if one is not None else (None, None))]
        lines.append(line)
    return Table("Gains with true and with permuted rewards", head, lines)


def record_against(default: str, other: str, differences: Mapping[str, Estimate | None]) -> tuple[int, int, str]:
    """Losses, wins and a sentence on `default` less `other` by place; larger is better. None: not comparable there."""
    known = {place: one for place, one in differences.items() if one is not None}
    places = {outcome: [place for place, one in known.items() if sign(one) == outcome] for outcome in (-1, 1)}
    losses, wins = len(places[-1]), len(places[1])
    text = f"{default} against {other}: {losses} losses, {wins} wins, {len(known) - losses - wins} undecided"
    missing = len(differences) - len(known)
    text += f", {missing} not comparable" if missing else ""
    for name, outcome in (("Losses", -1), ("Wins", 1)):
        named = "; ".join(f"{place} {number(known[place], signed=True).rstrip('†')}" for place in places[outcome])
        text += f". {name}: {named}" if named else ""
    return losses, wins, f"{text}."


def records(
    worlds: Sequence[World], default: str, measures: Mapping[str, str], families: Mapping[str, str]
) -> dict[str, list[str]]:
    """`record_against` of every other method over all worlds and measures, by heading; most losses first.

    Args:
        measures: by the name of a place in a world, "" for the world as a whole. A measure that begins with "-" is
            better when it is lower. families: of the methods; variants of the default's own come apart.
    """
    every = [method for method in dict.fromkeys(m for world in worlds for m in world.methods) if method != default]
    own = [method for method in every if families[method] == families[default]]
    others = [method for method in every if method not in own]
    kinds = len({families[method] for method in others})
    groups = {f"{kinds} other methods ({len(others)} rows)": others, f"{len(own)} variants of {families[default]}": own}
    result = {}
    for heading, methods in groups.items():
        found = []
        for method in methods:
            differences = {}
            for world in worlds:
                for place, measure in measures.items():
                    pair = (method, default) if measure.startswith("-") else (default, method)
                    one = world.difference(*pair, measure.removeprefix("-"))
                    differences[f"{world.title}{place}"] = one if one is not None and one.interval is not None else None
            found.append(record_against(default, method, differences))
        result[heading] = [text for *_, text in sorted(found, key=lambda one: (-one[0], one[1]))]
    return {heading: lines for heading, lines in result.items() if lines}


def edges(worlds: Iterable[World]) -> list[str]:
    """For each world and edge the methods whose choice lies there: a better setting may lie beyond."""
    lines = []
    for world in worlds:
        named: dict[str, list[str]] = {}
        for method, setting in world.settings.items():
            for axis, (value, tried) in setting.items():
                if edge := edge_of(value, tried):
                    named.setdefault(f"{edge} {axis}", []).append(f"{method} ({value:g})")
        lines += [f"{world.title}, {place}: {', '.join(found)}" for place, found in sorted(named.items())]
    return lines or ["None."]
