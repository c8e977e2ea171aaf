"""Figures of the claims. No torch."""

from collections.abc import Callable, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.paper.claims.plan import COVERAGE, SENSITIVITY, STABILITY
from studies.paper.claims.results import Row, Rows, distinct, mean, pick, shares
from valuefree.report import Plot
from valuefree.report.drawing import colour, label, legend_above, mark, panels


def claim_figures(rows: Rows) -> list[Plot]:
    """A figure of every experiment that has rows."""
    drawn: list[tuple[str, str, Callable[[Rows], Figure]]] = [
        ("stability", "J* − J on validation prompts against steps, mean over worlds and batch orders", _stability),
        ("sensitivity", "J* − J when V is off by δ (left) and when each prompt's V is off at random (right)", _off),
        ("coverage", "J* − J against responses per prompt", _coverage),
        ("reference", "Share of the attainable J gained, against the tilt of the reference", _reference),
    ]
    there = {row.get("experiment") for row in rows}
    return [Plot(f"claims_{name}", caption, draw(rows)) for name, caption, draw in drawn if name in there]


def _lines(
    panel: Axes,
    methods: Sequence[str],
    places: Sequence[float],
    rows_at: Callable[[str, float], Sequence[Row]],
    name: str = "gap",
) -> None:
    """A line per method through the means of a column at each place, with Student's intervals as a band."""
    for number, method in enumerate(methods):
        points = [(place, found) for place in places if (found := mean(rows_at(method, place), name)) is not None]
        style = {"marker": mark(number), "markersize": 4, "color": colour(number), "label": method}
        panel.plot([place for place, _ in points], [found.value for _, found in points], **style)
        bands = [(place, *found.interval) for place, found in points if found.interval is not None]
        if bands:
            panel.fill_between(*zip(*bands, strict=True), color=colour(number), alpha=0.12, linewidth=0)


def _stability(rows: Rows) -> Figure:
    conditions = distinct(rows, "stability", "condition")
    figure, axes = panels(len(conditions), width=4.6, height=3.4)
    for panel, condition in zip(axes, conditions, strict=True):
        for number, method in enumerate(STABILITY):
            found = pick(rows, "stability", method, condition=condition, chosen=True)
            if found:
                curve = [fmean(values) for values in zip(*(row["curve"] for row in found), strict=True)]
                steps = [found[0]["every"] * (index + 1) for index in range(len(curve))]
                # Two methods may lie on one another: the later is drawn thinner.
                panel.plot(steps, curve, color=colour(number), linewidth=3 - 0.5 * number, label=method)
        label(panel, title=condition, x="steps", y="J* − J")
    legend_above(figure, axes[0])
    return figure


def _off(rows: Rows) -> Figure:
    figure, axes = panels(2, width=4.6, height=3.4)
    kinds = {"constant": "δ, reward units", "random": "standard deviation of δ over prompts"}
    deltas = sorted(distinct(rows, "sensitivity", "delta"))
    for panel, (kind, axis) in zip(axes, kinds.items(), strict=True):

        def rows_at(method: str, delta: float, kind: str = kind) -> Sequence[Row]:
            own = "constant" if delta == 0 else kind  # an error of 0 is the same run for both kinds
            return pick(rows, "sensitivity", method, kind=own, delta=delta, held=True)

        _lines(panel, SENSITIVITY, deltas, rows_at)
        label(panel, x=axis, y="J* − J")
    legend_above(figure, axes[0])
    return figure


def _coverage(rows: Rows) -> Figure:
    worlds, conditions = (distinct(rows, "coverage", name) for name in ("world", "condition"))
    counts = distinct(rows, "coverage", "responses")
    figure, axes = panels(len(worlds) * len(conditions), columns=len(conditions), height=3.0)
    places = [{"world": world, "condition": condition} for world in worlds for condition in conditions]
    for panel, where in zip(axes, places, strict=True):
        _lines(
            panel,
            COVERAGE,
            counts,
            lambda method, count, where=where: pick(rows, "coverage", method, **where, responses=count),
        )
        panel.set_xscale("log", base=2)
        label(panel, title=", ".join(where.values()), x="responses per prompt", y="J* − J")
    legend_above(figure, axes[0])
    return figure


def _reference(rows: Rows) -> Figure:
    worlds, tilts = distinct(rows, "reference", "world"), distinct(rows, "reference", "reference")
    figure, axes = panels(len(worlds), width=4.6, height=3.4)
    for panel, world in zip(axes, worlds, strict=True):

        def rows_at(method: str, tilt: float, world: str = world) -> Sequence[Row]:
            return shares(pick(rows, "reference", method, world=world, reference=tilt))

        _lines(panel, COVERAGE, tilts, rows_at, "share")
        panel.axhline(0, color="0.6", linewidth=0.8)
        label(panel, title=world, x="tilt of the reference by the reward", y="share of the attainable J")
    legend_above(figure, axes[0])
    return figure
