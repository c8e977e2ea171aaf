"""The harness of damaged inputs: damages change the file, and code, words and memory tell how a try ended."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faults.inputs import MEMORY_LIMIT, End, _judged
from faults.mutations import damage
from faults.outcome import ACCEPTED, HANG, IDENTICAL, MEMORY, REFUSED, TRACEBACK
from valuefree.cli.main import UNEXPECTED

CONTENTS = {
    "a.jsonl": '{"prompt": "a", "x": [{"b": 1}]}\n{"prompt": "c", "x": []}\n',
    "a.json": json.dumps({"a": {"b": [1, "c"]}}),
    "a.yaml": "lr: 1\nmodel: m\n",
    "a.csv": 'prompt,x\na,"1\n2"\nb,3\n',
    "a.txt": "one\ntwo\n",
}


@pytest.mark.parametrize("name", [*CONTENTS, "a.parquet"])
def test_damages_are_repeatable_and_nearly_all_change_the_file(tmp_path, name):
    """Two lines swapped may be one line; a value may be exchanged for itself."""
    changed, file = 0, tmp_path / name
    for seed in range(60):
        found = []
        for _ in range(2):
            if file.is_dir():
                file.rmdir()
            file.unlink(missing_ok=True)
            if name in CONTENTS:
                file.write_text(CONTENTS[name], encoding="utf-8")
            else:
                pq.write_table(pa.table({"prompt": ["a", "b"], "reward": [1.0, 2.0]}), file)
            before = file.read_bytes()
            how = damage(file, random.Random(seed))
            found.append((how, file.read_bytes() if file.is_file() else None))
        assert found[0] == found[1]
        changed += found[0][1] != before
    assert changed > 50


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        (End(0, "a", "", 1), IDENTICAL),
        (End(0, "b", "", 1), ACCEPTED),
        (End(2, "", "valuefree: no", 1), REFUSED),
        (End(1, "", "", 1), TRACEBACK),
        (End(-9, "", "", 1), TRACEBACK),
        (End(1, "", "Traceback (most recent call last)", 1), TRACEBACK),
        (End(1, "", f"valuefree: KeyError: 1\n{UNEXPECTED}.", 1), TRACEBACK),
        (End(None, "", "", 1), HANG),
        (End(0, "a", "", MEMORY_LIMIT + 1), MEMORY),
    ],
)
def test_how_a_try_ended(end, ended):
    assert _judged(end, "a")[0] == ended
