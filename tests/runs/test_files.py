"""Files are written whole or not at all, and JSON is read back as it was."""

import json

import pytest

from valuefree.runs.files import atomic_write, json_line, read_json, read_jsonl, write_json, write_jsonl, write_text

TEXTS = ["plain", "é 漢 \U0001f600", "line\u2028separator\nbreak", "\ud83d half of a pair", ""]


def test_json_and_json_lines_are_read_back(tmp_path):
    rows = [{"text": text} for text in TEXTS]
    write_json(tmp_path / "new" / "a.json", rows)
    write_jsonl(tmp_path / "new" / "a.jsonl", iter(rows))
    assert read_json(tmp_path / "new" / "a.json") == rows
    assert read_jsonl(tmp_path / "new" / "a.jsonl") == rows
    assert (tmp_path / "new" / "a.jsonl").read_bytes() == "".join(map(json_line, rows)).encode()
    assert "é 漢" in json_line(rows[1])


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a", "old")

    def rows():
        yield {"a": 1}
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_jsonl(tmp_path / "a", rows())
    with pytest.raises(TypeError):
        write_json(tmp_path / "a", {"a": object()})
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a", "old")]


def test_the_old_file_is_there_until_the_new_one_is_complete(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})
    with atomic_write(file) as stream:
        stream.write(b"{")
        assert json.loads(file.read_text()) == {"a": 1}
        stream.write(b"}")
    assert read_json(file) == {}
