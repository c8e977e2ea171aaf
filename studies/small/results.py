"""The rows of the small study as results: reward at a matched KL, the choice of settings, its tables. No torch."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from studies.harness.cells import Row
from studies.harness.results import EMPTY, GAIN, World, first_at, number, setting_text
from studies.small.cells import Group, Setting
from studies.small.methods import METHODS, settings_of
from studies.small.scale import KLS, Scale
from valuefree.report import Table

DEFAULT, BASELINE = "rpo-untouched", "sft-all"  # the methods that every method is compared with
UNTOUCHED = "-untouched"  # what names of objectives as shipped end with
AT = {f", {kl:g} nats": f"at {kl:g} nats" for kl in KLS}  # by the name of a place in a world, its measure
SCORE = "score"
Curve = Sequence[Mapping[str, Any]]


def reward_at(curve: Curve, kl: float) -> float | None:
    """Reward where the run first reaches `kl`, linear between its checkpoints; None when it never does.

    Between two policies this is the reward of their mixture, whose KL is at most the one interpolated.
    """
    return first_at([(point["kl"], point["reward"]) for point in curve], kl, root=False)


def end_gain(curve: Curve) -> float:
    """Reward where the run ends less that of the reference on the same prompts."""
    return curve[-1]["reward"] - curve[0]["reward"]


def score(curve: Curve) -> float:
    """The objective of the tuning: the mean over `KLS` of the reward there less that of the reference.

    A level that the run never reaches counts as no gain, or as the loss where the run ends below the reference: no run
    is credited with a reward at a KL that it does not reach.
    """
    missed = min(0.0, end_gain(curve))
    rewards = [reward_at(curve, kl) for kl in KLS]
    return sum(missed if reward is None else reward - curve[0]["reward"] for reward in rewards) / len(KLS)


def choose(rows: Sequence[Row]) -> dict[Group, Setting]:
    """For every group the (learning rate, strength) with the highest mean `score` over the tuning seeds.

    A setting of which any run failed is not chosen; a group of which all settings failed is left out. Of equals the
    first in the order of the rows.
    """
    scores: dict[Group, dict[Setting, list[float]]] = {}
    for row in rows:
        value = score(row.curve) if row.curve is not None else -math.inf
        scores.setdefault(row.cell.group, {}).setdefault((row.cell.lr, row.cell.strength), []).append(value)
    best = {group: max(settings, key=lambda one: fmean(settings[one])) for group, settings in scores.items()}
    return {group: setting for group, setting in best.items() if math.isfinite(sum(scores[group][setting]))}


def measures_of(curve: Curve) -> dict[str, float]:
    """What a run ends with, its gain, its score, and its reward at each KL that it reaches."""
    end = {name: value for name, value in curve[-1].items() if name != "step"}
    at = {f"at {kl:g} nats": reward_at(curve, kl) for kl in KLS}
    return {
        **end,
        GAIN: end_gain(curve),
        SCORE: score(curve),
        **{name: value for name, value in at.items() if value is not None},
    }


def title_of(kind: str, regime: str) -> str:
    """Of a world, for headings."""
    return f"{'T5' if kind == 't5' else 'decoder'}, {regime}-policy"


def worlds_of(
    rows: Sequence[Row], groups: Sequence[Group], best: Mapping[Group, Setting], scale: Scale
) -> dict[tuple[str, str], World]:
    """The results by kind of model and regime."""
    worlds = {}
    for place in dict.fromkeys(group[:2] for group in groups):
        methods = [group[2] for group in groups if group[:2] == place]
        measures: dict[tuple[str, str | None], dict[int, dict[str, float]]] = {}
        for row in rows:
            if row.cell.group[:2] == place and row.cell.stage != "tune" and row.curve is not None:
                runs = measures.setdefault((row.cell.method, row.cell.control), {})
                runs[row.cell.seed] = measures_of(row.curve)
        settings = {
            method: _setting(method, best[*place, method], scale) for method in methods if (*place, method) in best
        }
        worlds[place] = World(title_of(*place), methods, measures, settings)
    return worlds


def _setting(method: str, chosen: Setting, scale: Scale) -> dict[str, tuple[float, list[float]]]:
    tried = settings_of(METHODS[method], scale)
    axes = {"lr": (chosen[0], [lr for lr, _ in tried])}
    if chosen[1] is not None:
        axes[METHODS[method].knob or ""] = (chosen[1], [strength for _, strength in tried if strength is not None])
    return axes


def rewards_table(world: World, scale: Scale) -> Table:
    """Per method: its setting, its reward at each KL, and where its runs end; highest score first."""
    head = ["method", "setting", *(f"reward {measure}" for measure in AT.values()), "where the runs end: gain"]
    head += ["reward", "KL, mean of 95 % intervals", "tokens", "distinct-1 / -2"]
    scores = {method: world.values(method, SCORE).values() for method in world.methods}
    lines = []
    for method in sorted(world.methods, key=lambda method: -fmean(scores[method] or [-math.inf])):
        end = {name: world.mean(method, name, ".2f") for name in ("kl", "kl_low", "kl_high")}
        setting = setting_text(world.settings[method]) if method in world.settings else "none worked"
        at = [number(world.estimate(method, measure), seeds=scale.seeds) for measure in AT.values()]
        gain = number(world.estimate(method, GAIN), signed=True, seeds=scale.seeds)
        distinct = f"{world.mean(method, 'distinct1', '.3f')} / {world.mean(method, 'distinct2', '.3f')}"
        kl = f"{end['kl']} [{end['kl_low']}, {end['kl_high']}]"
        reward, tokens = world.mean(method, "reward", ".3f"), world.mean(method, "length", ".1f")
        lines.append([method, setting, *at, gain, reward, kl, tokens, distinct])
    return Table("", head, lines)


def differences_table(world: World, scale: Scale) -> Table:
    """Per method: its reward at each KL, and its gain at the end, less those of the default and of SFT, by seed."""
    others = [other for other in (DEFAULT, BASELINE) if other in world.methods]
    measures = {f"{kl:g} nats": f"at {kl:g} nats" for kl in KLS} | {"where the runs end": GAIN}
    head = ["method", *(f"− {other}: {place}" for other in others for place in measures)]
    lines = []
    for method in world.methods:
        pairs = [(other, measure) for other in others for measure in measures.values()]
        found = [None if method == other else world.difference(method, other, measure) for other, measure in pairs]
        lines.append([method, *(number(one, signed=True, seeds=scale.seeds) for one in found)])
    return Table("Reward less that of another method, paired by seed", head, lines)


def untouched_table(worlds: Sequence[World], scale: Scale) -> Table:
    """Objectives as shipped, where their runs end."""
    head = ["world", "method", "setting", "gain where the runs end", "KL", "tokens", f"gain − {DEFAULT}"]
    lines = []
    for world in worlds:
        for method in world.methods:
            if method.endswith(UNTOUCHED):
                against = None if method == DEFAULT else world.difference(method, DEFAULT, GAIN)
                lines.append(
                    [
                        world.title,
                        method,
                        setting_text(world.settings[method]) if method in world.settings else EMPTY,
                        number(world.estimate(method, GAIN), signed=True, seeds=scale.seeds),
                        world.mean(method, "kl", ".2f"),
                        world.mean(method, "length", ".1f"),
                        number(against, signed=True, seeds=scale.seeds),
                    ]
                )
    return Table("Objectives as shipped, where their runs end (not at equal KL)", head, lines)
