"""Figures of the claims. No torch."""

from collections.abc import Callable, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from studies.paper.claims.plan import COVERAGE, SENSITIVITY, STABILITY
from studies.paper.claims.results import Rows, distinct, mean, pick, shares
from valuefree.evaluation.stats import Estimate

MARKS = ("o", "s", "^", "v", "D")


def claim_figures(rows: Rows) -> list[tuple[str, str, Figure]]:
    """(name, caption, figure) of every experiment that has rows."""
    drawn: list[tuple[str, str, Callable[[Rows], Figure]]] = [
        ("stability", "J* − J on validation prompts against steps, mean over worlds and batch orders", _stability),
        ("sensitivity", "J* − J when V is off by δ (left) and when each prompt's V is off at random (right)", _off),
        ("coverage", "J* − J against responses per prompt", _coverage),
        ("reference", "Share of the attainable J gained, against the tilt of the reference", _reference),
    ]
    there = {row.get("experiment") for row in rows}
    return [(f"claims_{name}", caption, draw(rows)) for name, caption, draw in drawn if name in there]


def _panels(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(4 * columns + 2.5, 3.2 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _legend(figure: Figure, panel: Axes) -> Figure:
    figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper", fontsize="small", frameon=False)
    return figure


def _line(panel: Axes, number: int, label: str, points: Sequence[tuple[float, Estimate | None]]) -> None:
    known = [(x, found) for x, found in points if found is not None]
    if not known:
        return
    colour = f"C{number}"
    style = {"marker": MARKS[number % len(MARKS)], "markersize": 4, "color": colour, "label": label}
    panel.plot([x for x, _ in known], [found.value for _, found in known], **style)
    bands = [(x, *found.interval) for x, found in known if found.interval is not None]
    if bands:
        places, lows, highs = zip(*bands, strict=True)
        panel.fill_between(places, lows, highs, color=colour, alpha=0.12, linewidth=0)


def _stability(rows: Rows) -> Figure:
    conditions = distinct(rows, "stability", "condition")
    figure, panels = _panels(1, len(conditions))
    for panel, condition in zip(panels, conditions, strict=True):
        for number, method in enumerate(STABILITY):
            found = pick(rows, "stability", method, condition=condition, chosen=True)
            if found:
                curve = [fmean(values) for values in zip(*(row["curve"] for row in found), strict=True)]
                steps = [found[0]["every"] * (index + 1) for index in range(len(curve))]
                # Two methods may lie on one another: the later is drawn thinner.
                panel.plot(steps, curve, color=f"C{number}", linewidth=3 - 0.5 * number, label=method)
        panel.set_title(condition, fontsize="medium")
        panel.set_xlabel("steps")
        panel.set_ylabel("J* − J")
    return _legend(figure, panels[0])


def _off(rows: Rows) -> Figure:
    figure, panels = _panels(1, 2)
    deltas = sorted(distinct(rows, "sensitivity", "delta"))
    for number, method in enumerate(SENSITIVITY):
        for panel, kind in zip(panels, ("constant", "random"), strict=True):
            points = []
            for delta in deltas:
                where = {"kind": "constant" if delta == 0 else kind, "delta": delta, "held": True}
                points.append((delta, mean(pick(rows, "sensitivity", method, **where))))
            _line(panel, number, method, points)
    panels[0].set_xlabel("δ, reward units")
    panels[1].set_xlabel("standard deviation of δ over prompts")
    for panel in panels:
        panel.set_ylabel("J* − J")
    return _legend(figure, panels[0])


def _coverage(rows: Rows) -> Figure:
    worlds, conditions = (distinct(rows, "coverage", name) for name in ("world", "condition"))
    figure, panels = _panels(len(worlds), len(conditions))
    places = [(world, condition) for world in worlds for condition in conditions]
    for panel, (world, condition) in zip(panels, places, strict=True):
        for number, method in enumerate(COVERAGE):
            points = []
            for count in distinct(rows, "coverage", "responses"):
                where = {"world": world, "condition": condition, "responses": count}
                points.append((count, mean(pick(rows, "coverage", method, **where))))
            _line(panel, number, method, points)
        panel.set_xscale("log", base=2)
        panel.set_title(f"{world}, {condition}", fontsize="medium")
        panel.set_xlabel("responses per prompt")
        panel.set_ylabel("J* − J")
    return _legend(figure, panels[0])


def _reference(rows: Rows) -> Figure:
    worlds = distinct(rows, "reference", "world")
    figure, panels = _panels(1, len(worlds))
    for panel, world in zip(panels, worlds, strict=True):
        for number, method in enumerate(COVERAGE):
            points = []
            for tilt in distinct(rows, "reference", "reference"):
                found = shares(pick(rows, "reference", method, world=world, reference=tilt))
                points.append((tilt, mean(found, "share")))
            _line(panel, number, method, points)
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.set_title(world, fontsize="medium")
        panel.set_xlabel("tilt of the reference by the reward")
        panel.set_ylabel("share of the attainable J")
    return _legend(figure, panels[0])
