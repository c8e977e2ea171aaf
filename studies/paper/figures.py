"""Figures of the study."""

from statistics import fmean

import numpy as np

from studies.paper.cells import Pair, gain_of, kls_of
from studies.paper.methods import REFERENCE
from studies.paper.results import Results
from valuefree.report import Plot
from valuefree.report.drawing import COLOURS, GREY, colour, label, legend_above, mark, panels


def frontier(results: Results) -> Plot | None:
    """Reward against KL: every method at every temperature, a small mark per run, a large one for the mean."""
    figure, (axes,) = panels(1, width=8.4, height=5.4)
    drawn, numbers = 0, {method.name: number for number, method in enumerate(results.methods)}
    for method, tau, name in results.grid():
        runs = [run for run in results.runs(method.name, tau) if gain_of(run) is not None]
        if not runs:
            continue
        drawn += 1
        number = numbers[method.name]
        kls = [max(kl, 0.0) for run in runs for kl in kls_of([run]) or [0.0]]
        rewards = [gain for run in runs if (gain := gain_of(run)) is not None]
        style = {"color": colour(number), "marker": mark(number)}
        axes.scatter(kls, rewards, s=10, alpha=0.35, linewidths=0, **style)
        axes.scatter(fmean(kls), fmean(rewards), s=55, label=name, edgecolors="white", **style)
        if tau is not None and tau != 1:
            place = fmean(kls), fmean(rewards)
            axes.annotate(f"τ {tau:g}", place, (4, 3), textcoords="offset points", fontsize=7)
    if not drawn:
        return None
    axes.set_xscale("symlog", linthresh=0.5)
    axes.set_xlim(left=-0.02)
    axes.minorticks_off()
    label(axes, x="KL(policy‖reference), nats per answer", y="reward on held-out prompts")
    legend_above(figure, axes)
    title = results.scale.title
    caption = f"Reward against KL, {title}: small marks are runs, large ones their means."
    return Plot(f"frontier-{results.scale.name}", caption, figure)


def gains(results: Results) -> Plot | None:
    """Gain over the reference with its interval, on true and on shuffled rewards."""
    lines = [
        (name, gain, results.gain(method.name, tau, shuffled=True))
        for method, tau, name in results.grid()
        if method.make and (gain := results.gain(method.name, tau)) is not None
    ]
    if not lines:
        return None
    figure, (axes,) = panels(1, width=7.2, height=0.9 + 0.3 * len(lines))
    for place, (_, true, shuffled) in enumerate(reversed(lines)):
        for number, (estimate, shift, name) in enumerate(((true, 0.12, "true"), (shuffled, -0.16, "shuffled"))):
            if estimate is not None:
                low, high = estimate.interval or (estimate.value, estimate.value)
                axes.plot([low, high], [place + shift] * 2, color=COLOURS[number], linewidth=1.6)
                axes.plot(
                    estimate.value, place + shift, "o", color=COLOURS[number], markersize=4, label=f"rewards {name}"
                )
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(lines)), [name for name, *_ in reversed(lines)], fontsize=8)
    label(axes, x="gain in held-out reward over the reference, 95 % interval")
    entries = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))  # each name once
    axes.legend(entries.values(), entries.keys(), fontsize=7, loc="lower right")
    caption = f"Gain over the reference, {results.scale.title}, after training on true and on shuffled rewards."
    return Plot(f"gains-{results.scale.name}", caption, figure)


def training_time(results: Results) -> Plot | None:
    """Figure 1: seconds by method and size."""
    rows = results.timing
    if not rows:
        return None
    sizes, methods = (list(dict.fromkeys(row[name] for row in rows)) for name in ("size", "method"))
    figure, (axes,) = panels(1, width=7.2, height=3.4)
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        values = [
            [row["train_seconds"] for row in rows if row["size"] == size and row["method"] == method] for size in sizes
        ]
        axes.bar(
            np.arange(len(sizes)) + (number - (len(methods) - 1) / 2) * width,
            [fmean(v) for v in values],
            width,
            yerr=[float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values],
            label=method,
            color=colour(number),
            error_kw={"linewidth": 0.8},
        )
    axes.set_xticks(range(len(sizes)), sizes)
    label(axes, y=f"seconds of {rows[0]['steps']} steps")
    legend_above(figure, axes)
    caption = "Figure 1, measured here: training time by method and size, same rows and batches, in a single process."
    return Plot("figure-1", caption, figure)


CURVES = {
    "loss": "loss / first loss",
    "logratio": "mean log-ratio on the rows",
    "logratio_reward_correlation": "correlation of log-ratio and reward",
}


def curves(results: Results) -> Plot | None:
    """Loss divided by its first value, log-ratio on the data and its correlation with the reward, by step, seed 0."""
    figure, axes = panels(len(CURVES), width=3.5, height=3.2)
    for number, method in enumerate(results.methods):
        runs = results.runs(method.name) if method.make else []
        history = [entry for entry in (runs[0].end["history"] if runs else ()) if "loss" in entry]
        for panel, name in zip(axes, CURVES, strict=True):
            points = [(entry["step"], float(entry[name])) for entry in history if name in entry]
            if points:
                first = abs(points[0][1]) if name == "loss" and points[0][1] else 1.0
                steps, values = [step for step, _ in points], [value / first for _, value in points]
                dashed = "--" if number >= len(COLOURS) else "-"
                panel.plot(steps, values, dashed, color=colour(number), label=method.name)
    fullest = max(axes, key=lambda panel: len(panel.get_lines()))
    if not fullest.get_lines():
        return None
    for panel, title in zip(axes, CURVES.values(), strict=True):
        label(panel, title=title, x="step")
    axes[0].set_yscale("symlog")
    legend_above(figure, fullest)
    caption = f"Training curves of seed 0 at τ = 1, {results.scale.title}."
    return Plot(f"curves-{results.scale.name}", caption, figure)


def rates_by_tau(results: Results) -> Plot | None:
    """Tables IV and VI as lines: win rate of RPO over SFT and RPO-noNorm by temperature."""
    figure, axes = panels(2, width=3.6, height=3.2)
    axes[1].sharey(axes[0])
    for panel, other in zip(axes, (REFERENCE, "RPO-noNorm"), strict=True):
        for number, judge in enumerate(results.judges):
            judged = results.judged_pairs(judge, [Pair("RPO", other, tau) for tau in results.taus])
            points = [(pair.tau * 1.06**number, found.rate) for pair, found in judged.items() if found.rate is not None]
            if points:
                values = [rate.value for _, rate in points]
                ends = [rate.interval or (rate.value, rate.value) for _, rate in points]
                errors = [
                    [max(value - low, 0.0) for value, (low, _) in zip(values, ends, strict=True)],
                    [max(high - value, 0.0) for value, (_, high) in zip(values, ends, strict=True)],
                ]
                style = {"marker": "o", "markersize": 4, "capsize": 2, "linewidth": 1, "color": colour(number)}
                panel.errorbar([place for place, _ in points], values, yerr=errors, label=judge, **style)
        panel.axhline(50, color=GREY, linewidth=0.8)
        panel.set_xscale("log")
        panel.set_xticks(results.taus, [f"{tau:g}" for tau in results.taus])
        panel.minorticks_off()
        label(panel, title=f"RPO over {other}", x="τ", y="win rate, %")
    labelled = [panel for panel in axes if panel.get_legend_handles_labels()[0]]
    if not labelled:
        return None
    legend_above(figure, labelled[-1], columns=2)
    caption = f"Tables IV and VI as lines, {results.scale.title}; intervals of 95 %."
    return Plot(f"taus-{results.scale.name}", caption, figure)
