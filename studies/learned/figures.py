"""Figures of a world: measures against the true gain, and the true gain by strength. No torch."""

import numpy as np

from studies.harness.page import draw_line
from studies.learned.grid import default_lr
from studies.learned.measured import GAIN, RANKING, REWEIGHTED, SHARE
from studies.learned.results import CLOSE, Candidate, Run, by_code
from studies.learned.tables import Results
from valuefree.report import Plot
from valuefree.report.drawing import GREY, colour, label, legend_above, panels

DRAWN = (RANKING, SHARE, GAIN, REWEIGHTED)


def against_truth(results: Results, family: str) -> Plot:
    """A point per policy: each measure against the true gain; hollow from 0.5 nats on."""
    runs = [run for run in results.reported[family] if not run.cell.shuffled]
    labels = list(dict.fromkeys(run.cell.label for run in runs))
    figure, axes = panels(len(DRAWN), columns=2, width=3.6, height=2.8)
    for panel, measure in zip(axes, DRAWN, strict=True):
        for number, name in enumerate(labels):
            points = [p for run in runs if run.cell.label == name for p in run.points]
            points = [point for point in points if point["whole"].get(measure) is not None]
            for near in (True, False):
                shown = [point for point in points if (point["kl"] < CLOSE) == near]
                panel.plot(
                    [point["whole"][measure] for point in shown],
                    [point["gain"] for point in shown],
                    linestyle="none",
                    marker="o",
                    markersize=3.5,
                    color=colour(number),
                    fillstyle="full" if near else "none",
                    markeredgewidth=0.7,
                    label=name if near else "_far",
                )
        panel.axhline(0, color=GREY, linewidth=0.8)
        label(panel, x=measure, y="true gain")
    legend_above(figure, axes[0], columns=3)
    caption = f"{family}: measures on report rows against the true gain; filled: KL below {CLOSE:g} nats"
    return Plot(f"measures-{family}", caption, figure)


def by_strength(results: Results, family: str) -> Plot:
    """True gain by strength, a line per method, means over its runs; stars: mean of what `choose_strength` takes."""
    figure, (panel,) = panels(1, width=6.0, height=3.6)
    runs = [run for run in results.reported[family] if not run.cell.shuffled]
    runs = [run for run in runs if run.cell.lr == default_lr(run.cell.world, results.scale)]
    for number, name in enumerate(dict.fromkeys(run.cell.label for run in runs)):
        own = [run for run in runs if run.cell.label == name]
        by_scale: dict[float, list[float]] = {}
        for point in (point for run in own for point in run.ends):
            by_scale.setdefault(point["scale"], []).append(point["gain"])
        scales = sorted(by_scale)
        gains = [float(np.mean(by_scale[scale])) for scale in scales]
        draw_line(panel, number, scales, gains, name)
        chosen = [_chosen(run) for run in own]
        star = [[np.mean([scale for scale, _ in chosen])], [np.mean([gain for _, gain in chosen])]]
        panel.plot(*star, linestyle="none", marker="*", markersize=12, color=colour(number), markeredgecolor="black")
    panel.axhline(0, color=GREY, linewidth=0.8)
    panel.axvline(1, color=GREY, linewidth=0.8, linestyle=":")
    label(panel, x="strength", y="true gain")
    legend_above(figure, panel, columns=3)
    caption = (
        f"{family}: true gain by strength at the default learning rate; star: what choose_strength takes, on average"
    )
    return Plot(f"strength-{family}", caption, figure)


def _chosen(run: Run) -> tuple[float, float]:
    """Strength and gain by `choose_strength`, means of both halves."""
    group = [Candidate(run, point, point["scale"] == 1.0) for point in run.ends]
    taken = [by_code(group, half).point for half in (0, 1)]
    return float(np.mean([p["scale"] for p in taken])), float(np.mean([p["gain"] for p in taken]))
