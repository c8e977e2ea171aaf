"""Many rows go to a file, which reads like memory, and which is gone when the process is."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from valuefree.data import read_with_summary, split_by_prompt, storage, summarize
from valuefree.data.storage import RowStore, cache_root, temporary_folder
from valuefree.errors import ConfigError
from valuefree.training.reference_scores import cache_root as also_here

TALK = [{"role": "system", "content": "s"}, {"role": "user", "content": "more"}]


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Strings by columns, then messages and strings by rows, then strings by columns again."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for name in ("1", "3"):
        rows = {"prompt": [f"p{i % 7}" for i in range(50)], "response": [f"{name}r{i % 20}" for i in range(50)]}
        datasets.Dataset.from_dict(rows | {"reward": [i / 3 for i in range(50)]}).to_parquet(folder / f"{name}.parquet")
    items = [{"prompt": TALK if i % 2 else "p1", "response": f"x{i}", "reward": i} for i in range(10)]
    (folder / "2.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def spilled() -> list[Path]:
    return list((cache_root() / "rows").glob("*/rows.arrow"))


def test_a_spilled_data_set_reads_as_one_in_memory(mixed, monkeypatch):
    plain, counts = read_with_summary(mixed)
    assert not plain.cache_files
    assert not spilled()
    monkeypatch.setattr(storage, "SPILL_BYTES", 1000)
    large, same = read_with_summary(mixed)
    assert [Path(file["filename"]) for file in large.cache_files] == spilled()
    assert list(large) == list(plain)
    assert large.features == plain.features
    assert counts == same == summarize(large)
    for one, two in zip(*(split_by_prompt(d, test_prompts=3, seed=1) for d in (plain, large)), strict=True):
        assert list(one) == list(two)
        assert one.features == two.features


SCRIPT = """
import os, sys
from pathlib import Path
from valuefree.data import read_triplets, storage
storage.SPILL_BYTES = 100
rows = read_triplets(sys.argv[1])
file = Path(rows.cache_files[0]["filename"])
rows.map(lambda row: row)  # what datasets caches lies beside the file
if os.fork() == 0:
    sys.exit(rows["response"][:] != [f"r{i}" for i in range(30)])  # as a worker of a data loader does, and worse
assert os.wait()[1] == 0, "the fork could not read"
assert file.exists(), "the fork removed the file"
print(file)
"""


def test_large_sources_are_spilled_and_removed(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"prompt": "a", "response": f"r{i}", "reward": i}) + "\n" for i in range(30)))
    folder = cache_root() / "rows"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (folder / f"{socket.gethostname()}-{gone.pid}-killed").mkdir(parents=True)
    ended = subprocess.run([sys.executable, "-c", SCRIPT, str(file)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert str(folder) in ended.stdout
    assert not list(folder.iterdir()), "neither its own folder nor that of a killed process is left"


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells what is mapped")
def test_pages_given_back_leave_memory_and_are_read_again(mixed, monkeypatch):
    monkeypatch.setattr(storage, "SPILL_BYTES", 1000)
    dataset, _ = read_with_summary(mixed)

    def resident() -> int:
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        mapped = (line for line in lines if line.endswith(str(spilled()[0])))
        return sum(int(next(line for line in lines if line.startswith("Rss:")).split()[1]) for _ in mapped)

    before = list(dataset)
    assert resident() > 0
    storage.release_pages(dataset)
    assert resident() == 0
    assert list(dataset) == before


def test_a_running_process_keeps_its_folder():
    assert temporary_folder().is_dir()
    other = temporary_folder().parent
    assert len(list(other.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_an_error_that_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VALUEFREE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(storage, "SPILL_BYTES", 0)
    with pytest.raises(ConfigError, match="VALUEFREE_CACHE"):
        RowStore().write(pa.record_batch({"reward": [1.0]}))


def test_the_cache_root_has_one_home(monkeypatch):
    monkeypatch.delenv("VALUEFREE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", os.sep + "somewhere")
    assert also_here is cache_root
    assert cache_root() == Path(os.sep) / "somewhere" / "valuefree"
