"""What a report refuses to hold."""

import pytest
from matplotlib.figure import Figure

from valuefree.errors import DataError
from valuefree.report import Plot, Report, Section, Table, Verdict


def test_a_row_has_a_cell_per_column():
    with pytest.raises(DataError, match="table 'rates', row 1: 1 cells under a head of 2"):
        Table("rates", ["a", "b"], [["1", "2"], ["3"]])


@pytest.mark.parametrize("name", ["../../etc/passwd", "a b", "", ".hidden", "a/b", 'x" onload="'])
def test_names_that_become_files_and_anchors_are_plain(name):
    with pytest.raises(DataError, match="use letters, digits"):
        Plot(name, "caption", Figure())
    with pytest.raises(DataError, match="use letters, digits"):
        Section(name, "title")


def test_two_sections_or_plots_of_one_name_would_overwrite_each_other():
    with pytest.raises(DataError, match="two sections have the key 'one'"):
        Report("t", [], [Section("one", "A"), Section("one", "B")], [], {})
    plots = [Plot("line", "caption", Figure())]
    with pytest.raises(DataError, match="two plots have the name 'line'"):
        Report("t", [], [Section("one", "A", plots=plots), Section("two", "B", plots=plots)], [], {})


def test_an_outcome_is_one_of_five():
    assert str(Verdict("j", "a", "b", "second")) == "j, a against b: b wins"
    with pytest.raises(DataError, match="outcome 'tie' of judge j; expected one of first, second, neutral"):
        Verdict("j", "a", "b", "tie")
