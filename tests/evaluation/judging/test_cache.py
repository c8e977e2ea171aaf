"""The cache: no row lost, none invented, failures never taken for answers."""

import json

import pytest

from valuefree.errors import DataError, JudgeError
from valuefree.evaluation.judging.cache import JudgementCache, call_key


def row(key, text="A", error=None):
    return {"key": key, "text": text, "top": None, "error": error}


def test_rows_and_salt_come_back(tmp_path):
    file = tmp_path / "folder" / "cache.jsonl"
    with JudgementCache(file) as cache:
        cache.add(row("k1", "é\u2028\ud800"))  # a line separator and half a surrogate pair stay within their line
        cache.add(row("k2", None, "HTTP 500"))
        salt = cache.salt
    with JudgementCache(file) as again:
        assert again.salt == salt
        assert again.answers["k1"]["text"] == "é\u2028\ud800"
        assert (set(again.answers), again.failures) == ({"k1"}, 1)


def test_a_line_cut_by_a_kill_is_removed_and_the_rest_kept(tmp_path, caplog):
    file = tmp_path / "cache.jsonl"
    with JudgementCache(file) as cache:
        cache.add(row("k1"))
        cache.add(row("k2"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    with JudgementCache(file) as again:
        assert set(again.answers) == {"k1"}
        again.add(row("k2"))
    assert "was cut" in caplog.text
    assert file.read_bytes() == whole


def test_a_kill_within_the_header_leaves_a_usable_file(tmp_path):
    file = tmp_path / "cache.jsonl"
    file.write_bytes(b'{"format": "value')
    with JudgementCache(file) as cache:
        cache.add(row("k1"))
    with JudgementCache(file) as again:
        assert (set(again.answers), again.salt) == ({"k1"}, cache.salt)


def test_looking_changes_nothing(tmp_path):
    file = tmp_path / "cache.jsonl"
    with JudgementCache(file, write=False) as nothing:
        assert not nothing.answers
    assert not list(tmp_path.iterdir())
    with JudgementCache(file) as cache:
        cache.add(row("k1"))
        with JudgementCache(file, write=False) as looking:  # while another run writes
            assert set(looking.answers) == {"k1"}


def test_two_runs_do_not_write_to_one_file(tmp_path):
    with JudgementCache(tmp_path / "c.jsonl"), pytest.raises(JudgeError, match="another run"):
        JudgementCache(tmp_path / "c.jsonl").__enter__()
    with JudgementCache(tmp_path / "c.jsonl"):
        pass  # free again


@pytest.mark.parametrize("content", ['{"prompt": "x"}\n', "not json\n", "[1]\n"])
def test_a_file_that_is_no_cache_is_refused_and_left_alone(tmp_path, content):
    file = tmp_path / "data.jsonl"
    file.write_text(content)
    with pytest.raises(DataError):
        JudgementCache(file).__enter__()
    assert file.read_text() == content


@pytest.mark.parametrize(
    "content", [b"", b"a novel", b'{"format": "valuefree runs"', b'{"prompt": "x", "response": "y"}', b"\x89PNG\r\n"]
)
@pytest.mark.parametrize("write", [True, False])
def test_a_foreign_file_without_a_last_line_break_stays_as_it_is(tmp_path, content, write):
    """An empty file is no one's, and becomes a cache."""
    file = tmp_path / "thesis.txt"
    file.write_bytes(content)
    if not content:
        JudgementCache(file, write=write).__enter__().__exit__()
        return
    with pytest.raises(DataError, match="is not a cache of judgements, and is left as it is"):
        JudgementCache(file, write=write).__enter__()
    assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_is_no_cache(tmp_path):
    with pytest.raises(DataError, match="is no file"):
        JudgementCache(tmp_path).__enter__()


def cached(file):
    with JudgementCache(file) as cache:
        for number in range(3):
            cache.add(row(f"k{number}", f"answer {number}"))
    return file.read_bytes().split(b"\n")


def test_every_damaged_byte_of_a_row_is_named_and_the_row_is_not_used(tmp_path, caplog):
    """Each byte of the row in line 3 flipped in one bit."""
    file = tmp_path / "cache.jsonl"
    lines = cached(file)
    for place in range(len(lines[2])):
        bad = bytearray(lines[2])
        bad[place] ^= 1
        if bad[place] == ord("\n"):
            continue  # two lines
        file.write_bytes(b"\n".join([*lines[:2], bytes(bad), *lines[3:]]))
        caplog.clear()
        with JudgementCache(file, write=False) as again:
            assert set(again.answers) == {"k0", "k2"}
        assert "1 row damaged (line 3); not used, and asked again" in caplog.text


def test_a_damaged_salt_is_an_error_since_all_would_be_asked_anew(tmp_path):
    file = tmp_path / "cache.jsonl"
    lines = cached(file)
    salt = json.loads(lines[0])["salt"].encode()
    file.write_bytes(b"\n".join([lines[0].replace(salt, salt[:-1] + b"-"), *lines[1:]]))
    before = file.read_bytes()
    with pytest.raises(DataError, match="the first line is damaged"):
        JudgementCache(file).__enter__()
    assert file.read_bytes() == before


def test_answers_of_a_cache_without_checksums_are_used(tmp_path):
    file = tmp_path / "cache.jsonl"
    rows = [{"format": "valuefree judgements 1", "salt": "s"}, row("k0"), row("k1", None, "HTTP 500")]
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    with JudgementCache(file) as cache:
        assert (set(cache.answers), cache.failures, cache.salt) == ({"k0"}, 1, "s")
        cache.add(row("k2"))
    with JudgementCache(file) as again:
        assert set(again.answers) == {"k0", "k2"}


def test_the_key_changes_with_all_that_an_answer_depends_on():
    base = {"judge": "j", "revision": "r", "question": "q", "settings": {"temperature": 0.0}, "order": "ab"}
    others = [base | {name: "other"} for name in ("judge", "revision", "question", "order")]
    others.append(base | {"settings": {"temperature": 1.0}})
    keys = {call_key(**content) for content in [base, *others]}
    assert len(keys) == 6
    assert call_key(**json.loads(json.dumps(base))) in keys
