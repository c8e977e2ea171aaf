"""The small study from its options: run the cells that are missing, then write rows, figures and the page."""

from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from studies.harness.cells import Row, Say, StudyResult, claim, run_cells, write_rows
from studies.harness.controls import REMOVES
from studies.harness.methods import names_of
from studies.harness.pool import Workers
from studies.options import StudySmallConfig
from studies.small.cells import final_cells, tuning_cells
from studies.small.methods import METHODS, settings_of
from studies.small.models import KINDS
from studies.small.page import make_page
from studies.small.results import choose
from studies.small.scale import QUICK, Scale
from studies.small.training import measure_cell
from studies.small.world import REGIMES, make_references
from valuefree.errors import ConfigError
from valuefree.runs.manifest import manifest

# For the estimate of a dry run, on a core of a server in 2026: of a run's start, of a step, of a measurement.
RUN_SECONDS = {"t5": (0.3, 0.032, 0.22), "decoder": (0.3, 0.022, 0.17)}
REFERENCE_STEP_SECONDS = {"t5": 0.1, "decoder": 0.07}


def scale_of(options: StudySmallConfig) -> Scale:
    """Sizes, with the seeds that the options give."""
    scale = QUICK if options.quick else Scale()
    names = ("seeds", "tuning_seeds", "control_seeds")
    scale = replace(scale, **{name: value for name in names if (value := getattr(options, name)) is not None})
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
        options: of the command. say: takes one line of progress at a time. scale: in place of that of the options.

    Raises:
        ConfigError: unknown names; a folder that holds a study of other sizes.
    """
    scale = scale or scale_of(options)
    kinds = names_of(options.models, KINDS, "model")
    regimes = names_of(options.regimes, REGIMES, "regime")
    methods = names_of(options.methods, METHODS, "method")
    groups = [(kind, regime, method) for kind in kinds for regime in regimes for method in methods]
    folder = Path(options.out).absolute()
    settings = {method: settings_of(METHODS[method], scale) for method in methods}
    tuning = tuning_cells(groups, settings, scale.tuning_seeds)
    reported, controls = len(groups) * scale.seeds, len(groups) * len(REMOVES) * scale.control_seeds
    cells = len(tuning) + reported + controls
    with Workers(options.workers) as workers:
        minutes = _estimate(kinds, cells, controls, scale, workers.count) / 60
        say(
            f"{cells} cells: {len(tuning)} to tune, {reported} to report, {controls} of the controls; "
            f"{workers.count} workers, about {minutes:.0f} min"
        )
        if options.dry_run:
            return None
        claim(folder, scale.world())
        record = manifest("studies small", options.to_dict(), scale=scale.world())
        make_references(folder, kinds, scale, workers, say)
        rows = run_cells(measure_cell, tuning, (folder, scale), folder, workers, say)
        best = choose(rows)
        final = final_cells(best, scale.seeds, scale.control_seeds)
        rows += run_cells(measure_cell, final, (folder, scale), folder, workers, say)
    write_rows(folder, map(asdict, rows), [line for row in rows for line in lines_of(row)])
    page = Path(options.page) if options.page else folder / "small.md"
    make_page(page, rows, best, groups, scale, record)
    return StudyResult.of(rows, page)


def lines_of(row: Row) -> list[dict[str, Any]]:
    """The lines of a row in rows.csv: one per checkpoint, or one for a cell that failed."""
    spent = {"seconds": round(row.seconds, 2), "cpu_seconds": round(row.cpu_seconds, 2)}
    shared = {**asdict(row.cell), **spent, "commit": row.commit, "error": row.error}
    return [{**shared, **point} for point in row.curve or [{}]]


def _estimate(kinds: list[str], cells: int, controls: int, scale: Scale, workers: int) -> float:
    """Seconds of a study from nothing; of its cells the controls are measured once."""
    measurements = (cells - controls) / cells * len(scale.checkpoints) + controls / cells
    amounts = (1, scale.checkpoints[-1], measurements)
    per_cell = [sum(a * b for a, b in zip(amounts, RUN_SECONDS[kind], strict=True)) for kind in kinds]
    references = max(REFERENCE_STEP_SECONDS[kind] * scale.reference_steps for kind in kinds)
    return cells * fmean(per_cell) / workers + references
