"""Rows as tables: files for machines, Markdown for people. No torch."""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import Any

from studies.harness.controls import REMOVES
from studies.small.cells import Row
from studies.small.files import write_text
from studies.small.frontier import (
    Control,
    Curve,
    Group,
    Paired,
    by_seed,
    control_of,
    difference,
    end_gain,
    mean_over,
    rewards_at,
    score,
)
from studies.small.scale import KLS, Scale

DEFAULT, BASELINE = "rpo-untouched", "sft-all"  # what every method is compared with
UNTOUCHED = "-untouched"  # what names of objectives as shipped end with
Setting = tuple[float, float | None]  # learning rate, strength
EMPTY = "–"


@dataclass(frozen=True)
class World:
    """All runs of one kind of model and regime, as the tables look at them."""

    kind: str
    regime: str
    methods: tuple[str, ...]
    rows: Sequence[Row]

    @property
    def title(self) -> str:
        """For headings."""
        return f"{'T5' if self.kind == 't5' else 'decoder'}, {self.regime}-policy"

    def group(self, method: str) -> Group:
        """Of a method here."""
        return self.kind, self.regime, method

    @cached_property
    def curves(self) -> dict[str, dict[int, Curve]]:
        """By method and seed, of the reported runs that did not fail."""
        return {method: by_seed(self.rows, self.group(method), "report") for method in self.methods}

    def against(self, method: str, other: str, kl: float) -> Paired | None:
        """Reward of `method` less that of `other` at a matched KL, over the seeds where both reach it."""
        if other not in self.curves:
            return None
        return difference(rewards_at(self.curves[method], kl), rewards_at(self.curves[other], kl))

    def end_against(self, method: str, other: str) -> Paired | None:
        """Gain of `method` where its runs end less that of `other`: not at equal KL, but every run has it."""
        if other not in self.curves:
            return None
        ours, theirs = ({seed: end_gain(curve) for seed, curve in self.curves[m].items()} for m in (method, other))
        return difference(dict(ours), dict(theirs))

    def control(self, method: str, control: str) -> Control | None:
        """With permuted rewards."""
        return control_of(self.rows, self.group(method), control)


def worlds_of(rows: Sequence[Row], groups: Sequence[Group]) -> list[World]:
    """One per kind and regime, in their order."""
    places = list(dict.fromkeys((kind, regime) for kind, regime, _ in groups))
    return [World(*place, tuple(group[2] for group in groups if group[:2] == place), rows) for place in places]


# ------------------------------------------------------------------------------------------------------ for machines


def write_rows(folder: Path, rows: Sequence[Row]) -> None:
    """``rows.json``, every cell; ``rows.csv``, a line per cell and checkpoint, one for a cell that failed."""
    write_text(folder / "rows.json", json.dumps([row.to_dict() for row in rows], indent=1))
    flat: list[dict[str, Any]] = []
    for row in rows:
        shared = {
            **row.cell.to_dict(),
            "seconds": round(row.seconds, 2),
            "cpu_seconds": round(row.cpu_seconds, 2),
            "commit": row.commit,
            "error": row.error,
        }
        flat += [{**shared, **point} for point in row.curve or [{}]]
    names = list(dict.fromkeys(name for line in flat for name in line))
    text = StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(flat)
    write_text(folder / "rows.csv", text.getvalue())


# --------------------------------------------------------------------------------------------------------- for people


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def number(estimate: Paired | None, *, seeds: int, signed: bool = False) -> str:
    """A mean with its interval, and its n where that is not all seeds; bold when a signed interval excludes zero."""
    if estimate is None:
        return EMPTY
    form: Callable[[float], str] = (lambda value: f"{value:+.3f}") if signed else (lambda value: f"{value:.3f}")
    text = form(estimate.value)
    if estimate.interval is not None:
        text += f" [{form(estimate.interval[0])}, {form(estimate.interval[1])}]"
    if signed and estimate.sign:
        text = f"**{text}**"
    return text if estimate.n == seeds else f"{text} ({estimate.n} of {seeds})"


def edges_of(setting: Setting, tried: Sequence[Setting]) -> tuple[str | None, str | None]:
    """For learning rate and strength ``lowest`` or ``highest`` where it ends the values that were tried."""
    found: list[str | None] = []
    for axis in (0, 1):
        values = sorted({point for point in (one[axis] for one in tried) if point is not None})
        value = setting[axis]
        if value is None or len(values) < 2:
            found.append(None)
        else:
            found.append("lowest" if value == values[0] else "highest" if value == values[-1] else None)
    return found[0], found[1]


def _setting(setting: Setting | None, knob: str | None, tried: Sequence[Setting]) -> str:
    if setting is None:
        return "none worked"
    (lr, strength), edges = setting, edges_of(setting, tried)
    star = ["*" if edge else "" for edge in edges]
    return f"lr {lr:g}{star[0]}" + (f", {knob} {strength:g}{star[1]}" if strength is not None else "")


