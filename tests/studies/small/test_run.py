"""The whole study on a tiny grid: killed in the middle and resumed, its page, its pool."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from studies.__main__ import run as run_command
from studies.harness.pool import WorkerDied, Workers
from studies.options import StudySmallConfig
from studies.small.run import scale_of, study
from studies.small.scale import QUICK, Scale
from tests.studies.small.conftest import TINY
from valuefree.errors import ConfigError

SCRIPT = """
from tests.studies.small.conftest import TINY
from studies.options import StudySmallConfig
from studies.small.run import study
if __name__ == "__main__":
    study(StudySmallConfig(**{options}), say=print, scale=TINY)
"""


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_after_a_kill_exactly_the_missing_cells_are_run(world, tmp_path):
    """4 cells to tune, 20 to report and of the controls; SIGKILL when a few are done; then the rest, and no more."""
    out = tmp_path / "study"
    out.mkdir()
    (out / "world").symlink_to(world / "world")  # made before; the cells are what this is about
    given = {"models": "decoder", "methods": "sft-all,sft-best", "workers": 1, "out": str(out)}
    script = tmp_path / "go.py"
    script.write_text(SCRIPT.format(options=given))
    path = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
    process = subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": path})
    until(lambda: len(list(out.glob("cells/*.json"))) >= 3)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not any(map(alive, workers)))  # none outlives its parent
    before = {file.name: file.stat().st_mtime_ns for file in out.glob("cells/*.json")}
    assert 3 <= len(before) < 24
    said: list[str] = []
    result = study(StudySmallConfig(**given), say=said.append, scale=TINY)
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("cells/*.json")}
    assert result is not None
    assert (result.rows, result.failed, len(after)) == (24, 0, 24)
    assert {name: after[name] for name in before} == before
    ran = [int(line.split()[2]) for line in said if re.fullmatch(r"(\d+) of \1 cells, .* min", line)]  # per stage
    assert sum(ran) == 24 - len(before)
    text = result.page.read_text()
    assert "Runs that failed: 0 of 24" in text
    assert (result.page.parent / "small" / "frontier-decoder-on.svg").exists()
    assert (out / "rows.json").exists()
    assert len((out / "rows.csv").read_text().splitlines()) == 1 + 12 * 3 + 12 * 2
    said.clear()
    study(StudySmallConfig(**given), say=said.append, scale=TINY)
    assert not [line for line in said if " of 24" in line]  # nothing was left to run
    with pytest.raises(ConfigError, match="differs in lrs"):
        study(StudySmallConfig(**given), say=said.append, scale=replace(TINY, lrs=(2e-3,)))


def test_a_dry_run_counts_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    run_command(["small", "--dry-run", "--out", str(out), "--methods", "rpo-untouched,sft-all", "--control", "none"])
    # 2 models × 2 regimes × 2 methods × (6 settings + 5 seeds)
    assert "88 cells: 48 to tune, 40 to report, 0 of the controls" in capsys.readouterr().out
    assert not out.exists()


def test_seeds_of_the_options():
    assert scale_of(StudySmallConfig()) == Scale()
    assert scale_of(StudySmallConfig(quick=True)) == QUICK
    assert scale_of(StudySmallConfig(seeds=2)).control_seeds == 2
    assert scale_of(StudySmallConfig(control="none")).control_seeds == 0
    with pytest.raises(ConfigError, match="exceeds seeds"):
        scale_of(StudySmallConfig(seeds=2, control_seeds=3))
    with pytest.raises(ConfigError, match="does not read control_seeds"):
        StudySmallConfig(control="none", control_seeds=3)


def test_a_worker_that_dies_takes_only_its_own_task_along():
    tasks = [(len, ("abc",)), (os._exit, (3,)), (len, ("ab",)), (len, ("a",))]
    with Workers(2, begin=int) as workers:
        results = dict(workers.run(tasks))
    assert {number: results[number] for number in (0, 2, 3)} == {0: 3, 2: 2, 3: 1}
    assert isinstance(results[1], WorkerDied)


def test_an_error_of_a_task_is_raised():
    with Workers(1, begin=int) as workers, pytest.raises(ZeroDivisionError):
        list(workers.run([(divmod, (1, 0))]))
