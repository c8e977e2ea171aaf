"""The runs of the study in one file, small enough to commit: a page can be written again without running them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studies.harness.cells import Row, file_of
from studies.real.cells import Cell
from valuefree.errors import DataError
from valuefree.runs.files import read_jsonl, write_jsonl, write_text


def add_records(file: Path, rows: Sequence[Row]) -> None:
    """Write the rows into the file, in the order of their names; runs that only the file has stay in it.

    Of the texts of a run the first is kept, which the page shows; runs that failed are left out.
    """
    lines = {_cell(file, line).name: line for line in _lines(file)}
    lines |= {row.cell.name: _record(row) for row in rows if row.error is None}
    write_jsonl(file, [lines[name] for name in sorted(lines)])


def restore(file: Path, folder: Path) -> int:
    """Write the runs of the file as cells of a study's folder, those that it lacks; their number.

    Raises:
        DataError: a line that is no run of this version of the study.
    """
    count = 0
    for line in _lines(file):
        kept = file_of(_cell(file, line), folder)
        if not kept.exists():
            write_text(kept, json.dumps(line, indent=1))
            count += 1
    return count


def _lines(file: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(file)) if file.exists() else []


def _cell(file: Path, line: dict[str, Any]) -> Cell:
    try:
        return Cell(**line["cell"])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{file} has a line that is no run of this version of the study ({error!r}). Remove the line, or leave "
            "--records out."
        ) from error


def _record(row: Row) -> dict[str, Any]:
    line = asdict(row)
    line["curve"] = [point | {"texts": point["texts"][:1]} for point in line["curve"]]
    return line
