"""A folder has one writer; the lock goes with its process and leaves no trace."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from valuefree.errors import ConfigError, ValueFreeError
from valuefree.runs.lock import locked

HOLD = """
import sys, time
from valuefree.runs.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_writer_is_told_who_holds_the_folder(tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(ConfigError, match=f"is being written by process {os.getpid()} on .*, since 20"),
        locked(tmp_path / "run"),
    ):
        pass
    with locked(tmp_path / "run"):
        pass


def test_nothing_is_left_but_what_was_written(tmp_path):
    with locked(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_a_killed_process_holds_nothing(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"process {holder.pid} on"), locked(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_deleted_in_the_meantime_is_an_error(tmp_path):
    def write():
        with locked(tmp_path / "run"):
            shutil.rmtree(tmp_path / "run")
            (tmp_path / "run").mkdir()
            (tmp_path / "run" / "metrics.json").touch()

    with pytest.raises(ValueFreeError, match="run was deleted while"):
        write()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.json"]
