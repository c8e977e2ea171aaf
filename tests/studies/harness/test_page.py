"""A table within a file, between its markers."""

import pytest

from studies.harness.page import write_between
from valuefree.errors import DataError


def test_the_text_stands_between_the_markers(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("top\n<!-- real:begin -->\nold\n<!-- real:end -->\nend\n")
    write_between(file, "real", "new")
    assert file.read_text() == "top\n<!-- real:begin -->\nnew\n<!-- real:end -->\nend\n"
    file.write_text("no markers")
    with pytest.raises(DataError, match="lacks the markers"):
        write_between(file, "real", "new")
