"""The study of held-out measures from its options: run the cells that are missing, measure them, write the page."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studies.harness.cells import Say, StudyResult, claim, read_row, run_cells
from studies.harness.methods import names_of
from studies.harness.pool import Workers
from studies.learned import coverage, smol
from studies.learned.cells import Cell
from studies.learned.grid import QUICK, WORLDS, Scale, choosing_cells, coverage_cells, measure_cell, reported_cells
from studies.learned.measured import measured_curve
from studies.learned.page import Results, make_page
from studies.learned.results import Run
from studies.options import StudyLearnedConfig
from studies.small.models import KINDS
from studies.small.world import make_references
from valuefree.errors import ConfigError
from valuefree.evaluation import held_out
from valuefree.runs.manifest import manifest

SEEDS = {"smollm2": 5, "small": 2, "exact": 5}


@dataclass(frozen=True)
class Plan:
    """Cells by family of worlds."""

    choosing: dict[str, list[Cell]]
    reported: dict[str, list[Cell]]
    coverage: list[coverage.CoverageCell]

    @classmethod
    def of(cls, options: StudyLearnedConfig, scale: Scale) -> "Plan":
        """What the options ask for."""
        families = names_of(options.worlds, WORLDS, "world")
        seeds = {name: options.seeds or (1 if options.quick else SEEDS[name]) for name in families}
        return cls(
            {name: choosing_cells(name, options.choose_seeds, scale) for name in families if name != smol.WORLD},
            {name: reported_cells(name, seeds[name], scale) for name in families},
            coverage_cells(scale) if "exact" in families else [],
        )

    @property
    def cells(self) -> list[Cell]:
        """All runs, those that rules are chosen on first."""
        return [cell for part in (self.choosing, self.reported) for cells in part.values() for cell in cells]


def study(options: StudyLearnedConfig, *, say: Say, scale: Scale | None = None) -> StudyResult | None:
    """Carry out the study; None after a dry run. Run again after an interruption, it does what is missing.

    Args:
        options: of the command. say: takes one line of progress at a time. scale: in place of that of the options.

    Raises:
        ConfigError: an unknown world; a folder that holds a study of other sizes; no run of a world succeeded.
    """
    scale = scale or (QUICK if options.quick else Scale())
    plan, folder = Plan.of(options, scale), Path(options.out).absolute()
    with Workers(options.workers) as workers:
        say(f"{len(plan.cells)} runs, {len(plan.coverage)} cells of the coverage; {workers.count} workers")
        if options.dry_run:
            return None
        claim(folder, {"scale": asdict(scale)})
        record = manifest("studies learned", options.to_dict(), scale=asdict(scale))
        if "small" in plan.reported:
            make_references(folder, KINDS, scale.small.world, workers, say)
        rows = run_cells(measure_cell, plan.cells, (folder, scale), folder, workers, say)
        covered = run_cells(coverage.measure_cell, plan.coverage, (scale.coverage,), folder, workers, say)
        good = [row.cell for row in rows if row.error is None]
        measured = run_cells(measured_cell, good, (folder,), measured_folder(folder), workers, say)
    found = {row.cell: row.curve for row in measured if row.curve is not None}
    results = Results(_runs(plan.choosing, found), _runs(plan.reported, found), covered, scale)
    for name, runs in results.reported.items():
        if not runs:
            raise ConfigError(f"no run of {name} succeeded; see the errors in {folder / 'cells'}.")
    page = Path(options.page) if options.page else folder / "learned.md"
    unmeasured = [row for row in measured if row.error is not None]
    every = [*rows, *covered, *unmeasured]
    make_page(page, results, record, every)
    return StudyResult(len(rows) + len(covered), sum(row.error is not None for row in every), page)


def measured_cell(cell: Cell, folder: Path) -> list[dict[str, Any]]:
    """The measures of a run that is on disk."""
    return measured_curve(read_row(cell, folder).curve or [])


def measured_folder(folder: Path) -> Path:
    """Where measures are kept: a folder for each state of the code of the measures, so that none are out of date."""
    files = [*sorted(Path(held_out.__file__).parent.glob("*.py")), Path(__file__).with_name("measured.py")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]
    return folder / f"measured-{digest}"


def _runs(cells: dict[str, list[Cell]], found: dict[Cell, list[dict[str, Any]]]) -> dict[str, list[Run]]:
    return {name: [Run(cell, found[cell]) for cell in some if cell in found] for name, some in cells.items()}
