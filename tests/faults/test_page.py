"""The page of faults is made from stored outcomes; a kind that is run again replaces its former outcomes."""

from faults.outcome import IDENTICAL, OTHER, REFUSED, Outcome, table_of
from faults.page import page_of
from faults.storage import Origin, read_stored, store

SAME, REFUSAL = Outcome("kills", "x", IDENTICAL, ""), Outcome("k", "y", REFUSED, "")
BAD = Outcome("kills", "x", OTHER, "at step 3")


def origin(kind, seed=0):
    return Origin(kind, f"python -m faults --only {kind} --seed {seed}", seed, 1.25, "0123456789abcdef", "a machine")


def test_the_table_counts_tries_by_how_they_ended():
    found = table_of([SAME, SAME, REFUSAL])
    assert found.rows == [["k", "y", REFUSED, "1"], ["kills", "x", IDENTICAL, "2"]]
    assert found.note == "3 tries, 0 of them bad."


def test_the_page_gives_the_origin_of_each_kind_and_lists_bad_tries(tmp_path):
    store(tmp_path, origin("kills", seed=7), [SAME, BAD, BAD])
    store(tmp_path, origin("k"), [REFUSAL])
    page = page_of(read_stored(tmp_path, ["kills", "disks", "k"]))
    assert "| kills | 3 | 2 | 7 | 1.2 | python -m faults --only kills --seed 7 | 0123456789ab | a machine |" in page
    assert "4 tries, 2 of them bad." in page
    assert f"- 2 × kills: x: {OTHER}: at step 3" in page


def test_a_kind_that_is_run_again_replaces_its_former_outcomes(tmp_path):
    store(tmp_path, origin("kills"), [BAD])
    store(tmp_path, origin("k"), [REFUSAL])
    store(tmp_path, origin("kills", seed=1), [SAME])
    assert [kind.outcomes for kind in read_stored(tmp_path, ["kills", "k"])] == [(SAME,), (REFUSAL,)]
