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


def add_records(file: Path, rows: Sequence[Row], model: str) -> None:
    """Write the rows into the file, in the order of their names; runs that only the file has stay in it.

    Of the texts of a run the first is kept, which the page shows; runs that failed are left out.

    model: the title of the model, the same for all runs of a file.
    """
    lines = {cell.name: line for cell, line in _runs(file, model)}
    lines |= {row.cell.name: _record(row, model) for row in rows if row.error is None}
    write_jsonl(file, [lines[name] for name in sorted(lines)])


def restore(file: Path, folder: Path, model: str) -> int:
    """Write the runs of the file as cells of a study's folder, those that it lacks; their number.

    Raises:
        DataError: a line that is no run of this version of the study, or one of another model.
    """
    count = 0
    for cell, line in _runs(file, model):
        kept = file_of(cell, folder)
        if not kept.exists():
            row = {name: value for name, value in line.items() if name != "model"}
            write_text(kept, json.dumps(row, indent=1))
            count += 1
    return count


def _runs(file: Path, model: str) -> list[tuple[Cell, dict[str, Any]]]:
    found = []
    for line in read_jsonl(file) if file.exists() else ():
        try:
            cell, of = Cell(**line["cell"]), line["model"]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{file} has a line that is no run of this version of the study ({error!r}). Remove the line, or leave "
                "--records out."
            ) from error
        if of != model:
            raise DataError(f"{file} holds runs of {of}, and the study is of {model}. Name another file by --records.")
        found.append((cell, line))
    return found


def _record(row: Row, model: str) -> dict[str, Any]:
    line = {"model": model, **asdict(row)}
    line["curve"] = [point | {"texts": point["texts"][:1]} for point in line["curve"]]
    return line
