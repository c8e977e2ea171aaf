"""Figures of the exact study: frontiers with every method as a point, lines over the axes, KL against τ. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from studies.exact.tables import DEFAULT, Rows, chosen_rows, mean_of

MARKS = ("o", "s", "^", "v", "D", "P", "X", "*")


def _figure(width: float, height: float, rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _save(figure: Figure, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": file.stem}):
        figure.savefig(file, metadata={"Date": None})
    figure.savefig(file.with_suffix(".png"), dpi=110)
    return file


def draw_frontiers(
    rows: Rows, regimes: Sequence[str], methods: Sequence[str], curves: Mapping[str, list], file: Path
) -> Path:
    """One panel per regime: the exact frontier, and where each method, as tuned, lies."""
    columns = min(3, len(regimes))
    height = 4.2 * -(-len(regimes) // columns)
    figure, panels = _figure(5 * columns + 3, height, -(-len(regimes) // columns), columns)
    colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for panel in panels[len(regimes) :]:
        panel.set_visible(False)
    for panel, regime in zip(panels, regimes, strict=False):
        shown = [row for method in methods for row in chosen_rows(rows, regime, method)]
        widest = 1.1 * max([0.5, *(row["kl"] for row in shown)])
        curve = [point for point in curves.get(regime, ()) if point[0] <= 2 * widest]
        if curve:
            kls, rewards = zip(*curve, strict=True)
            panel.plot(kls, rewards, color="0.6", linewidth=1, label="frontier", zorder=0)
        for number, method in enumerate(methods):
            found = chosen_rows(rows, regime, method)
            if found:
                style = {"color": colours[number % 10], "marker": MARKS[number // 10], "linestyle": "none"}
                size = 9 if method == DEFAULT else 5
                panel.plot(
                    fmean(row["kl"] for row in found),
                    fmean(row["reward"] for row in found),
                    label=method,
                    markersize=size,
                    **style,
                )
        panel.set_title(regime)
        heights = [row["reward"] for row in shown] + [reward for kl, reward in curve if kl <= widest]
        panel.set_xlim(-0.02, widest)
        panel.set_ylim(min(heights) - 0.1, max(heights) + 0.1)
        panel.set_xlabel("KL(policy‖reference), nats")
        panel.set_ylabel("E r")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize="small", frameon=False)
    return _save(figure, file)


def draw_sweeps(rows: Rows, lines: Mapping[str, list[tuple[float, str]]], methods: Sequence[str], file: Path) -> Path:
    """J* − J against each axis: `lines` has, by name of the axis, (value, regime)."""
    figure, panels = _figure(5 * len(lines) + 2, 4, 1, len(lines))
    for panel, (axis, points) in zip(panels, lines.items(), strict=True):
        for number, method in enumerate(methods):
            known = [(x, mean_of(rows, regime, method, "gap")) for x, regime in points]
            known = [(x, y) for x, y in known if y is not None]
            if known:
                panel.plot(*zip(*known, strict=True), marker=MARKS[number % len(MARKS)], markersize=4, label=method)
        panel.set_xlabel(axis)
        panel.set_ylabel("J* − J")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize="small", frameon=False)
    return _save(figure, file)


def draw_kl_against_tau(rows: Rows, regime: str, methods: Sequence[str], optimal: Mapping[float, float], file: Path):
    """KL at the last step against the method's τ, at the learning rate that is best for that τ."""
    figure, (panel,) = _figure(7, 4, 1, 1)
    if optimal:
        panel.plot(list(optimal), list(optimal.values()), color="0.6", label="π* at that τ")
    for number, method in enumerate(methods):
        known = sorted(kl_by_tau(rows, regime, method).items())
        if known:
            panel.plot(*zip(*known, strict=True), marker=MARKS[number % len(MARKS)], label=method)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("τ, in reward units")
    panel.set_ylabel("KL after the last step, nats")
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    return _save(figure, file)


def kl_by_tau(rows: Rows, regime: str, method: str) -> dict[float, float]:
    """Mean KL at the last step by τ, each at the learning rate whose validation J is best for it."""
    found = [r for r in rows if r["regime"] == regime and r["method"] == method and r["gap"] is not None]
    found = [r for r in found if not r["control"]]
    result = {}
    for tau in sorted({r["strength"] for r in found if r["strength"] is not None}):
        own = [r for r in found if r["strength"] == tau]
        by_rate = {lr: fmean(r["validation_gap"] for r in own if r["lr"] == lr) for lr in {r["lr"] for r in own}}
        best = min(by_rate, key=lambda lr: by_rate[lr])
        result[tau] = fmean(r["kl_end"] for r in own if r["lr"] == best)
    return result
