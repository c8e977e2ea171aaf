"""Curves of the metrics that training runs logged."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from valuefree.report.drawing import colour, label, legend_above, mark, panels
from valuefree.report.model import Plot, Section

History = Sequence[Mapping[str, Any]]  # the lines of metrics.jsonl

OF = " of "
FIRST = ("loss", "logratio", "logratio_reward_correlation", "accuracy", "margin")
STEPS = ("learning_rate", "grad_norm", "tokens_per_second")
# Constant over a run, or shown elsewhere.
_LEFT_OUT = ("step", "epoch", "padding_share", "responses_per_second", "peak_memory_gb", "total_flos", "cut_share")
_LEFT_OUT_PREFIXES = ("train_", "target_p", "held_out_")
_OF_SPEED = ("_runtime", "_per_second")
_MEANINGS = {
    "loss": "loss",
    "logratio": "mean log-ratio on the data, nats",
    "logratio_reward_correlation": "correlation of log-ratio and reward",
    "grad_norm": "norm of the gradient",
    "learning_rate": "learning rate",
    "tokens_per_second": "tokens per second",
}


def curves(history: History) -> dict[str, list[tuple[float, float]]]:
    """(step, value) by name, in order of steps; values that are not finite numbers are left out.

    Of a step that was logged twice, after a resumption, the last value counts.
    """
    values: dict[str, dict[float, float]] = defaultdict(dict)
    for entry in history:
        for name, value in entry.items():
            if name in _LEFT_OUT or name.startswith(_LEFT_OUT_PREFIXES):
                continue
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                values[name][entry["step"]] = float(value)
    return {name: sorted(points.items()) for name, points in values.items()}


def training_section(histories: Mapping[str, History], objectives: Mapping[str, str]) -> Section | None:
    """The overlaid curves of runs by name; None if nothing was logged.

    objectives: the objective of each run. Losses of different objectives have no common unit, so each has a panel.
    """
    drawn = {name: _apart(curves(history), objectives, name) for name, history in histories.items()}
    names = list(dict.fromkeys(name for run in drawn.values() for name in run))
    evaluated = [name for name in names if name.startswith("eval_") and not name.endswith(_OF_SPEED)]
    learnt = [name for name in names if not name.startswith("eval_") and name not in STEPS]
    learnt.sort(key=lambda name: FIRST.index(plain) if (plain := name.split(OF)[0]) in FIRST else len(FIRST))
    groups = {
        "training": (learnt, "Training metrics by step; each point is the mean since the previous one."),
        "validation": (evaluated, "Metrics on prompts outside the training rows, by step."),
        "optimiser": ([name for name in STEPS if name in names], "Learning rate, gradient norm and speed by step."),
    }
    plots = [_plot(key, chosen, drawn, caption) for key, (chosen, caption) in groups.items() if chosen]
    if not plots:
        return None
    return Section("training", "Training", plots=plots)


def _apart(series: dict[str, Any], objectives: Mapping[str, str], run: str) -> dict[str, Any]:
    """The curves; if the runs have several objectives, losses are named after the objective of the run."""
    if len({objectives[name] for name in objectives}) < 2:
        return series
    named = {name: f"{name}{OF}{objectives[run]}" for name in series if name.removeprefix("eval_").startswith("loss")}
    return {named.get(name, name): points for name, points in series.items()}


def _plot(key: str, names: Sequence[str], drawn: Mapping[str, Mapping[str, Any]], caption: str) -> Plot:
    figure, axes = panels(len(names))
    for panel, name in zip(axes, names, strict=True):
        for number, (run, series) in enumerate(drawn.items()):
            if name not in series and OF in name:
                continue  # the loss of another objective
            points = series.get(name, [])
            steps, values = [step for step, _ in points], [value for _, value in points]
            panel.plot(steps, values, color=colour(number), marker=mark(number), markersize=3, linewidth=1.1, label=run)
        plain, of, objective = name.removeprefix("eval_").partition(OF)
        label(panel, title=f"{_MEANINGS.get(plain, plain.replace('_', ' '))}{of}{objective}", x="step")
    legend_above(figure, max(axes, key=lambda panel: len(panel.lines)))
    return Plot(key, caption, figure)
