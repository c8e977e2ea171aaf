"""The study on real models from its options: run the cells that are missing, then write the page."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path

from studies.harness.cells import Row, Say, StudyResult, claim, missing, read_rows, run_cells
from studies.harness.methods import names_of
from studies.harness.pool import Workers
from studies.options import StudyRealConfig
from studies.real.cells import Cell, Group, reported_cells, tuning_cells
from studies.real.methods import METHODS, STAGE_1, applies, settings_of
from studies.real.models import MODELS, SMOLLM2
from studies.real.page import make_page
from studies.real.records import add_records, restore
from studies.real.results import Choices
from studies.real.rows import AUTHORS, LEAST_DEVIATION, REGIMES, deviation_within, rows_file, sample_rows
from studies.real.tasks import NAMES
from studies.real.training import measure_cell
from valuefree.cli.parse import unknown
from valuefree.errors import ConfigError
from valuefree.runs.manifest import manifest

RUN_MINUTES = 5.0  # of one core, for the estimate of a dry run


def study(options: StudyRealConfig, *, say: Say) -> StudyResult | None:
    """Carry out the study; None after a dry run, or after sampling. Run again after an interruption, it resumes.

    Raises:
        ConfigError: unknown names; a task whose reward hardly varies; rows that are not there.
    """
    if options.model not in MODELS:
        raise ConfigError(f"unknown model {options.model!r}; choose from {', '.join(MODELS)}.")
    worlds = list(dict.fromkeys(_world(text) for text in options.worlds))
    if options.sample:
        with Workers(options.workers) as workers:
            rows = product(dict.fromkeys(task for task, _ in worlds), AUTHORS, [options.model])
            workers.run_all([(sample_rows, one) for one in rows if not rows_file(*one).exists()])
        return None
    if not options.dry_run:
        _check_rows(worlds, options.model)
    methods = list(STAGE_1) if options.methods == "stage-1" else names_of(options.methods, METHODS, "method")
    shuffled = [] if options.shuffled == "none" else names_of(options.shuffled, METHODS, "method")
    groups = [(*world, method) for world in worlds for method in methods if applies(method, world[1])]
    default = "outputs/study-real" + ("" if options.model == SMOLLM2 else f"-{options.model}")
    out = Path(options.out or default).absolute()
    tuning = tuning_cells(groups, {method: settings_of(METHODS[method]) for method in methods})
    title = MODELS[options.model].title
    kept = None if options.records is None else Path(options.records)
    if not options.dry_run:
        claim(out, {"model": title})
        if kept is not None:
            restore(kept, out, title)
    with Workers(options.workers) as workers:
        say(_plan(groups, tuning, shuffled, options.seeds, out, workers.count))
        if options.dry_run:
            return None
        record = manifest("studies real", options.to_dict())
        run = partial(run_cells, measure_cell, arguments=(out, options.model), folder=out, workers=workers, say=say)
        if options.page_only:
            run = partial(_done, out)
        tuned, reports, asked = list[Row](), list[Row](), list[Cell]()
        try:
            for world in worlds:  # one after the other, so that an interruption leaves whole ones
                here = [cell for cell in tuning if cell.group[:2] == world]
                asked += here
                tuned += run(cells=here, named=f"tuning runs of {', '.join(world)}")
                chosen = Choices.of([group for group in groups if group[:2] == world], tuned).settings()
                final = reported_cells({g: s for g, s in chosen.items() if g[:2] == world}, options.seeds, shuffled)
                asked += final
                reports += run(cells=final, named=f"reported runs of {', '.join(world)}")
        finally:  # also after an interruption
            if kept is not None:
                add_records(kept, read_rows(asked, out), title)
        choices, rows = Choices.of(groups, tuned), tuned + reports
    page = Path(options.page) if options.page else out / "real.md"
    readme = None if options.readme is None else Path(options.readme)
    make_page(page, rows, choices, record, MODELS[options.model], readme, undone=_undone(asked, rows))
    return StudyResult.of(rows, page)


def _done(folder: Path, *, cells: Sequence[Cell], named: str) -> list[Row]:
    """In place of `run_cells`: the rows that are there."""
    return read_rows(cells, folder)


def _undone(asked: Sequence[Cell], rows: Sequence[Row]) -> str:
    """Which runs the page lacks; empty if none."""
    done = {row.cell for row in rows}
    lacking = Counter((*cell.group, cell.stage) for cell in asked if cell not in done)
    if not lacking:
        return ""
    listed = "; ".join(f"{count} of {', '.join(names)}" for names, count in lacking.items())
    return f"Not finished: {lacking.total()} of {len(asked)} runs are missing: {listed}."


def _world(text: str) -> tuple[str, str]:
    task, _, regime = text.partition(":")
    if task not in NAMES:
        raise unknown("task", task, NAMES)
    if regime not in REGIMES:
        raise unknown("regime", regime, REGIMES)
    return task, regime


def _check_rows(worlds: list[tuple[str, str]], model: str) -> None:
    for task in dict.fromkeys(task for task, _ in worlds):
        lacking = [author for author in AUTHORS if not rows_file(task, author, model).exists()]
        if lacking:
            raise ConfigError(
                f"task {task!r} has no rows of {model} yet. Run: python -m studies real --sample --model {model}"
            )
        if (deviation := deviation_within(task, model)) < LEAST_DEVIATION:
            raise ConfigError(
                f"task {task!r}: the reward of the model's own samples has a standard deviation of {deviation:.3f} "
                f"within prompts; below {LEAST_DEVIATION} there is hardly anything to learn. Leave the task out."
            )


def _plan(groups: list[Group], tuning: list[Cell], shuffled: list[str], seeds: int, out: Path, workers: int) -> str:
    """What is left to do, with hours. A group that is not tuned yet is reported at one setting, or at two."""
    left = missing(tuning, out)
    untuned = {cell.group for cell in left}
    chosen = Choices.of([group for group in groups if group not in untuned], read_rows(tuning, out)).settings()
    known = {group: settings for group, settings in chosen.items() if group not in untuned}
    reports = len(missing(reported_cells(known, seeds, shuffled), out))
    reports += sum(seeds * (1 + (group[2] in shuffled)) for group in untuned)
    named = f"at least {reports}" if untuned else str(reports)
    return (
        f"{len(groups)} groups; to do: {len(left)} of {len(tuning)} tuning runs, and {named} reported runs; "
        f"about {(len(left) + reports) * RUN_MINUTES / 60:.1f} core-hours, {workers} workers"
    )
