"""Curves of the runs as measures at equal KL, the choice among variants, and the rule. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from studies.harness.cells import Row
from studies.harness.results import World, first_at, sign
from studies.memorisation.candidates import BASE, CANDIDATES, TRUE
from valuefree.evaluation.stats import Estimate

KLS = (0.3, 0.5, 1.0)  # nats per response
PRIMARY = KLS[-1]
TOLERATED = -0.01  # mean difference in gain that still counts as not worse
Point = Mapping[str, Any]


def at_kl(curve: Sequence[Point], kl: float) -> dict[str, float] | None:
    """Gain and gap where the curve first reaches `kl`, linear in √KL between strengths; None if it never does."""
    start = (0.0, np.array([0.0, gap(curve[0])]))
    found = first_at([start, *((p["kl"], np.array([p["gain"], gap(p)])) for p in curve)], kl, root=True)
    return None if found is None else {"gain": float(found[0]), "gap": float(found[1])}


def gap(point: Point) -> float:
    """Ranking accuracy on training rows less that on held-out rows."""
    return point["train"] - point["held_out"]


def measures_of(curve: Sequence[Point]) -> dict[str, float]:
    """Measures of a run by name: gain and gap at each KL that it reaches, and all of the policy as trained."""
    end = curve[-1]
    found = {name: end[name] for name in ("kl", "gain", "train", "held_out")} | {"gap": gap(end)}
    for kl in KLS:
        found |= {f"{name} at {kl:g}": value for name, value in (at_kl(curve, kl) or {}).items()}
    return found


def worlds_of(rows: Sequence[Row]) -> list[World]:
    """The measures of the rows by task; rows of runs that failed are left out."""
    measures: dict[str, dict[tuple[str, str | None], dict[int, dict[str, float]]]] = {}
    for row in rows:
        if row.curve is not None:
            found = measures_of(row.curve)
            if row.cell.setting == TRUE:  # its rankings are by rewards without noise, which no other run is ranked by
                found = {name: value for name, value in found.items() if name.startswith(("kl", "gain"))}
            runs = measures.setdefault(row.cell.kind, {}).setdefault((row.cell.setting, None), {})
            runs[row.cell.seed] = found
    return [World(task, [name for name, _ in found], found) for task, found in measures.items()]


def tuned_gains(rows: Sequence[Row]) -> dict[str, float]:
    """Mean gain at `PRIMARY` of each variant over its tuning runs; a run that does not reach it counts as no gain."""
    gains: dict[str, list[float]] = {}
    for row in rows:
        found = at_kl(row.curve, PRIMARY) if row.curve is not None else None
        gains.setdefault(row.cell.candidate, []).append(found["gain"] if found is not None else 0.0)
    return {name: fmean(values) for name, values in gains.items()}


def variants() -> dict[str, list[str]]:
    """The names of each family, without the base."""
    families: dict[str, list[str]] = {}
    for candidate in CANDIDATES.values():
        if candidate.name != BASE:
            families.setdefault(candidate.family, []).append(candidate.name)
    return families


def choose(rows: Sequence[Row]) -> list[str]:
    """One name of every family: the variant with the largest gain on the tuning seeds."""
    gains = tuned_gains(rows)
    return [max(names, key=lambda name: gains.get(name, 0.0)) for names in variants().values()]


@dataclass(frozen=True)
class Verdict:
    """What the rule says of a setting on one task. gain, gap: less the base's, at `PRIMARY`."""

    name: str
    task: str
    gain: Estimate | None
    gap: Estimate | None
    larger: bool
    kept: bool


def judge(world: World, name: str) -> Verdict:
    """Apply the rule of protocol.txt."""
    gains = {kl: world.difference(name, BASE, f"gain at {kl:g}") for kl in KLS}
    gaps = world.difference(name, BASE, f"gap at {PRIMARY:g}")
    gain = gains[PRIMARY]
    larger = sign(gain) > 0
    equal = gain is not None and gain.value >= TOLERATED and all(sign(one) >= 0 for one in gains.values())
    return Verdict(name, world.title, gain, gaps, larger, larger or (equal and sign(gaps) < 0))


def verdicts(worlds: Sequence[World]) -> dict[str, list[Verdict]]:
    """By setting its verdicts on the tasks."""
    names = dict.fromkeys(name for world in worlds for name in world.methods if name not in (BASE, TRUE))
    return {name: [judge(world, name) for world in worlds] for name in names}
