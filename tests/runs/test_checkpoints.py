"""A checkpoint is whole if every file is as it was written; the newest whole one is found, and the others are named."""

import json

import pytest

from valuefree.runs.checkpoints import CHECKSUMS, fault_of, newest_whole, seal

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of "abc", FIPS 180-2, appendix B.1


@pytest.fixture
def folder(tmp_path):
    for step in (2, 4, 10):
        checkpoint = tmp_path / f"checkpoint-{step}"
        (checkpoint / "deep").mkdir(parents=True)
        (checkpoint / "weights.bin").write_bytes(b"abc")
        (checkpoint / "deep" / "state.json").write_text("{}")
        seal(checkpoint)
    return tmp_path


def test_the_checksums_are_sha256_of_every_file(folder):
    found = json.loads((folder / "checkpoint-2" / CHECKSUMS).read_text())
    assert found["weights.bin"] == ABC
    assert set(found) == {"weights.bin", "deep/state.json"}
    assert fault_of(folder / "checkpoint-2") is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: (path / "weights.bin").write_bytes(b"abb"), "weights.bin is not as it was written"),
        (lambda path: (path / "weights.bin").write_bytes(b"ab"), "weights.bin is not as it was written"),
        (lambda path: (path / "weights.bin").unlink(), "weights.bin is missing"),
        (lambda path: (path / "deep" / "state.json").unlink(), "deep/state.json is missing"),
        (lambda path: (path / CHECKSUMS).unlink(), "it was not finished"),
        (lambda path: (path / CHECKSUMS).write_text('{"weights'), "cannot be read"),
        (lambda path: (path / CHECKSUMS).write_text("[1]"), "cannot be read"),
        (lambda path: (path / CHECKSUMS).write_text("{}"), "lists no file"),
    ],
)
def test_damage_is_named_and_an_older_checkpoint_is_taken(folder, damage, words):
    damage(folder / "checkpoint-10")
    found, faults = newest_whole(folder)
    assert found == folder / "checkpoint-4"
    assert list(faults) == [folder / "checkpoint-10"]
    assert words in faults[folder / "checkpoint-10"]


def test_steps_are_compared_as_numbers_and_other_folders_are_no_checkpoints(folder):
    (folder / "checkpoint-11-copy").mkdir()
    (folder / "unfinished" / "checkpoint-12").mkdir(parents=True)
    assert newest_whole(folder) == (folder / "checkpoint-10", {})
    assert newest_whole(folder / "nowhere") == (None, {})
