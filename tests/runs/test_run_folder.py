"""Which folder a new run may write into."""

import pytest

from valuefree.errors import ConfigError
from valuefree.runs.run_folder import RunFolder


@pytest.mark.parametrize("verb", ["train", "demo"])
def test_a_run_that_failed_before_its_first_step_does_not_block_its_retry(tmp_path, verb):
    (tmp_path / "manifest.json").write_text(f'{{"command": "{verb}"}}')
    (tmp_path / "held_out.jsonl").write_text("{}\n")
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path, overwrite=False).open()
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "files",
    [
        {"manifest.json": '{"command": "train"}', "metrics.jsonl": "{}\n"},  # it logged a step
        {"held_out.jsonl": "{}\n"},  # nothing says that a run wrote it
        {"manifest.json": '{"command": "prepare"}'},  # of another verb
    ],
)
def test_other_folders_with_files_of_a_run_are_refused(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match="holds a run"):
        RunFolder(tmp_path, overwrite=False)
