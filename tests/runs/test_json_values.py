"""JSON that is read, and what it refuses by name."""

import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuefree.errors import DataError
from valuefree.runs.files import check_regular, read_json, read_jsonl, read_object, write_json
from valuefree.runs.json_values import LEVELS, as_written, parse_json

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_what_json_writes_is_read_as_json_reads_it(value):
    text = json.dumps(value)
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "a key is given twice: 'c'"),
        ("9" * 4301, "more than 4300 digits"),
        ("[" * (LEVELS + 1) + "]" * (LEVELS + 1), "nested deeper than 100 levels"),
        ("[" * 10**5 + "]" * 10**5, "nested deeper than 100 levels"),
        ('{"a": ', "broken JSON: Expecting value"),
        (b'"\xff"', "not UTF-8: invalid start byte at byte 2"),
    ],
)
def test_two_meanings_and_what_cannot_be_written_again_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)


def test_at_the_limits_json_is_read():
    assert parse_json("[" * LEVELS + "]" * LEVELS)
    assert parse_json("9" * 4300) == 10**4300 - 1
    assert len(parse_json("[" + "[]," * 1000 + "[]]")) == 1001


def test_numbers_that_json_lacks_are_written_as_text(tmp_path):
    content = {"a": math.inf, "b": [-math.inf, (1, 2)], "c": 0.5}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == {"a": "inf", "b": ["-inf", [1, 2]], "c": 0.5} == as_written(content)


def test_errors_name_file_and_line(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n[1]\n')
    with pytest.raises(DataError, match=r"a.jsonl:3: expected a JSON object, got list"):
        read_jsonl(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(DataError, match=r"a.json: expected a JSON object, got list"):
        read_object(tmp_path / "a.json")
    (tmp_path / "b.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"b.json: not UTF-8"):
        read_json(tmp_path / "b.json")


def test_folders_and_pipes_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("", "is a folder"), ("pipe", "is a pipe")):
        with pytest.raises(DataError, match=words):
            read_json(tmp_path / name)
    check_regular(tmp_path / "missing")
