"""A command in a forked process is killed, and the same command then finishes its work."""

import signal
import sys
from pathlib import Path

import pytest

from faults.commands import Command, written
from faults.kills import tries
from faults.outcome import IDENTICAL
from faults.processes import Child
from faults.verbs import differences, repeat


@pytest.mark.slow
def test_a_killed_training_run_is_resumed(tmp_path):
    (outcome,) = tries(tmp_path, 1, seed=3)
    assert outcome.ended == IDENTICAL


def _count() -> None:
    """Count to three in a file, one number per run; the last run ends well."""
    file = Path(sys.argv[1]) / "count.json"
    count = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(str(count))
    if count < 3:
        sys.stderr.write("valuefree: started; go on by --resume\n")
        sys.exit(2)
    sys.stdout.write(f"{sys.argv[2:]}\n")


def test_a_command_is_repeated_as_its_message_says(tmp_path):
    command = Command("count", ("OUT",), main=_count)
    command.prepare(tmp_path / "a")
    assert command.start(tmp_path / "a", tmp_path / "log").finish() == (2, "valuefree: started; go on by --resume\n")
    assert repeat(command, tmp_path / "a") == (0, "['--resume']\n")
    assert differences({"count.json": 3}, written(tmp_path / "a")) == ""
    assert differences({"count.json": 2, "b": 1}, written(tmp_path / "a")) == "; differs: count.json, b"


def test_a_child_that_is_killed_or_fails_says_so(tmp_path):
    killed = Child([], tmp_path / "log", main=signal.pause)
    assert killed.running()
    killed.kill()
    assert killed.finish() == (-9, "")
    code, said = Child([], tmp_path / "log", main=lambda: 1 // 0).finish()
    assert code == 1
    assert "ZeroDivisionError" in said
