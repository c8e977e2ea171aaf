"""The harness of faults: each damage changes a file, and the table counts tries by how they ended."""

import random

import pytest

from faults.__main__ import page_of
from faults.checkpoints import DAMAGES
from faults.outcome import IDENTICAL, OTHER, REFUSED, Outcome, table_of
from valuefree.runs.checkpoints import fault_of, seal


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_one(tmp_path, damage):
    for seed in range(20):
        folder = tmp_path / f"checkpoint-{seed}"
        folder.mkdir()
        (folder / "a").write_bytes(b"one")
        (folder / "b").write_bytes(b"another")
        seal(folder)
        DAMAGES[damage](folder / "a", random.Random(seed))
        assert "a " in str(fault_of(folder))


def test_the_table_counts_tries_and_the_page_lists_the_bad_ones():
    outcomes = [
        Outcome("kills", "x", IDENTICAL, ""),
        Outcome("kills", "x", IDENTICAL, ""),
        Outcome("k", "y", REFUSED, ""),
    ]
    assert table_of(outcomes).rows == [["k", "y", REFUSED, "1"], ["kills", "x", IDENTICAL, "2"]]
    assert "3 tries, 0 of them bad." in page_of(outcomes, "origin")
    page = page_of([*outcomes, Outcome("kills", "x", OTHER, "at step 3")], "origin")
    assert "4 tries, 1 of them bad." in page
    assert f"- kills: x: {OTHER}: at step 3" in page
