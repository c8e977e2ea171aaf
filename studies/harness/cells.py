"""Cells of a study: each is run once, in a worker process, and kept as one JSON file, so that a study can resume."""

import csv
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

from studies.harness.pool import WorkerDied, Workers
from valuefree.errors import ConfigError
from valuefree.runs.files import read_json, write_text
from valuefree.runs.manifest import git_commit

Say = Callable[[str], None]
Measure = Callable[..., list[dict[str, Any]]]
PROGRESS_SECONDS = 30


class Cell(Protocol):
    """One run, a frozen dataclass."""

    @property
    def name(self) -> str:
        """Of its file; no two cells of a folder share one."""
        ...


@dataclass(frozen=True)
class Row:
    """The result of a cell, or the error that ended it.

    curve: one dict per measurement. seconds, cpu_seconds: of the whole cell, by the clock and by its processor.
    commit: of the source that ran it.
    """

    cell: Any
    curve: list[dict[str, Any]] | None
    error: str | None
    seconds: float
    cpu_seconds: float
    commit: str | None

    @property
    def end(self) -> Mapping[str, Any]:
        """The last measurement; empty if the cell failed."""
        return self.curve[-1] if self.curve else {}

    def write(self, folder: Path) -> None:
        """Keep it in the study's folder."""
        write_text(file_of(self.cell, folder), json.dumps(asdict(self), indent=1))


@dataclass(frozen=True)
class StudyResult:
    """The number of runs, how many of them failed, the file of the page, and sentences to print."""

    rows: int
    failed: int
    page: Path | None
    said: Sequence[str] = ()

    @classmethod
    def of(cls, rows: Sequence[Row], page: Path | None, said: Sequence[str] = ()) -> "StudyResult":
        """From the rows of all runs."""
        return cls(len(rows), sum(row.error is not None for row in rows), page, said)


def file_of(cell: Cell, folder: Path) -> Path:
    """The file of a cell's row."""
    return folder / "cells" / f"{cell.name}.json"


def read_row(cell: Cell, folder: Path) -> Row:
    """The row of a cell from its file.

    Raises:
        ConfigError: a file that is broken, or of another version of the study.
    """
    file = file_of(cell, folder)
    try:
        return Row(**read_json(file) | {"cell": cell})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{file} is no row of this version of the study ({error}). Remove the file to run its cell again, or "
            "choose another folder with --out."
        ) from error


def read_rows(cells: Iterable[Cell], folder: Path) -> list[Row]:
    """The rows of those cells that have been run."""
    return [read_row(cell, folder) for cell in cells if file_of(cell, folder).exists()]


def missing(cells: Sequence[Cell], folder: Path) -> list[Cell]:
    """The cells that have no row, or an error in it."""
    done = {row.cell for row in read_rows(cells, folder) if row.error is None}
    return [cell for cell in cells if cell not in done]


def attempt(measure: Measure, cell: Cell, arguments: Sequence[Any] = (), commit: str | None = None) -> Row:
    """The row of `measure(cell, *arguments)`; an exception becomes a row with its error."""
    start, cpu_start = time.perf_counter(), time.process_time()
    curve, error = None, None
    try:
        curve = measure(cell, *arguments)
    except Exception as fault:  # kept in the row, counted and listed on the page
        error = f"{type(fault).__name__}: {fault}"
    return Row(cell, curve, error, time.perf_counter() - start, time.process_time() - cpu_start, commit)


def run_cell(measure: Measure, cell: Cell, arguments: Sequence[Any], folder: Path, commit: str | None) -> Row:
    """`attempt`, with the row written."""
    row = attempt(measure, cell, arguments, commit)
    row.write(folder)
    return row


def run_cells(
    measure: Measure,
    cells: Sequence[Cell],
    arguments: Sequence[Any],
    folder: Path,
    workers: Workers,
    say: Say,
    *,
    named: str = "cells",
) -> list[Row]:
    """Run the cells that are `missing`.

    Args:
        measure: a module-level function of a cell and `arguments`; its result is the curve of the row.
        named: the cells in the lines of progress.

    Returns:
        The rows of all cells, in their order.
    """
    todo, commit = missing(cells, folder), git_commit()
    start = last = time.perf_counter()
    tasks = [(run_cell, (measure, cell, arguments, folder, commit)) for cell in todo]
    for done, (number, row) in enumerate(workers.run(tasks), start=1):
        if isinstance(row, WorkerDied):
            row = Row(todo[number], None, f"WorkerDied: {row}", 0.0, 0.0, commit)
            row.write(folder)
        if row.error is not None:
            say(f"failed: {row.cell.name}: {row.error}")
        if time.perf_counter() - last > PROGRESS_SECONDS or done == len(todo):
            last = time.perf_counter()
            say(f"{done} of {len(todo)} {named}, {(last - start) / 60:.1f} min")
    return [read_row(cell, folder) for cell in cells]


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Note in the folder the settings that its cells share.

    Raises:
        ConfigError: the folder holds cells of other settings.
    """
    file = folder / "study.json"
    ours = json.loads(json.dumps(settings))
    theirs = read_json(file) if file.exists() else ours
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if different:
        raise ConfigError(
            f"{folder} holds a study that differs in {', '.join(different)}, so it cannot be resumed with these "
            "settings. Choose another folder with --out, or remove this one."
        )
    if not file.exists():
        write_text(file, json.dumps(ours, indent=1))


def write_rows(folder: Path, rows: Iterable[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]) -> None:
    """``rows.json`` with all that is known, ``rows.csv`` with one line per measurement."""
    text = StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for line in lines for name in line)))
    writer.writeheader()
    writer.writerows(lines)
    write_text(folder / "rows.json", json.dumps(list(rows), ensure_ascii=False, indent=1) + "\n")
    write_text(folder / "rows.csv", text.getvalue())