def edges_list(
    worlds: Sequence[World], best: Mapping[Group, Setting], tried: Mapping[str, Sequence[Setting]]
) -> list[str]:
    """By world and edge, the methods whose choice lies there."""
    lines = []
    for world in worlds:
        named: dict[str, list[str]] = {}
        for method in world.methods:
            setting = best.get(world.group(method))
            if setting is not None:
                for axis, edge, value in zip(
                    ("lr", "strength"), edges_of(setting, tried[method]), setting, strict=True
                ):
                    if edge is not None:
                        named.setdefault(f"{edge} {axis}", []).append(f"{method} ({value:g})")
        lines += [f"{world.title}, {where}: {', '.join(found)}" for where, found in sorted(named.items())]
    return lines


def _at_end(curves: Mapping[int, Curve], name: str, digits: int) -> str:
    return f"{fmean(curve[-1][name] for curve in curves.values()):.{digits}f}" if curves else EMPTY


def rewards_table(
    world: World,
    best: Mapping[Group, Setting],
    knobs: Mapping[str, str | None],
    tried: Mapping[str, Sequence[Setting]],
    scale: Scale,
) -> str:
    """Per method: its setting, its reward at each KL, and where its runs end; by what tuning maximises."""
    head = ["method", "setting", *(f"at {kl:g} nats" for kl in KLS), "where the runs end: gain", "reward"]
    head += ["KL, mean of 95 % intervals", "tokens", "distinct-1 / -2"]
    lines = []
    scores = {method: [score(curve) for curve in world.curves[method].values()] for method in world.methods}
    for method in sorted(world.methods, key=lambda method: -fmean(scores[method] or [-math.inf])):
        curves = world.curves[method]
        at = [mean_over([v for v in rewards_at(curves, kl).values() if v is not None]) for kl in KLS]
        interval = f"{_at_end(curves, 'kl', 2)} [{_at_end(curves, 'kl_low', 2)}, {_at_end(curves, 'kl_high', 2)}]"
        gains = mean_over([end_gain(curve) for curve in curves.values()])
        lines.append(
            [
                method,
                _setting(best.get(world.group(method)), knobs[method], tried[method]),
                *(number(estimate, seeds=scale.seeds) for estimate in at),
                number(gains, seeds=scale.seeds, signed=True),
                _at_end(curves, "reward", 3),
                interval,
                _at_end(curves, "length", 1),
                f"{_at_end(curves, 'distinct1', 3)} / {_at_end(curves, 'distinct2', 3)}",
            ]
        )
    return markdown(head, lines)


def differences_table(world: World, scale: Scale) -> str:
    """Per method: its reward at each KL, and at the end, less those of the default and of SFT on all, by seed."""
    others = [other for other in (DEFAULT, BASELINE) if other in world.methods]
    head = ["method"]
    for other in others:
        head += [*(f"− {other}: {kl:g} nats" for kl in KLS), f"− {other}: where the runs end"]
    lines = []
    for method in world.methods:
        line = [method]
        for other in others:
            found = [*(world.against(method, other, kl) for kl in KLS), world.end_against(method, other)]
            line += [EMPTY if method == other else number(one, seeds=scale.seeds, signed=True) for one in found]
        lines.append(line)
    return markdown(head, lines)


def untouched_table(worlds: Sequence[World], best: Mapping[Group, Setting], scale: Scale) -> str:
    """Objectives as shipped, where their runs end."""
    head = ["world", "method", "lr", "gain where the runs end", "KL", "tokens", f"gain − {DEFAULT}"]
    lines = []
    for world in worlds:
        for method in world.methods:
            if method.endswith(UNTOUCHED):
                curves, setting = world.curves[method], best.get(world.group(method))
                against = None if method == DEFAULT else world.end_against(method, DEFAULT)
                gains = mean_over([end_gain(curve) for curve in curves.values()])
                lines.append(
                    [
                        world.title,
                        method,
                        EMPTY if setting is None else f"{setting[0]:g}",
                        number(gains, seeds=scale.seeds, signed=True),
                        _at_end(curves, "kl", 2),
                        _at_end(curves, "length", 1),
                        number(against, seeds=scale.seeds, signed=True),
                    ]
                )
    return markdown(head, lines)


def control_table(world: World, scale: Scale) -> str:
    """Per method: the gain with true rewards, and for each permutation the gain after it and the difference."""
    head = ["method", "gain where the runs end"]
    for control in REMOVES:
        head += [f"permuted {control}", f"true minus {control}"]
    lines = []
    for method in world.methods:
        found = [world.control(method, control) for control in REMOVES]
        true = next((one.true for one in found if one is not None), None)
        line = [method, number(true, seeds=scale.control_seeds, signed=True)]
        for one in found:
            parts = (None, None) if one is None else (one.permuted, one.difference)
            line += [number(part, seeds=scale.control_seeds, signed=True) for part in parts]
        lines.append(line)
    return markdown(head, lines)
