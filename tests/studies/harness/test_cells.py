"""Cells are run once, errors and dead workers become rows, and a folder belongs to one study."""

from dataclasses import dataclass

import pytest

from studies.harness.cells import Row, attempt, claim, file_of, missing, read_row, read_rows, run_cells
from studies.harness.pool import WorkerDied, Workers
from valuefree.errors import ConfigError


@dataclass(frozen=True)
class Cell:
    number: int

    @property
    def name(self) -> str:
        return f"cell-{self.number}"


def measure(cell: Cell, shift: int) -> list[dict]:
    return [{"inverse": 1 / (cell.number + shift)}]


class Alone:
    """Runs tasks in this process; the cells of `fatal` end their worker."""

    def __init__(self, *fatal: int):
        self.fatal, self.ran = fatal, []

    def run(self, tasks):
        for number, (function, arguments) in enumerate(tasks):
            cell = arguments[1]
            self.ran.append(cell.number)
            yield number, WorkerDied("killed") if cell.number in self.fatal else function(*arguments)


def test_what_is_on_disk_is_not_run_again(tmp_path):
    cells, said = [Cell(number) for number in range(3)], []
    first = run_cells(measure, cells[:2], (1,), tmp_path, Alone(), said.append)
    workers = Alone()
    rows = run_cells(measure, cells, (1,), tmp_path, workers, said.append)
    assert workers.ran == [2]
    assert rows[:2] == first
    assert [row.curve for row in rows] == [[{"inverse": 1.0}], [{"inverse": 0.5}], [{"inverse": 1 / 3}]]
    assert [line.split(",")[0] for line in said] == ["2 of 2 cells", "1 of 1 cells"]


def test_an_error_and_a_dead_worker_are_rows(tmp_path):
    said = []
    rows = run_cells(measure, [Cell(0), Cell(1)], (0,), tmp_path, Alone(1), said.append)
    assert [row.error for row in rows] == ["ZeroDivisionError: division by zero", "WorkerDied: killed"]
    assert [row.curve for row in rows] == [None, None]
    assert said[0] == "failed: cell-0: ZeroDivisionError: division by zero"


def test_a_cell_that_failed_is_run_again(tmp_path):
    run_cells(measure, [Cell(0), Cell(1)], (0,), tmp_path, Alone(), print)
    workers = Alone()
    rows = run_cells(measure, [Cell(0), Cell(1)], (1,), tmp_path, workers, print)
    assert workers.ran == [0]
    assert [row.error for row in rows] == [None, None]
    assert rows[0].end == {"inverse": 1.0}


def test_missing_are_those_without_a_row_and_those_whose_row_is_an_error(tmp_path):
    cells = [Cell(number) for number in range(3)]
    assert missing(cells, tmp_path) == cells
    Row(cells[0], [{}], None, 0.0, 0.0, None).write(tmp_path)
    Row(cells[1], None, "ValueError: no", 0.0, 0.0, None).write(tmp_path)
    assert missing(cells, tmp_path) == cells[1:]
    assert [row.cell for row in read_rows(cells, tmp_path)] == cells[:2]


def test_a_task_that_a_study_needs_and_whose_worker_died_ends_it():
    class Died(Workers):
        def run(self, tasks):
            yield from ((0, 1), (1, WorkerDied("killed")))

    with pytest.raises(WorkerDied, match="killed"):
        Died(1).run_all([])


def test_a_row_is_read_as_it_was_written(tmp_path):
    row = attempt(measure, Cell(4), (0,), "abc")
    row.write(tmp_path)
    assert read_row(Cell(4), tmp_path) == row
    assert file_of(Cell(4), tmp_path).name == "cell-4.json"


@pytest.mark.parametrize("content", ['{"cell": {"number": 1}, "reward": 0.5}', '{"cell":'])
def test_a_file_that_is_no_row_is_named(content, tmp_path):
    file = file_of(Cell(1), tmp_path)
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"cell-1\.json is no row of this version"):
        run_cells(measure, [Cell(1)], (1,), tmp_path, Alone(), print)


def test_a_folder_of_other_settings_is_refused(tmp_path):
    claim(tmp_path, {"seeds": (0, 1), "tau": 1.0})
    claim(tmp_path, {"seeds": (0, 1), "tau": 1.0})
    with pytest.raises(ConfigError, match=r"differs in tau, .* Choose another folder with --out"):
        claim(tmp_path, {"seeds": (0, 1), "tau": 2.0})
