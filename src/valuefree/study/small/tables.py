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

from valuefree.study.small.cells import Row
from valuefree.study.small.files import write_text
from valuefree.study.small.frontier import (
    Control,
    Curve,
    Group,
    Paired,
    by_seed,
    control_of,
    difference,
    gain,
    mean_over,
    rewards_at,
)
from valuefree.study.small.scale import KLS, Scale

DEFAULT, BASELINE = "rpo", "sft-all"  # what every method is compared with
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

    def gain_against(self, method: str, other: str) -> Paired | None:
        """Gain of `method` less that of `other`, which every run has."""
        if other not in self.curves:
            return None
        ours, theirs = ({seed: gain(curve) for seed, curve in self.curves[m].items()} for m in (method, other))
        return difference(dict(ours), dict(theirs))

    def control(self, method: str) -> Control | None:
        """With shuffled rewards."""
        return control_of(self.rows, self.group(method))


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


def _setting(setting: tuple[float, float | None] | None, knob: str | None) -> str:
    if setting is None:
        return "none worked"
    lr, strength = setting
    return f"lr {lr:g}" + (f", {knob} {strength:g}" if strength is not None else "")


def _at_end(curves: Mapping[int, Curve], name: str, digits: int) -> str:
    return f"{fmean(curve[-1][name] for curve in curves.values()):.{digits}f}" if curves else EMPTY


def rewards_table(
    world: World, best: Mapping[Group, tuple[float, float | None]], knobs: Mapping[str, str | None], scale: Scale
) -> str:
    """Per method: its setting, its gain, its reward at each KL, and where its runs end."""
    head = ["method", "setting", "gain", *(f"at {kl:g} nats" for kl in KLS)]
    head += ["end: reward", "KL, mean of 95 % intervals", "tokens", "distinct-1 / -2"]
    lines = []
    gains = {method: [gain(curve) for curve in world.curves[method].values()] for method in world.methods}
    order = sorted(world.methods, key=lambda method: -fmean(gains[method] or [-math.inf]))
    for method in order:
        curves = world.curves[method]
        at = [mean_over([v for v in rewards_at(curves, kl).values() if v is not None]) for kl in KLS]
        interval = f"{_at_end(curves, 'kl', 2)} [{_at_end(curves, 'kl_low', 2)}, {_at_end(curves, 'kl_high', 2)}]"
        lines.append(
            [
                method,
                _setting(best.get(world.group(method)), knobs[method]),
                number(mean_over(gains[method]), seeds=scale.seeds, signed=True),
                *(number(estimate, seeds=scale.seeds) for estimate in at),
                _at_end(curves, "reward", 3),
                interval,
                _at_end(curves, "length", 1),
                f"{_at_end(curves, 'distinct1', 3)} / {_at_end(curves, 'distinct2', 3)}",
            ]
        )
    return markdown(head, lines)


def differences_table(world: World, scale: Scale) -> str:
    """Per method: its gain and its reward at each KL less those of the default and of SFT on all, paired on seeds."""
    others = [other for other in (DEFAULT, BASELINE) if other in world.methods]
    head = ["method"]
    for other in others:
        head += [f"− {other}: gain", *(f"− {other}: {kl:g} nats" for kl in KLS)]
    lines = []
    for method in world.methods:
        line = [method]
        for other in others:
            found = [world.gain_against(method, other), *(world.against(method, other, kl) for kl in KLS)]
            line += [EMPTY if method == other else number(one, seeds=scale.seeds, signed=True) for one in found]
        lines.append(line)
    return markdown(head, lines)


def control_table(world: World, scale: Scale) -> str:
    """Per method: the gain with true rewards, with shuffled ones, and the difference."""
    head = ["method", "gain", "gain, rewards shuffled", "difference", "verdict"]
    lines = []
    for method in world.methods:
        control = world.control(method)
        if control is None:
            lines.append([method, *[EMPTY] * 3, "no pair of runs"])
            continue
        seeds = scale.control_seeds
        parts = (control.true, control.shuffled, control.difference)
        verdict = "did not use the rewards" if control.survives else "used the rewards" if control.used else "open"
        lines.append([method, *(number(part, seeds=seeds, signed=True) for part in parts), verdict])
    return markdown(head, lines)
