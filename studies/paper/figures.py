"""Figures of the study. No torch."""

from collections.abc import Sequence
from statistics import fmean

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from studies.paper.methods import label
from studies.paper.results import Results
from studies.paper.scales import Scale
from valuefree.report import Plot

MARKERS = "osD^vPX*<>hd"


def _colours() -> Sequence[tuple[float, float, float]]:
    return mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]


def frontier(results: Results, scale: Scale) -> Plot | None:
    """Reward against KL: every method at every temperature, a small mark per run, a large one for the mean."""
    figure = Figure(figsize=(8.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    drawn = 0
    for number, method in enumerate(results.methods):
        colour, marker = _colours()[number % 10], MARKERS[number % len(MARKERS)]
        for tau in results.taus if method.taus else [None]:
            runs = [run for run in results.runs(scale.name, method.name, tau) if run.gain is not None]
            if not runs:
                continue
            drawn += 1
            kls = [0.0 if run.kl is None else max(run.kl["value"], 0.0) for run in runs]
            rewards = [run.gain for run in runs if run.gain is not None]
            axes.scatter(kls, rewards, s=10, color=colour, marker=marker, alpha=0.35, linewidths=0)
            named = label(method.name, tau)
            axes.scatter(fmean(kls), fmean(rewards), s=55, color=colour, marker=marker, label=named, edgecolors="white")
            if tau is not None and tau != 1:
                axes.annotate(
                    f"τ {tau:g}", (fmean(kls), fmean(rewards)), (4, 3), textcoords="offset points", fontsize=7
                )
    if not drawn:
        return None
    axes.set_xscale("symlog", linthresh=0.5)
    axes.set_xlim(left=-0.02)
    axes.minorticks_off()
    axes.set_xlabel("KL(policy‖reference), nats per answer")
    axes.set_ylabel("reward on held-out prompts")
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    caption = f"Reward against KL, {scale.title}: small marks are runs, large ones their means."
    return Plot(f"frontier-{scale.name}", caption, figure)


def gains(results: Results, scale: Scale) -> Plot | None:
    """Gain over the reference with its interval, beside that on shuffled rewards."""
    lines = []
    for method in results.methods:
        for tau in results.taus if method.taus else [None]:
            found = results.gain(scale.name, method.name, tau) if method.make else None
            if found is not None:
                lines.append(
                    (label(method.name, tau), found, results.gain(scale.name, method.name, tau, shuffled=True))
                )
    if not lines:
        return None
    figure = Figure(figsize=(7.2, 0.9 + 0.3 * len(lines)), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, true, shuffled) in enumerate(reversed(lines)):
        drawn = ((true, "#3465a4", 0.12, "true"), (shuffled, "#c17d11", -0.16, "shuffled"))
        for estimate, colour, shift, name in drawn:
            if estimate is None:
                continue
            low, high = estimate.interval or (estimate.value, estimate.value)
            axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=1.6)
            axes.plot(estimate.value, place + shift, "o", color=colour, markersize=4, label=f"rewards {name}")
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set_yticks(range(len(lines)), [name for name, *_ in reversed(lines)], fontsize=8)
    axes.set_xlabel("gain in held-out reward over the reference, 95 % interval")
    axes.grid(axis="x", alpha=0.25)
    entries = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(entries.values(), entries.keys(), fontsize=7, loc="lower right")
    caption = (
        f"Gain over the reference, {scale.title}; with rewards permuted within prompts, what survives did not come"
    )
    return Plot(f"gains-{scale.name}", f"{caption} from them.", figure)


def training_time(results: Results) -> Plot | None:
    """Figure 1: seconds by method and size."""
    rows = results.timing
    if not rows:
        return None
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        values = [
            [row["train_seconds"] for row in rows if row["size"] == size and row["method"] == method] for size in sizes
        ]
        places = np.arange(len(sizes)) + (number - (len(methods) - 1) / 2) * width
        axes.bar(
            places,
            [fmean(v) for v in values],
            width,
            yerr=[float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values],
            label=method,
            color=_colours()[number % 10],
            error_kw={"linewidth": 0.8},
        )
    axes.set_xticks(range(len(sizes)), sizes)
    axes.set_ylabel(f"seconds of {rows[0]['steps']} steps")
    axes.legend(fontsize=7, ncols=3, frameon=False)
    axes.grid(axis="y", alpha=0.25)
    caption = "Figure 1, measured here: training time by method and size, same rows and batches, one process alone."
    return Plot("figure-1", caption, figure)


def curves(results: Results, scale: Scale) -> Plot | None:
    """Loss (of its first value), log-ratio on the data and its correlation with the reward, by step, seed 0."""
    names = (("loss", "loss, of its first value"), ("logratio", "mean log-ratio on the rows"))
    names += (("logratio_reward_correlation", "correlation of log-ratio and reward"),)
    figure = Figure(figsize=(10.5, 3.0), layout="constrained")
    panels = figure.subplots(1, len(names))
    drawn: dict[str, object] = {}
    for number, method in enumerate(results.methods):
        runs = results.runs(scale.name, method.name) if method.make else []
        history = [entry for entry in (runs[0].history if runs else ()) if "loss" in entry]
        for axes, (name, _) in zip(panels, names, strict=True):
            points = [(entry["step"], float(entry[name])) for entry in history if name in entry]
            if not points:
                continue
            first = abs(points[0][1]) if name == "loss" and points[0][1] else 1.0
            (line,) = axes.plot(
                [step for step, _ in points], [value / first for _, value in points], color=_colours()[number % 10]
            )
            drawn.setdefault(method.name, line)
    if not drawn:
        return None
    for axes, (name, title) in zip(panels, names, strict=True):
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
        if name == "loss":
            axes.set_yscale("symlog")
    figure.legend(drawn.values(), drawn.keys(), loc="outside right upper", fontsize=7, frameon=False)  # type: ignore
    return Plot(f"curves-{scale.name}", f"Training curves of seed 0 at τ = 1, {scale.title}.", figure)


def rates_by_tau(results: Results, scale: Scale) -> Plot | None:
    """Tables IV and VI as lines: win rate of RPO over SFT and RPO-noNorm by temperature."""
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    drawn = 0
    for axes, other in zip(panels, ("SFT", "RPO-noNorm"), strict=True):
        for number, judge in enumerate(results.judges):
            found = [(tau, results.judged(judge, scale.name, "RPO", other, tau, tau)) for tau in results.taus]
            points = [(tau, one.rate) for tau, one in found if one is not None and one.rate is not None]
            if not points:
                continue
            drawn += 1
            values = [rate.mean for _, rate in points]
            ends = [rate.interval or (rate.mean, rate.mean) for _, rate in points]
            errors = [
                [max(value - low, 0.0) for value, (low, _) in zip(values, ends, strict=True)],
                [max(high - value, 0.0) for value, (_, high) in zip(values, ends, strict=True)],
            ]
            places = [tau * 1.06**number for tau, _ in points]
            axes.errorbar(places, values, yerr=errors, marker="o", markersize=4, capsize=2, linewidth=1, label=judge)
        axes.axhline(50, color="0.4", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xticks(results.taus, [f"{tau:g}" for tau in results.taus])
        axes.minorticks_off()
        axes.set_xlabel("τ")
        axes.set_title(f"RPO over {other}", fontsize=9)
        axes.grid(alpha=0.25)
    if not drawn:
        return None
    panels[0].set_ylabel("win rate, %")
    last = next(axes for axes in reversed(panels) if axes.get_legend_handles_labels()[0])
    last.legend(fontsize=7)
    return Plot(f"taus-{scale.name}", f"Tables IV and VI as lines, {scale.title}; intervals of 95 %.", figure)
