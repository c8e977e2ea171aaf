"""Diagnostics of the partition of the training data before training, from metrics.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from valuefree.report.drawing import GREY, colour, label, legend_above, mark, panels
from valuefree.report.model import Plot, Section, Table

Partition = Mapping[str, Any]  # `PartitionReport.to_dict()`

PER_PROMPT = {
    "sizes": "responses per prompt",
    "effective_sizes": "effective responses, weighted by e^(r/τ)",
    "spreads": "spread of the rewards",
    "log_coverage": "joint reference log-prob., nats",
    "values": "V̂, reward units",
}


def partition_section(partitions: Mapping[str, Partition], *, several: bool) -> Section | None:
    """The diagnostics of runs by name; None if no run has a partition. several: show the names of the runs."""
    if not partitions:
        return None
    items = [
        f"{run}: {sentence}" if several else sentence
        for run, diagnostics in partitions.items()
        for sentence in (diagnostics["warnings"] if several else diagnostics.get("sentences", diagnostics["warnings"]))
    ]
    return Section(
        "partition",
        "Data and partition before training",
        items=items,
        tables=[_table(partitions, several)],
        plots=[_plot(partitions)],
    )


def _table(partitions: Mapping[str, Partition], several: bool) -> Table:
    diagnostics = list(partitions.values())
    numbers = {
        "responses, prompts": [f"{p['rows']}, {p['prompts']}" for p in diagnostics],
        "estimator, τ": [f"{p['estimator']}, {p['tau']:.3g}" for p in diagnostics],
        "spread of rewards within prompts": [f"{p['spread_within']:.3g}" for p in diagnostics],
        "effective responses, weighted by e^(r/τ), median": [f"{p['median_effective_size']:.3g}" for p in diagnostics],
        "joint log-probability of a prompt's responses under the reference, median, nats": [
            f"{p['median_log_coverage']:.3g}" for p in diagnostics
        ],
        "share of the initial loss that compares prompts": [f"{p['level_share']:.1%}" for p in diagnostics],
        "  the same at level ∞": [f"{p['level_share_unweighted']:.1%}" for p in diagnostics],
        "smallest τ for monte_carlo": [
            f"{p['tau_floor']:.3g}" if math.isfinite(float(p["tau_floor"])) else "–, one response per prompt"
            for p in diagnostics
        ],
        "duplicate rows": [str(p["duplicates"]) for p in diagnostics],
        "prompts with one response, with equal rewards": [f"{p['singletons']}, {p['all_equal']}" for p in diagnostics],
    }
    head = ["", *(partitions if several else ["value"])]
    note = (
        "The part of the loss that compares prompts pushes all responses to a prompt alike; the rest compares them "
        "with each other."
    )
    return Table("", head, [[name, *cells] for name, cells in numbers.items()], note)


def _plot(partitions: Mapping[str, Partition]) -> Plot:
    """Quantiles of the targets, and of the values per prompt."""
    names = [
        name
        for name in PER_PROMPT
        if all(name in diagnostics.get("per_prompt", {}) for diagnostics in partitions.values())
    ]
    figure, (targets, *others) = panels(1 + len(names))
    targets.axhline(0, color=GREY, linewidth=1)
    for number, (run, diagnostics) in enumerate(partitions.items()):
        style = {"color": colour(number), "marker": mark(number), "markersize": 4, "linewidth": 1.1, "label": run}
        targets.plot(*_points(diagnostics["target_quantiles"]), **style)
        for panel, name in zip(others, names, strict=True):
            panel.plot(*_points(diagnostics["per_prompt"][name]), **style)
    label(targets, title="targets (r − V̂)/τ, nats", x="share of the responses, %")
    for panel, name in zip(others, names, strict=True):
        label(panel, title=PER_PROMPT[name], x="share of the prompts, %")
    legend_above(figure, targets)
    return Plot(
        "partition",
        "Quantiles: the horizontal axis is the share of responses or prompts whose value lies below the curve.",
        figure,
    )


def _points(quantiles: Mapping[str, float]) -> tuple[Sequence[float], Sequence[float]]:
    points = sorted((100 * float(share), value) for share, value in quantiles.items())
    return [share for share, _ in points], [value for _, value in points]
