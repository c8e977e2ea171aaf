"""Run what the study lacks, then write its page."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from studies.frontier.cells import Cell, objective_of, read_rows, reference_file, run_cell, run_reference
from studies.frontier.page import Runs, write_page
from studies.harness.pool import WorkerDied, Workers
from studies.options import StudyFrontierConfig
from valuefree.errors import ValueFreeError
from valuefree.runs.manifest import manifest


def study(options: StudyFrontierConfig, *, say: Callable[[str], None]) -> Path:
    """Train and evaluate each objective on each seed; cells that are on disk are not run again. The page's file.

    Raises:
        ConfigError: a text that names no objective. ValueFreeError: a worker process died.
    """
    for label in (*options.objectives, *options.shuffled):
        objective_of(label)
    out, seeds = Path(options.out), range(options.seeds)
    record = manifest("studies frontier", options.to_dict())
    cells = [Cell(label, seed) for seed in seeds for label in options.objectives]
    cells += [Cell(label, seed, shuffled=True) for seed in seeds for label in options.shuffled]
    todo = [(run_reference, (seed, out)) for seed in seeds if not reference_file(out, seed).exists()]
    todo += [(run_cell, (cell, out)) for cell in cells if not cell.file(out).exists()]
    say(f"{len(todo)} of {len(cells) + len(seeds)} runs to do")
    with Workers(options.workers or os.cpu_count() or 1) as processes:
        for done, (number, result) in enumerate(processes.run(todo), start=1):
            if isinstance(result, WorkerDied):
                raise ValueFreeError(f"{todo[number][1]}: {result}")
            say(f"{done} of {len(todo)} done")
    names = {cell.file(out).name for cell in cells}
    rows = [row for row in read_rows(out) if Cell(row["label"], row["seed"], row["shuffled"]).file(out).name in names]
    references = {seed: json.loads(reference_file(out, seed).read_text(encoding="utf-8")) for seed in seeds}
    page = Path(options.page) if options.page is not None else out / "frontier.md"
    readme = Path(options.readme) if options.readme is not None else None
    write_page(page, Runs(rows, references), options.objectives[0], record, readme)
    return page
