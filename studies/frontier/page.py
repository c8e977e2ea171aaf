"""The page: reward against KL, where each run ends, and gains compared at equal KL. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from studies.frontier.cells import REFERENCE
from studies.harness.cells import Row
from studies.harness.page import draw_line, protocol, write_page
from studies.harness.results import first_at, number, record_against
from valuefree.evaluation.stats import Estimate, clustered_mean
from valuefree.report import Plot, Section, Table
from valuefree.report.drawing import GREY, label, legend_above, panels

KLS = (0.5, 1.0, 2.0)  # nats per response at which gains are compared
PLACES: dict[str, float | None] = {"at the end": None} | {f"at {kl:g} nats": kl for kl in KLS}
Curve = Sequence[Mapping[str, Any]]


class Runs:
    """The curves of the runs, with the rewards of each seed's reference.

    Args:
        rows: of the references and of the objectives; rows of runs that failed are left out.
    """

    def __init__(self, rows: Sequence[Row]):
        self.references: dict[int, Mapping[str, Any]] = {}
        self.by_title: dict[str, dict[int, Curve]] = {}
        for row in sorted(rows, key=lambda row: (row.cell.shuffled, row.cell.label, row.cell.seed)):
            if row.curve is not None and row.cell.label == REFERENCE:
                self.references[row.cell.seed] = row.curve[0]
            elif row.curve is not None:
                self.by_title.setdefault(row.cell.title, {})[row.cell.seed] = row.curve

    def curve(self, title: str, seed: int) -> list[tuple[float, np.ndarray]]:
        """(KL, gains per held-out prompt (P,)), from the untouched reference on.

        A gain is the mean reward of the policy's samples less that of the reference's for the same prompt.
        """
        reference = np.asarray(self.references[seed]["rewards"])
        points = [(point["kl"], np.asarray(point["rewards"]) - reference) for point in self.by_title[title][seed]]
        return [(0.0, np.zeros(len(reference))), *points]

    def gains_at(self, title: str, seed: int, kl: float | None) -> np.ndarray | None:
        """Gains per prompt where a run first reaches `kl`, None if it never does; at the end if `kl` is None.

        A line in the KL itself would put a run whose first measurement lies far out too low.
        """
        curve = self.curve(title, seed)
        return curve[-1][1] if kl is None else first_at(curve, kl, root=True)

    def gain(self, title: str, kl: float | None, less: str | None = None) -> tuple[Estimate | None, int]:
        """Mean gain over prompts and the seeds that reach `kl`, and how many these are.

        The interval is clustered by prompt: a prompt that two seeds hold out is one observation.

        Args:
            less: an objective whose gain on the same prompts is subtracted.
        """
        values: dict[int, np.ndarray] = {}
        for seed in sorted(self.by_title[title].keys() & self.by_title[less or title].keys()):
            ours = self.gains_at(title, seed, kl)
            theirs = 0.0 if less is None else self.gains_at(less, seed, kl)
            if ours is not None and theirs is not None:
                values[seed] = ours - theirs
        if not values:
            return None, 0
        prompts = [prompt for seed in values for prompt in self.references[seed]["prompts"]]
        return clustered_mean(np.concatenate(list(values.values())).tolist(), prompts), len(values)

    def cell(self, title: str, kl: float | None, less: str | None = None) -> str:
        """A gain for a table, with the number of seeds where not all reach the KL."""
        estimate, seeds = self.gain(title, kl, less)
        runs = len(self.by_title[less or title])
        return number(estimate, signed=True) + (f" ({seeds} of {runs} seeds)" if 0 < seeds < runs else "")

    def end(self, title: str, name: str) -> float:
        """Mean over seeds of a measurement at the end."""
        return fmean(curve[-1][name] for curve in self.by_title[title].values())


def ends_table(runs: Runs) -> Table:
    """Where each objective ends."""
    reference = fmean(reference["length"] for reference in runs.references.values())
    head = ["objective", "gain at the end of training", "KL by seed, nats", f"tokens (reference {reference:.1f})"]
    head += ["share of held-out pairs in the right order", "loss, first → last log line"]
    lines = []
    for title, curves in runs.by_title.items():
        ends = [curve[-1] for curve in curves.values()]
        kls = ", ".join(f"{end['kl']:.2f}" for end in ends)
        losses = ", ".join(f"{end['losses'][0]:.3g} → {end['losses'][-1]:.3g}" for end in ends)
        length, ranked = f"{runs.end(title, 'length'):.1f}", f"{runs.end(title, 'ranking_accuracy'):.1%}"
        lines.append([title, runs.cell(title, None), kls, length, ranked, losses])
    return Table("", head, lines)


def matched_table(runs: Runs) -> Table:
    """Gains at equal KL."""
    lines = [[title, *(runs.cell(title, kl) for kl in KLS)] for title in runs.by_title]
    return Table("", ["objective", *list(PLACES)[1:]], lines)


def differences_table(runs: Runs, default: str) -> Table:
    """The gain of one objective less that of each other, at the end and at equal KL."""
    others = [title for title in runs.by_title if title != default]
    lines = [[title, *(runs.cell(default, kl, title) for kl in PLACES.values())] for title in others]
    return Table("", [f"{default} less", *PLACES], lines)


def verdict(runs: Runs, default: str) -> list[str]:
    """One sentence per other objective that is trained on true rewards."""
    others = [title for title in runs.by_title if title != default and not title.endswith("shuffled")]
    return [
        record_against(default, title, {place: runs.gain(default, kl, title)[0] for place, kl in PLACES.items()})[-1]
        for title in others
    ]


def frontier(runs: Runs) -> Plot:
    """Gain against KL: a line per objective, means over its seeds mid-run and at the end; small marks are the seeds."""
    figure, (panel,) = panels(1, width=6.4, height=4.2)
    for index, (title, by_seed) in enumerate(runs.by_title.items()):
        curves = [runs.curve(title, seed) for seed in by_seed]
        kls = np.mean([[kl for kl, _ in curve] for curve in curves], axis=0)
        gains = np.mean([[values.mean() for _, values in curve] for curve in curves], axis=0)
        dashes = ":" if title.endswith("shuffled") else "-"
        draw_line(panel, index, kls, gains, title, markersize=6, linestyle=dashes)
        ends = [[curve[-1][0] for curve in curves], [curve[-1][1].mean() for curve in curves]]
        draw_line(panel, index, *ends, "_seeds", markersize=3, linestyle="none", alpha=0.5)
    panel.axhline(0, color=GREY, linewidth=0.8)
    label(panel, x="KL(policy‖reference), nats per response", y="reward gained on held-out prompts")
    legend_above(figure, panel, columns=2)
    return Plot("frontier", "Reward gained against KL", figure)


def make_page(page: Path, rows: Sequence[Row], default: str, record: Mapping[str, Any]) -> None:
    """Write the page with its figure beside it."""
    runs = Runs(rows)
    warned = [
        f"{title} (seed {seed})"
        for title, curves in runs.by_title.items()
        for seed, curve in curves.items()
        if curve[-1]["rising_loss"]
    ]
    sections = [
        Section("short", "In short", items=verdict(runs, default), plots=[frontier(runs)]),
        Section(
            "method", "How it was done", protocol(Path(__file__), seeds=", ".join(map(str, sorted(runs.references))))
        ),
        Section(
            "ends",
            "At the end of training",
            [f"Runs whose loss rose: {', '.join(warned) or 'none'}."],
            (),
            [ends_table(runs)],
        ),
        Section("matched", "At equal KL", tables=[matched_table(runs), differences_table(runs, default)]),
    ]
    write_page(page, "Reward against KL on the demo's task", sections, record, rows)
