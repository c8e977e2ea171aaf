"""python -m studies: one command for every study, with the options and messages of `valuefree`."""

import pytest

from studies.__main__ import STUDIES, run
from studies.options import StudySmallConfig
from valuefree.cli.parse import parse_options
from valuefree.errors import ConfigError


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_every_study(arguments, capsys):
    run(arguments)
    out = capsys.readouterr().out
    assert all(name in out for name in STUDIES)


def test_an_unknown_study_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown study 'smal'; did you mean 'small'"):
        run(["smal"])


def test_an_invalid_option_names_the_command():
    with pytest.raises(ConfigError, match=r"invalid int value: 'x' \(python -m studies small --help\)"):
        run(["small", "--seeds", "x"])


def test_options_are_parsed():
    assert parse_options("", StudySmallConfig, ["--seeds", "7", "--no-quick"]).seeds == 7
