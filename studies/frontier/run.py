"""The frontier study from its options: run the cells that are missing, then write the page."""

from pathlib import Path

from studies.frontier.cells import REFERENCE, Cell, measure_cell
from studies.frontier.page import make_page
from studies.harness.cells import Say, StudyResult, run_cells
from studies.harness.pool import Workers
from studies.harness.training import objective_of
from studies.options import StudyFrontierConfig
from valuefree.errors import ValueFreeError
from valuefree.runs.manifest import manifest


def study(options: StudyFrontierConfig, *, say: Say) -> StudyResult:
    """Train and evaluate each objective on each seed; cells that are on disk are not run again.

    Raises:
        ConfigError: a text that is not an objective. ValueFreeError: the reference could not be sampled.
    """
    for label in (*options.objectives, *options.shuffled):
        objective_of(label)
    out, seeds = Path(options.out), range(options.seeds)
    record = manifest("studies frontier", options.to_dict())
    cells = [Cell(REFERENCE, seed) for seed in seeds]
    cells += [Cell(label, seed) for seed in seeds for label in options.objectives]
    cells += [Cell(label, seed, shuffled=True) for seed in seeds for label in options.shuffled]
    with Workers(options.workers) as workers:
        say(f"{len(cells)} cells; {workers.count} workers")
        rows = run_cells(measure_cell, cells, (out,), out, workers, say)
    for row in rows:
        if row.error is not None and row.cell.label == REFERENCE:
            raise ValueFreeError(f"{row.cell.name}: {row.error}. Run the study again.")
    page = Path(options.page) if options.page is not None else out / "frontier.md"
    make_page(page, rows, options.objectives[0], record)
    return StudyResult.of(rows, page)
