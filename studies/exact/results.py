"""The lines of the exact study as results: its worlds, its tables and the aims of the default. No torch."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from studies.exact.grid import Line, Scale, points
from studies.exact.methods import BY_NAME
from studies.harness.results import EMPTY, GAIN, Setting, World, number
from valuefree.evaluation.stats import Estimate
from valuefree.report import Table

DEFAULT = "RPO(), untouched"
REFERENCE, BEST = "π_ref", "π*"
BELOW = ("RPO paper (eq. 19)", "RPO paper-code", "SFT all", "KTO", "DPO best-worst", "DPO all pairs")
NEAR = ("DRO-V", "RPO centred (level 0)", "RPO V=0, level inf")
MARGIN = 0.05
SHOWN = ("gap", "gap_end", "reward", "kl", "kl_end", "logratio", "tau")


def world_of(lines: Sequence[Line], regime: str, methods: Sequence[str], scale: Scale) -> World:
    """The results of a regime at the settings that validation chose, with π_ref and π* beside the methods."""
    measures: dict[tuple[str, str | None], dict[int, dict[str, float]]] = {}
    settings: dict[str, Setting] = {}
    chosen = [line for line in lines if line["regime"] == regime and line["gap"] is not None]
    for line in chosen:
        if line["chosen"] or line["control"]:
            values = {name: line[name] for name in SHOWN if line.get(name) is not None}
            measures.setdefault((line["method"], line["control"]), {})[line["seed"]] = values
            if line["method"] in methods and line["control"] is None:
                settings[line["method"]] = _setting(line, scale)
    base = measures.get((REFERENCE, None), {})
    for runs in measures.values():
        for seed, values in runs.items():
            if seed in base:
                values[GAIN] = values["reward"] - base[seed]["reward"]
    return World(regime, methods, measures, settings)


def _setting(line: Line, scale: Scale) -> Setting:
    method = BY_NAME[line["method"]]
    setting: dict[str, tuple[float, Sequence[Any]]] = {
        "lr": (line["lr"], scale.learning_rates),
        "steps": (line["step"], scale.checkpoints),
    }
    if method.knob is None:
        return setting
    axis = "factor" if method.knob == "lr" else method.knob
    return {axis: (line["strength"], points(method, scale))} | setting


def regime_table(world: World, setting_of: Mapping[str, str]) -> Table:
    """One line per method, best first. setting_of: what stands in the last column, a failed method's error too."""
    head = ["method", "J* − J", f"J* − J less that of {DEFAULT}", "gain in E r", "KL", "after all steps: J* − J", "KL"]
    head += ["mean log-ratio on the data", "setting"]
    methods = [REFERENCE, BEST, *world.methods]
    gaps = {method: world.estimate(method, "gap") for method in methods}
    lines = []
    for method in sorted(methods, key=lambda m: (gaps[m] is None, gaps[m].value if gaps[m] else 0)):
        against = None if method == DEFAULT else world.difference(method, DEFAULT, "gap")
        lines.append(
            [
                method,
                number(gaps[method]),
                number(against, signed=True),
                number(world.estimate(method, GAIN), signed=True),
                world.mean(method, "kl", ".3f"),
                world.mean(method, "gap_end", ".3f"),
                world.mean(method, "kl_end", ".3f"),
                world.mean(method, "logratio", "+.2f"),
                setting_of.get(method, ""),
            ]
        )
    return Table("", head, lines)


def answer(found: Estimate | None, bound: float) -> str:
    """Whether a difference lies below `bound`: yes or NO where its whole interval does or does not, else undecided."""
    if found is None:
        return EMPTY
    low, high = found.interval or (-float("inf"), float("inf"))
    return f"{'yes' if high < bound else 'NO' if low > bound else 'undecided'} ({number(found, signed=True)})"


def aims_table(worlds: Sequence[World]) -> Table:
    """The aims of the default, regime by regime."""
    aims = {f"below {name}": (name, 0.0) for name in BELOW}
    aims |= {f"not {MARGIN} above {name}": (name, MARGIN) for name in NEAR}
    lines = [
        [world.title, *(answer(world.difference(DEFAULT, name, "gap"), bound) for name, bound in aims.values())]
        for world in worlds
    ]
    return Table(f"The aims of {DEFAULT}: its J* − J less that of other methods", ["regime", *aims], lines)


def standings(worlds: Sequence[World]) -> list[str]:
    """For every regime the default and the best method; methods that know more than the others do not count."""
    items = []
    for world in worlds:
        gaps = {method: world.estimate(method, "gap") for method in comparable(world.methods)}
        known = {method: gap.value for method, gap in gaps.items() if gap is not None}
        if DEFAULT in known:
            best = min(known, key=lambda method: known[method])
            items.append(
                f"{world.title}: {DEFAULT} has J* − J = {known[DEFAULT]:.3f} ({world.mean(DEFAULT, 'gap_end', '.3f')} "
                f"after all steps); the best is {best} with {known[best]:.3f}."
            )
    return items


def comparable(methods: Sequence[str]) -> list[str]:
    """Methods without V* and without scored reference samples."""
    return [method for method in methods if "oracle" not in method and "samples" not in method]


def kl_by_tau(lines: Sequence[Line], regime: str, method: str) -> dict[float, float]:
    """Mean KL after the last step by τ, each at the learning rate whose validation J is best for it."""
    found = [line for line in lines if (line["regime"], line["method"]) == (regime, method)]
    found = [line for line in found if not line["control"] and line["strength"] is not None]
    result = {}
    for tau in sorted({line["strength"] for line in found}):
        own = [line for line in found if line["strength"] == tau]
        by_rate = {
            lr: fmean(line["validation_gap"] for line in own if line["lr"] == lr) for lr in {line["lr"] for line in own}
        }
        best = min(by_rate, key=lambda lr: by_rate[lr])
        result[tau] = fmean(line["kl_end"] for line in own if line["lr"] == best)
    return result
