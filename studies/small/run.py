"""The small study from its options: what is missing is run, then rows, tables, figures and the page are written."""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from studies.harness.controls import REMOVES
from studies.harness.pool import WorkerDied, Workers
from studies.options import StudySmallConfig
from studies.small.cells import Cell, Row, final_cells, missing, tuning_cells
from studies.small.files import write_text
from studies.small.frontier import choose
from studies.small.methods import METHODS, chosen
from studies.small.models import KINDS
from studies.small.page import write_page
from studies.small.scale import QUICK, Scale
from studies.small.training import run_cell
from studies.small.world import REGIMES, has_references, make_reference
from valuefree.errors import ConfigError
from valuefree.runs.manifest import git_commit, manifest

Say = Callable[[str], None]
PROGRESS_SECONDS = 30
# For the estimate of a dry run: of a core of a server in 2026; of a run's start, of a step, of a measurement.
RUN_SECONDS = {"t5": (0.3, 0.032, 0.22), "decoder": (0.3, 0.022, 0.17)}
REFERENCE_STEP_SECONDS = {"t5": 0.1, "decoder": 0.07}


@dataclass(frozen=True)
class Axes:
    """The grid: groups of (kind of model, regime, method)."""

    kinds: list[str]
    regimes: list[str]
    methods: list[str]

    @classmethod
    def of(cls, options: StudySmallConfig) -> "Axes":
        """From the options, every name checked."""
        return cls(
            chosen(options.models, KINDS, "model"),
            chosen(options.regimes, REGIMES, "regime"),
            chosen(options.methods, list(METHODS), "method"),
        )

    @property
    def groups(self) -> list[tuple[str, str, str]]:
        """All of them, methods innermost."""
        return [(kind, regime, method) for kind in self.kinds for regime in self.regimes for method in self.methods]


@dataclass(frozen=True)
class StudyResult:
    """How many rows there are, how many of them are failures, and where the page is."""

    rows: int
    failed: int
    page: Path


def scale_of(options: StudySmallConfig) -> Scale:
    """Sizes, with the seeds that the options give."""
    scale = QUICK if options.quick else Scale()
    names = ("seeds", "tuning_seeds", "control_seeds")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    scale = replace(scale, **given)
    if options.control == "none":
        return replace(scale, control_seeds=0)
    if scale.control_seeds > scale.seeds:
        if options.control_seeds is not None:
            raise ConfigError(f"control_seeds {scale.control_seeds} exceeds seeds {scale.seeds}: they are paired.")
        scale = replace(scale, control_seeds=scale.seeds)
    return scale


def study(options: StudySmallConfig, *, say: Say, scale: Scale | None = None) -> StudyResult | None:
    """Carry out the study; None after a dry run. Run again after an interruption, it does what is missing.

    Args:
        options: of the verb. say: takes one line of progress at a time. scale: in place of what the options say.

    Raises:
        ConfigError: unknown names; a folder that holds a study of other sizes.
    """
    start = time.perf_counter()
    axes, scale = Axes.of(options), scale or scale_of(options)
    folder = Path(options.out).absolute()
    settings = {method: METHODS[method].settings(scale) for method in axes.methods}
    tuning = tuning_cells(axes.groups, settings, scale.tuning_seeds)
    controls = len(REMOVES) * scale.control_seeds
    finals = len(axes.groups) * (scale.seeds + controls)
    workers = options.workers or os.cpu_count() or 1
    say(
        f"{len(tuning) + finals} cells: {len(tuning)} to tune, {len(axes.groups) * scale.seeds} to report, "
        f"{len(axes.groups) * controls} of the controls; {workers} workers, "
        f"about {_estimate(axes, len(tuning) + finals, len(axes.groups) * controls, scale, workers) / 60:.0f} min"
    )
    if options.dry_run:
        return None
    _claim(folder, scale)
    record = manifest("studies small", options.to_dict(), scale=scale.world())
    with Workers(workers) as processes:
        lacking = [kind for kind in axes.kinds if not has_references(folder, kind)]
        list(processes.run([(make_reference, (folder, kind, scale)) for kind in lacking]))
        say(f"references of {', '.join(axes.kinds)}: {time.perf_counter() - start:.0f} s since the start")
        rows = _run(tuning, folder, scale, processes, say)
        best = choose(rows)
        rows += _run(final_cells(best, scale.seeds, scale.control_seeds), folder, scale, processes, say)
    record["seconds"] = time.perf_counter() - start
    page = Path(options.page) if options.page else folder / "small.md"
    write_page(page, folder, rows, best, axes.groups, scale, record)
    return StudyResult(len(rows), sum(row.error is not None for row in rows), page)


def _estimate(axes: Axes, cells: int, controls: int, scale: Scale, workers: int) -> float:
    """Seconds of a study from nothing, of whose cells so many are controls, measured once."""
    measurements = (cells - controls) / cells * len(scale.checkpoints) + controls / cells
    amounts = (1, scale.checkpoints[-1], measurements)
    per_cell = [sum(a * b for a, b in zip(amounts, RUN_SECONDS[kind], strict=True)) for kind in axes.kinds]
    return cells * fmean(per_cell) / workers + max(
        REFERENCE_STEP_SECONDS[kind] * scale.reference_steps for kind in axes.kinds
    )


def _claim(folder: Path, scale: Scale) -> None:
    """Mark the folder as that of a study of these sizes."""
    file = folder / "study.json"
    ours: dict[str, Any] = json.loads(json.dumps(scale.world()))
    if not file.exists():
        write_text(file, json.dumps(ours, indent=1))
        return
    theirs = json.loads(file.read_text(encoding="utf-8"))
    if theirs != ours:
        other = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        raise ConfigError(
            f"{folder} holds a study that differs in {', '.join(other)}, so its cells cannot be gone on with. Choose "
            "another folder with --out, or remove it."
        )


def _run(cells: Sequence[Cell], folder: Path, scale: Scale, processes: Workers, say: Say) -> list[Row]:
    """Run those that are missing; the rows of all."""
    todo = missing(cells, folder)
    commit = git_commit()
    start = said = time.perf_counter()
    tasks = [(run_cell, (cell, folder, scale, commit)) for cell in todo]
    for done, (number, result) in enumerate(processes.run(tasks), start=1):
        if isinstance(result, WorkerDied):
            result = Row(todo[number], None, f"{type(result).__name__}: {result}", 0.0, 0.0, commit)
            result.write(folder)
        if result.error is not None:
            say(f"failed: {result.cell.name}: {result.error}")
        if time.perf_counter() - said > PROGRESS_SECONDS or done == len(todo):
            said = time.perf_counter()
            say(f"{done} of {len(todo)} cells, {(said - start) / 60:.1f} min")
    return [Row.read(cell.file(folder)) for cell in cells]
