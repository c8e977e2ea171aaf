"""Every damage of the harness changes the file, and its checksum tells."""

import random

import pytest

from faults.checkpoints import DAMAGES
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
