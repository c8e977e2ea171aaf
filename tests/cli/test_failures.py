"""A failure of the system ends in one message that names the path and what to do."""

import errno
import subprocess
import sys

import pytest
from safetensors import SafetensorError

from valuefree.cli.failures import system_failure
from valuefree.cli.main import UNEXPECTED, exit_with_message


def test_the_system_error_is_named_with_its_path_and_advice():
    assert system_failure(OSError(errno.ENOSPC, "text", "run/a.json")) == (
        "No space left on device: run/a.json. Free some space, then run the command again."
    )
    assert system_failure(PermissionError(errno.EROFS, "text")) == (
        "Read-only file system. Change its permissions, or name another path, then run it again."
    )


def test_errors_of_libraries_that_hold_one_are_recognised():
    assert "No space left" in str(system_failure(SafetensorError("Error while serializing: I/O error (os error 28)")))
    said = system_failure(RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 4 vs 3"))
    assert str(said).startswith("a file could not be read or written (")
    assert "2048 requested and 0 written" in str(system_failure(OSError("2048 requested and 0 written")))


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("shape"), ValueError("os error")])
def test_other_exceptions_are_faults_of_the_program(error, capsys):
    def command():
        raise error

    assert system_failure(error) is None
    with pytest.raises(SystemExit) as ended:
        exit_with_message(command, name="valuefree")
    assert ended.value.code == 1
    assert UNEXPECTED in capsys.readouterr().err


def test_a_full_standard_output_is_a_failure():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        process = subprocess.run(
            [sys.executable, "-m", "valuefree", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert process.returncode == 1
    assert process.stderr == "valuefree: No space left on device. Free some space, then run the command again.\n"
