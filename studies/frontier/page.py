"""The page: reward against KL, each run's end, and gains compared at equal KL. No torch."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
import numpy as np

from valuefree.errors import DataError
from valuefree.evaluation.stats import Estimate, clustered_mean
from valuefree.report.drawing import colour, label, legend_above, mark, panels

KLS = (0.5, 1.0, 2.0)  # nats per response at which gains are compared
BEGIN, END = "<!-- frontier:begin -->", "<!-- frontier:end -->"
Row = Mapping[str, Any]


class Runs:
    """Rows of the cells with the rewards of each seed's reference.

    Args:
        rows: as `run_cell` writes them. references: by seed, ``prompts`` and the ``rewards`` of the reference on them.
    """

    def __init__(self, rows: Sequence[Row], references: Mapping[int, Mapping[str, Any]]):
        self.references = references
        self.by_name: dict[str, dict[int, Row]] = {}
        for row in sorted(rows, key=lambda row: (row["shuffled"], row["label"], row["seed"])):
            name = f"{row['label']}, rewards shuffled" if row["shuffled"] else row["label"]
            self.by_name.setdefault(name, {})[row["seed"]] = row

    def gains(self, seed: int, point: Mapping[str, Any]) -> np.ndarray:
        """Per held-out prompt (P,): mean reward of the policy's samples less that of the reference's."""
        return np.asarray(point["rewards"]) - np.asarray(self.references[seed]["rewards"])

    def curve(self, name: str, seed: int) -> list[tuple[float, np.ndarray]]:
        """(KL, gains per prompt), from the untouched reference on."""
        points = self.by_name[name][seed]["points"]
        start = np.zeros(len(self.references[seed]["rewards"]))
        return [(0.0, start), *((point["kl"], self.gains(seed, point)) for point in points)]

    def gains_at(self, name: str, seed: int, kl: float) -> np.ndarray | None:
        """Gains per prompt where a run first reaches `kl`, between measurements; None if it never does.

        Linear in √KL: near the reference the best gain at a KL of d nats is σ√(2d), σ the reward's standard deviation
        under the reference (a line in the KL itself would put a run whose first measurement lies far out too low).
        """
        curve = self.curve(name, seed)
        for (low, before), (high, after) in pairwise(curve):
            if low <= kl <= high and high > low:
                share = (kl**0.5 - low**0.5) / (high**0.5 - low**0.5)
                return before + share * (after - before)
        return None

    def pooled(self, values: Mapping[int, np.ndarray]) -> Estimate | None:
        """Mean over seeds and prompts, clustered by prompt: one held out by two seeds is one observation."""
        if not values:
            return None
        prompts = [prompt for seed in values for prompt in self.references[seed]["prompts"]]
        return clustered_mean(np.concatenate(list(values.values())).tolist(), prompts)

    def end_gain(self, name: str) -> Estimate | None:
        """Gain at the end of training."""
        return self.pooled({seed: self.gains(seed, row["points"][-1]) for seed, row in self.by_name[name].items()})

    def gain_at(self, name: str, kl: float) -> tuple[Estimate | None, int]:
        """Gain at a KL, over the seeds that reach it, and how many these are."""
        found = {seed: self.gains_at(name, seed, kl) for seed in self.by_name[name]}
        reached = {seed: values for seed, values in found.items() if values is not None}
        return self.pooled(reached), len(reached)

    def difference_at(self, one: str, other: str, kl: float | None) -> tuple[Estimate | None, int]:
        """Gain of one less that of another on the same prompts, at a KL, or at the end of training if it is None."""
        found = {}
        for seed in self.by_name[one].keys() & self.by_name[other].keys():
            if kl is None:
                pair = [self.gains(seed, self.by_name[name][seed]["points"][-1]) for name in (one, other)]
            else:
                pair = [self.gains_at(name, seed, kl) for name in (one, other)]
            if pair[0] is not None and pair[1] is not None:
                found[seed] = pair[0] - pair[1]
        return self.pooled(dict(sorted(found.items()))), len(found)


def signed(estimate: Estimate | None) -> str:
    """A gain with its interval; bold where that excludes zero."""
    if estimate is None:
        return "–"
    if estimate.interval is None:
        return f"{estimate.value:+.3f}"
    low, high = estimate.interval
    text = f"{estimate.value:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def _mean_of(rows: Mapping[int, Row], name: str) -> float:
    return fmean(row["points"][-1][name] for row in rows.values())


def ends_table(runs: Runs) -> str:
    """Where each objective ends."""
    reference = fmean(reference["length"] for reference in runs.references.values())
    lines = [
        f"| objective | gain at the end of training | KL by seed, nats | tokens (reference {reference:.1f}) "
        "| held-out pairs ranked right | loss, first → last log line |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in runs.by_name.items():
        kls = ", ".join(f"{row['points'][-1]['kl']:.2f}" for row in rows.values())
        losses = ", ".join(f"{row['losses'][0]:.3g} → {row['losses'][-1]:.3g}" for row in rows.values())
        lines.append(
            f"| {name} | {signed(runs.end_gain(name))} | {kls} | {_mean_of(rows, 'length'):.1f} "
            f"| {_mean_of(rows, 'ranking_accuracy'):.1%} | {losses} |"
        )
    return "\n".join(lines)


def matched_table(runs: Runs) -> str:
    """Gains at equal KL."""
    lines = ["| objective |" + "".join(f" at {kl:g} nats |" for kl in KLS), "|---|" + "---|" * len(KLS)]
    for name, rows in runs.by_name.items():
        cells = []
        for kl in KLS:
            estimate, reached = runs.gain_at(name, kl)
            some = f" ({reached} of {len(rows)} seeds)" if 0 < reached < len(rows) else ""
            cells.append(signed(estimate) + some)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences_table(runs: Runs, against: str) -> str:
    """Gain of one objective less that of each other, at the end and at equal KL."""
    columns = ["at the end", *(f"at {kl:g} nats" for kl in KLS)]
    lines = [f"| {against} minus |" + "".join(f" {column} |" for column in columns), "|---|" + "---|" * len(columns)]
    for name in runs.by_name:
        if name == against:
            continue
        cells = []
        for kl in (None, *KLS):
            estimate, seeds = runs.difference_at(against, name, kl)
            some = f" ({seeds} of {len(runs.by_name[name])} seeds)" if 0 < seeds < len(runs.by_name[name]) else ""
            cells.append(signed(estimate) + some)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(runs: Runs, against: str) -> list[str]:
    """What the differences support, one sentence per other objective trained on true rewards."""
    sentences = []
    for name in runs.by_name:
        if name == against or name.endswith("shuffled"):
            continue
        parts = []
        for kl in (None, *KLS):
            estimate, seeds = runs.difference_at(against, name, kl)
            where = "at the end" if kl is None else f"at {kl:g} nats"
            if estimate is None or estimate.interval is None:
                parts.append(f"{where} not comparable (no seed has both)")
                continue
            low, high = estimate.interval
            state = "ahead" if low > 0 else "behind" if high < 0 else "undecided"
            parts.append(f"{where} {state} ({estimate.value:+.3f}, {seeds} seeds)")
        sentences.append(f"- {against} against {name}: {'; '.join(parts)}.")
    return sentences


def draw(runs: Runs, file: Path) -> None:
    """Gain against KL: a line per objective, means over its seeds mid-run and at the end; small marks are the seeds."""
    figure, (panel,) = panels(1, width=6.4, height=4.2)
    for number, (name, rows) in enumerate(runs.by_name.items()):
        style: dict[str, Any] = {"color": colour(number), "marker": mark(number)}
        curves = [runs.curve(name, seed) for seed in rows]
        kls = np.mean([[kl for kl, _ in curve] for curve in curves], axis=0)
        gains = np.mean([[values.mean() for _, values in curve] for curve in curves], axis=0)
        dashes = ":" if name.endswith("shuffled") else "-"
        panel.plot(kls, gains, label=name, linewidth=1.4, markersize=6, linestyle=dashes, **style)
        for curve in curves:
            panel.plot(curve[-1][0], curve[-1][1].mean(), markersize=3, linestyle="none", alpha=0.5, **style)
    panel.axhline(0, color="0.6", linewidth=0.8)
    label(panel, x="KL(policy‖reference), nats per response", y="reward gained on held-out prompts")
    legend_above(figure, panel, columns=2)
    file.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": file.stem}):
        figure.savefig(file, metadata={"Date": None})
    figure.savefig(file.with_suffix(".png"), dpi=110)


def write_between(file: Path, text: str) -> None:
    """Put `text` between the two markers of `file`.

    Raises:
        DataError: a marker is missing.
    """
    content = file.read_text(encoding="utf-8")
    if BEGIN not in content or END not in content:
        raise DataError(f"{file} lacks the markers {BEGIN} and {END}.")
    before, rest = content.split(BEGIN, 1)
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def write_page(page: Path, runs: Runs, against: str, record: Mapping[str, Any], readme: Path | None) -> None:
    """Write the page with its figure beside it, and the table of ends into the README between its markers."""
    figure = page.parent / page.stem / "frontier.svg"
    draw(runs, figure)
    rows = [row for found in runs.by_name.values() for row in found.values()]
    seeds = sorted(runs.references)
    warned = [
        f"{name} (seed {seed})" for name, found in runs.by_name.items() for seed in found if found[seed]["rising_loss"]
    ]
    commits = sorted({str(row["commit"]) for row in rows})
    text = [
        "# Reward against KL on the demo's task",
        "",
        f"Written by `python -m studies frontier`, started {record['started']}; "
        f"{len(rows)} runs took {sum(row['seconds'] for row in rows) / 60:.0f} min in all, each on one thread. "
        f"Commit of the runs: {', '.join(commits)}. {record['machine']}. Versions: "
        + ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        + ".",
        "",
        f"![Reward gained against KL]({page.stem}/frontier.svg)",
        "",
        "## In short",
        "",
        *verdict(runs, against),
        "",
        "## How it was done",
        "",
        "SmolLM2-135M-Instruct, LoRA of rank 16 in the upper 15 of 30 layers, 160 training prompts × 4 answers, one "
        "epoch, batch 8, peak learning rate 5e-4 with linear decay, the same for every objective. No setting was "
        f"chosen on these seeds ({', '.join(map(str, seeds))}). A seed sets the split, the order of the rows, the "
        "adapter's first weights and the sampling. Every policy is measured after half of the steps and at the end: "
        "reward on 80 held-out prompts × 2 samples (temperature 0.7, top-k 50, at most 40 tokens) less the reward of "
        "the reference's samples for the same prompts, which all runs of a seed share; KL from one sample of the "
        "policy at temperature 1 for 40 of the prompts; order of the held-out rows by log-ratio and by reward. "
        "“Rewards shuffled”: trained on rewards permuted within each prompt, which removes what distinguishes a "
        "prompt's answers and keeps the prompts' means.",
        "",
        "Gains are means over seeds and prompts with 95 % bootstrap intervals clustered by prompt; bold where the "
        "interval excludes zero. They hold for these seeds: the interval covers prompts and samples, not other "
        "training runs. At equal KL: linear in √KL between the reference, the measurement in mid-run and the end, per "
        "prompt, where a run first reaches that KL. Below the KL of a run's first measurement this rests on the form "
        "of the curve; the error of the KL itself is not in the interval.",
        "",
        "## At the end of training",
        "",
        ends_table(runs),
        "",
        f"Runs whose loss rose: {', '.join(warned) or 'none'}.",
        "",
        "## At equal KL",
        "",
        matched_table(runs),
        "",
        differences_table(runs, against),
        "",
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(text), encoding="utf-8")
    if readme is not None:
        write_between(readme, ends_table(runs))
