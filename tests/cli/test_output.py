"""Where a command prints: the result on stdout, all else by --quiet and --json."""

import json
import logging
import sys
import warnings

import pytest

from valuefree.cli.options.groups import ResultOptions
from valuefree.cli.output import Result, bars, carry_out, ignore_library_warnings

logger = logging.getLogger("valuefree.tests")


@pytest.fixture(autouse=True)
def _logs(monkeypatch):
    monkeypatch.setattr(logging.getLogger("valuefree"), "level", logging.INFO)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # carry_out sets both; restored after the test
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def command(options):
    sys.stdout.write("a table\n")
    logger.info("step 1")
    logger.error("an error")
    return Result("the summary", {"gain": 0.5})


@pytest.mark.parametrize(
    ("options", "out", "err"),
    [
        (ResultOptions(), "a table\nthe summary\n", "step 1\nan error\n"),
        (ResultOptions(quiet=True), "the summary\n", "an error\n"),
        (ResultOptions(json=True), '{"gain": 0.5}\n', "a table\nstep 1\nan error\n"),
        (ResultOptions(quiet=True, json=True), '{"gain": 0.5}\n', "an error\n"),
    ],
    ids=["plain", "quiet", "json", "both"],
)
def test_what_goes_where(options, out, err, capsys):
    carry_out(lambda: command, options)
    printed = capsys.readouterr()
    assert printed.out == out
    assert [line for line in printed.err.splitlines() if line] == err.splitlines()


def test_the_object_of_json_is_one_line_that_json_reads(capsys):
    carry_out(lambda: command, ResultOptions(json=True))
    assert json.loads(capsys.readouterr().out) == {"gain": 0.5}


def test_bars_need_a_terminal_and_no_quiet(monkeypatch):
    assert not bars()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert bars()
    monkeypatch.setattr(logging.getLogger("valuefree"), "level", logging.ERROR)
    logging.getLogger("valuefree").manager._clear_cache()
    assert not bars()


def test_future_warnings_of_libraries_alone_are_ignored():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ignore_library_warnings()
        for module, category in (
            ("transformers.training_args", FutureWarning),
            ("torch", DeprecationWarning),
            ("transformers.modeling_utils", UserWarning),
            ("my_reward", FutureWarning),
        ):
            warnings.warn_explicit("soon", category, "file.py", 1, module=module)
    assert [warning.category for warning in seen] == [UserWarning, FutureWarning]
