"""Frontiers: reward against KL, one curve per method. No torch."""

from pathlib import Path
from statistics import fmean

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from studies.small.scale import KLS
from studies.small.tables import BASELINE, DEFAULT, World

KL_SHOWN = 4 * KLS[-1]
STYLES = ("-", "--", ":")


def draw_frontier(world: World, folder: Path) -> Path:
    """``frontier-{kind}-{regime}.svg`` and ``.png`` in `folder`: means over seeds, checkpoint by checkpoint.

    Returns:
        The file of the SVG.
    """
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for number, method in enumerate(world.methods):
        curves = list(world.curves[method].values())
        if not curves:
            continue
        points = list(zip(*curves, strict=True))
        kls = [fmean(point["kl"] for point in at) for at in points]
        rewards = [fmean(point["reward"] for point in at) for at in points]
        bold = method in (DEFAULT, BASELINE)
        style = {"color": colours[number % 10], "linestyle": STYLES[number // 10], "linewidth": 2.5 if bold else 1.2}
        axes.plot(kls, rewards, label=method, marker="o", markersize=3, **style)
    for kl in KLS:
        axes.axvline(kl, color="0.8", linewidth=0.8, zorder=0)
    axes.set_xscale("symlog", linthresh=KLS[0])
    axes.set_xlim(0, KL_SHOWN)
    axes.set_xticks([0, *KLS], ["0", *(f"{kl:g}" for kl in KLS)])
    axes.minorticks_off()
    axes.set_xlabel("KL(policy‖reference), nats per response")
    axes.set_ylabel("reward on held-out prompts")
    axes.set_title(f"{world.title}: mean over seeds, one point per checkpoint")
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"frontier-{world.kind}-{world.regime}.svg"
    with mpl.rc_context({"svg.hashsalt": file.stem}):
        figure.savefig(file, metadata={"Date": None})
    figure.savefig(file.with_suffix(".png"), dpi=110)
    return file
