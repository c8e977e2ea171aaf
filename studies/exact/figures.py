"""Figures of the exact study: methods under the frontier, lines over the axes, KL against τ. No torch."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from studies.exact.grid import Line
from studies.exact.results import BEST, DEFAULT, REFERENCE, kl_by_tau
from studies.harness.page import draw_line
from studies.harness.results import World
from valuefree.report import Plot
from valuefree.report.drawing import GREY, label, panels

LEGEND = {"loc": "outside right upper", "fontsize": "small", "frameon": False}


def frontiers(worlds: Sequence[World], curves: Mapping[str, Sequence[tuple[float, float]]]) -> Plot:
    """One panel per regime: the exact frontier, and the point of each method, as tuned."""
    figure, axes = panels(len(worlds), width=5, height=4.2)
    for panel, world in zip(axes, worlds, strict=True):
        methods = [REFERENCE, BEST, *world.methods]
        shown = {
            method: [fmean(world.values(method, name).values()) for name in ("kl", "reward")]
            for method in methods
            if world.values(method, "kl")
        }
        widest = 1.1 * max([0.5, *(kl for method in shown for kl in world.values(method, "kl").values())])
        curve = [point for point in curves.get(world.title, ()) if point[0] <= 2 * widest]
        if curve:
            panel.plot(*zip(*curve, strict=True), color=GREY, linewidth=1, label="frontier", zorder=0)
        for index, method in enumerate(methods):
            if method in shown:
                size = 9 if method == DEFAULT else 5
                draw_line(panel, index, *([one] for one in shown[method]), method, linestyle="none", markersize=size)
        heights = [reward for _, reward in shown.values()] + [reward for kl, reward in curve if kl <= widest]
        panel.set_xlim(-0.02, widest)
        panel.set_ylim(min(heights) - 0.1, max(heights) + 0.1)
        label(panel, title=world.title, x="KL(policy‖reference), nats", y="E r")
    figure.legend(*axes[0].get_legend_handles_labels(), **LEGEND)
    return Plot("frontier", "Every method, as tuned, under the exact frontier", figure)


def sweeps(
    worlds: Mapping[str, World], axes: Mapping[str, Sequence[tuple[float, str]]], methods: Sequence[str]
) -> Plot:
    """J* − J against each axis, given as the values with the regimes that have them."""
    figure, panels_ = panels(len(axes), width=5, height=4)
    for panel, (axis, values) in zip(panels_, axes.items(), strict=True):
        for index, method in enumerate(methods):
            gaps = [(x, worlds[regime].estimate(method, "gap")) for x, regime in values]
            known = [(x, gap.value) for x, gap in gaps if gap is not None]
            if known:
                draw_line(panel, index, *zip(*known, strict=True), method)
        label(panel, x=axis, y="J* − J")
    figure.legend(*panels_[0].get_legend_handles_labels(), **LEGEND)
    return Plot("sweeps", "J* − J against n, noise and tilt", figure)


def kl_against_tau(lines: Sequence[Line], regime: str, methods: Sequence[str], optimal: Mapping[float, float]) -> Plot:
    """KL after the last step against the method's τ, at the learning rate that is best for that τ."""
    figure, (panel,) = panels(1, width=7, height=4)
    if optimal:
        panel.plot(list(optimal), list(optimal.values()), color=GREY, label="π* at that τ")
    for index, method in enumerate(methods):
        if known := kl_by_tau(lines, regime, method):
            draw_line(panel, index, list(known), list(known.values()), method)
    panel.set_xscale("log")
    panel.set_yscale("log")
    label(panel, x="τ, in reward units", y="KL after the last step, nats")
    figure.legend(**LEGEND)
    return Plot("kl", f"KL after the last step against τ ({regime})", figure)
