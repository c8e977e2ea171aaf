"""The page of the study, every number of it from the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

from studies.harness.controls import REMOVES, UNUSED
from studies.small.cells import Row
from studies.small.figures import draw_frontier
from studies.small.files import write_text
from studies.small.frontier import Group
from studies.small.methods import METHODS, Method
from studies.small.scale import KLS, NEW_TOKENS, Scale
from studies.small.summary import summary
from studies.small.tables import (
    control_table,
    differences_table,
    edges_list,
    markdown,
    rewards_table,
    untouched_table,
    worlds_of,
    write_rows,
)
from valuefree.objectives import Objective

FEW_SEEDS = " **With so few seeds an interval that excludes zero says little: this is a trial of the workings.**"
SPENT = ("seconds", "cpu_seconds")


def write_page(
    page: Path,
    folder: Path,
    rows: Sequence[Row],
    best: Mapping[Group, tuple[float, float | None]],
    groups: Sequence[Group],
    scale: Scale,
    record: Mapping[str, Any],
) -> None:
    """Write the page, its figures in a folder of the page's name beside it, and rows.json and rows.csv in `folder`.

    Args:
        best: the setting of every group that has one. record: the manifest, with the seconds of this run.
    """
    write_rows(folder, rows)
    worlds = worlds_of(rows, groups)
    methods = list(dict.fromkeys(group[2] for group in groups))
    knobs = {method: METHODS[method].knob for method in methods}
    tried = {method: METHODS[method].settings(scale) for method in methods}
    families = {method: METHODS[method].family for method in methods}
    controlled = scale.control_seeds > 0
    text = ["# The small study", "", _origin(rows, record), "", "## In short", ""]
    shipped = untouched_table(worlds, best, scale)
    text += [summary(worlds, rows, families, shipped, controlled=controlled), ""]
    text += ["## How it was done", "", _protocol(scale, rows, controlled=controlled), ""]
    for world in worlds:
        figure = draw_frontier(world, page.parent / page.stem)
        text += [f"## {world.title[0].upper()}{world.title[1:]}", ""]
        text += [f"![Reward against KL, {world.title}]({page.stem}/{figure.name})", ""]
        text += [
            rewards_table(world, best, knobs, tried, scale),
            "",
            _paired_note(),
            "",
            differences_table(world, scale),
            "",
        ]
        if controlled:
            text += [f"### Controls: {world.title}", "", control_table(world, scale), ""]
    edges = [f"- {line}" for line in edges_list(worlds, best, tried)] or ["None."]
    text += ["## Choices at an edge of what was tried", "", *edges, ""]
    text += ["## Methods", "", _methods_table([METHODS[method] for method in methods], rows, scale), ""]
    text += ["## Runs that failed", "", _failures(rows), ""]
    write_text(page, "\n".join(text))


def _origin(rows: Sequence[Row], record: Mapping[str, Any]) -> str:
    commits = ", ".join(sorted({str(row.commit) for row in rows}))
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    command = " ".join(
        f"--{name.replace('_', '-')} {value}" if value is not True else f"--{name}"
        for name, value in record["config"].items()
        if value not in (None, False)
    )
    return (
        f"Written by `python -m {record['command']} {command}`, started {record['started']}, "
        f"{record['seconds'] / 60:.1f} min; the {len(rows)} runs took {sum(row.seconds for row in rows) / 60:.1f} min "
        f"in all, each on one thread. Commit of the runs: {commits}; of this page: {record['commit']}. "
        f"{record['machine']}. Versions: {versions}."
    )


def _protocol(scale: Scale, rows: Sequence[Row], *, controlled: bool) -> str:
    ends = ", ".join(map(str, scale.checkpoints))
    tuned = len({row.cell.seed for row in rows if row.cell.stage == "tune"})
    levels = ", ".join(f"{kl:g}" for kl in KLS)
    text = (
        "A tiny T5 and a tiny decoder of the Llama kind, trained once on texts of a small grammar, are the references. "
        "The reward is a program: keywords, mood, length, no repeats, a full stop, weighted to lie between 0 and 1. "
        f"Training rows: {scale.train_prompts} prompts × {scale.responses} responses, drawn anew for every seed and "
        "the same for every method; on-policy from the reference, off-policy half from a better and half from a worse "
        f"policy. Every run has {scale.checkpoints[-1]} steps of {scale.batch} rows under AdamW at a constant rate and "
        f"is measured after {ends} steps.\n\n"
        f"Measured: {scale.test_prompts} held-out prompts × {scale.samples} exact samples (temperature 1, nothing cut "
        f"off, at most {NEW_TOKENS} tokens). KL(policy‖reference) is the sum over the tokens of a sample of the KL of "
        "the two next-token distributions, in nats per response.\n\n"
        "*At equal KL*: linear between the checkpoints of a run, where it first reaches that KL; a run that never "
        f"does is left out, and the number of seeds stands in brackets. Methods are compared at {levels} nats.\n\n"
        f"Tuning: {scale.points} settings for every method, learning rate × its own strength, or learning rates alone "
        "where it has none; methods named *-untouched* are the objectives as shipped and have none to tune. Settings "
        f"are tried on seeds that are not reported ({tuned} of them), on validation prompts with "
        f"{scale.validation_samples} samples each. Chosen is the highest mean of the gains at {levels} nats, reward "
        "there less that of the reference. A level that the run never reaches counts as no gain, or as the loss where "
        "the run ends below the reference: a run that does not arrive is credited with nothing. An asterisk marks a "
        "choice at an edge of what was tried; a list of these stands below.\n\n"
        f"Then {scale.seeds} reported seeds. **All seeds of a kind of model share one reference** (and one better and "
        f"one worse policy); each draws its own training rows, order and samples, and {scale.test_prompts} test "
        f"prompts from a pool of {scale.test_pool}. Intervals are of 95 %, by Student's t over seeds: they cover "
        "the training data and the prompts, not another reference, and are not corrected for how many there are. An "
        f"interval excludes zero if it does to the digits shown.{FEW_SEEDS if scale.seeds < 4 else ''}"
    )
    return f"{text}\n\n{_control_note(scale)}" if controlled else text


def _paired_note() -> str:
    return "Reward less that of another method, paired on seeds; bold where the interval excludes zero."


def _control_note(scale: Scale) -> str:
    listed = "\n".join(f"- *{name}*: {text}." for name, text in REMOVES.items())
    return (
        f"Controls: the same settings on permuted rewards, {scale.control_seeds} seeds each, compared where the runs "
        f"end.\n\n{listed}\n\n{UNUSED}."
    )


def _short(objective: Objective) -> str:
    """As it is written in Python, without what is at its default."""
    default = {item.name: item.default for item in fields(objective)}  # type: ignore[arg-type]
    given = {name: getattr(objective, name) for name in default if getattr(objective, name) != default[name]}
    return f"{type(objective).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _methods_table(methods: Sequence[Method], rows: Sequence[Row], scale: Scale) -> str:
    lines = []
    for method in methods:
        settings = method.settings(scale)
        strengths = list(dict.fromkeys(strength for _, strength in settings if strength is not None))
        lrs = list(dict.fromkeys(lr for lr, _ in settings))
        ended = [row for row in rows if row.cell.method == method.name and row.error is None]
        lines.append(
            [
                method.name,
                f"`{_short(method.objective(strengths[0] if strengths else None))}`",
                f"{method.knob}: {', '.join(f'{value:g}' for value in strengths)}" if strengths else "none",
                ", ".join(f"{lr:g}" for lr in lrs),
                *(f"{fmean(getattr(row, name) for row in ended):.1f}" if ended else "–" for name in SPENT),
            ]
        )
    return markdown(
        ["method", "objective, at the first strength", "strengths", "lr", "seconds per run", "of processor"], lines
    )


def _failures(rows: Sequence[Row]) -> str:
    failed = [row for row in rows if row.error is not None]
    if not failed:
        return "None."
    return "\n".join(f"- {row.cell.name}: {' '.join((row.error or '').split())}" for row in failed)
