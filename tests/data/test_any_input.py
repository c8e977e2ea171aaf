"""Properties of the readers: the rows of a file come back as they were, or one error says what is wrong with it."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuefree.data import read_pairs, read_triplets
from valuefree.data.exports.feedback import read_feedback
from valuefree.data.reward_values import number_in, rating_of
from valuefree.data.triplets import written_row
from valuefree.errors import DataError, ValueFreeError
from valuefree.runs.files import write_jsonl

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy, where rewards near 1e308 are summed
GOOD = {"prompt": "a", "response": "b", "reward": 1.0}
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)

characters = st.characters(codec="utf-8")  # all but halves of surrogate pairs
texts = st.text(characters, min_size=1, max_size=40).filter(str.strip)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9)
scalars = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8)  # halves of pairs among them
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": texts}),
    min_size=1,
    max_size=3,
)
rows = st.lists(st.fixed_dictionaries({"prompt": texts, "response": texts, "reward": numbers}), min_size=1, max_size=5)
fields = st.sampled_from(["prompt", "response", "reward", "responses", "tools", "chat_template_kwargs", "chosen"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


def prompts_and_answers(dataset):
    return [(row["prompt"], row["response"], row["reward"]) for row in map(written_row, dataset)]


@settings(quick, max_examples=15)
@given(rows=rows)
def test_rows_come_back_from_json_lines_and_from_the_parquet_file_that_is_stored(folder, rows):
    write_jsonl(folder / "rows.jsonl", rows)
    dataset = read_triplets(folder / "rows.jsonl", json_prompts="text")
    expected = [(row["prompt"], row["response"], row["reward"]) for row in rows]
    assert prompts_and_answers(dataset) == expected
    dataset.to_parquet(str(folder / "rows.parquet"))
    assert prompts_and_answers(read_triplets(folder / "rows.parquet", json_prompts="text")) == expected


@settings(quick, max_examples=30)
@given(prompts=st.lists(texts | messages, min_size=1, max_size=4), answer=texts)
def test_prompts_of_messages_come_back(folder, prompts, answer):
    """A text beside messages is stored as one message of the user, which is the same prompt."""
    write_jsonl(folder / "rows.jsonl", [{"prompt": p, "response": answer, "reward": 1} for p in prompts])
    found = [row["prompt"] for row in map(written_row, read_triplets(folder / "rows.jsonl", json_prompts="text"))]
    if not all(isinstance(prompt, str) for prompt in prompts):
        prompts = [[{"role": "user", "content": one}] if isinstance(one, str) else one for one in prompts]
    assert found == prompts


@quick
@given(
    row=st.dictionaries(fields, values, max_size=4).map(lambda row: {**GOOD, **row}) | st.dictionaries(fields, values)
)
def test_any_value_in_a_row_is_read_or_refused(folder, row):
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    for read in (read_triplets, read_pairs, read_feedback):
        try:
            found = read(folder / "rows.jsonl")
        except ValueFreeError:
            continue
        assert len(getattr(found, "rows", found)) >= 1


@quick
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-16")))
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_any_bytes_are_refused(folder, suffix, content):
    """No content of 60 bytes is a row: the names of the columns alone have 20, and CSV has no rows without a header."""
    file = folder / f"any.{suffix}"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"any.{suffix}|no usable row"):
        read_triplets(file)


@quick
@given(text=st.text(max_size=12))
def test_a_number_is_what_ascii_digits_spell(text):
    found = number_in(text)
    assert (found is not None) <= (text.strip().isascii() and "_" not in text)
    if found is not None:
        assert found == float(text) or found != found


def test_digits_of_other_scripts_and_underscores_are_no_numbers():
    assert [number_in(text) for text in ("1_0", "\u0663", "\uff11", "0x1", "1e3", " -.5 ", "+2.")] == [
        *[None] * 4,
        1000.0,
        -0.5,
        2.0,
    ]
    assert [rating_of(text) for text in ("\u0663/5", "1_0", 10**400)] == [None] * 3


DAMAGED = {
    '{"prompt": "a", "response": "b", "reward": 1, "reward": 2}': "a key is given twice: 'reward'",
    '{"prompt": "a", "response": "b", "reward": ' + "7" * 5000 + "}": "an integer of more than 4300 digits",
    '{"prompt": ' + "[" * 10_000 + "]" * 10_000 + "}": "nested deeper than 100 levels",
    '{"prompt": ' + "[" * 101 + "]" * 101 + "}": "nested deeper than 100 levels",
    '{"prompt": "a", "response": "b", "reward": 1e999}': "reward is not finite: inf",
    '{"prompt": "a", "response": "b", "reward": 1, "tools": [{"x": NaN}]}': "tools has a value that is not of JSON",
}


@pytest.mark.parametrize(("line", "words"), DAMAGED.items(), ids=list(DAMAGED.values()))
def test_a_row_of_two_meanings_is_refused_by_name(tmp_path, line, words):
    (tmp_path / "rows.jsonl").write_text(f"\n{line}\n")
    with pytest.raises(DataError, match=f"rows.jsonl:2: {words}"):
        read_triplets(tmp_path / "rows.jsonl")


def test_a_csv_header_with_a_column_twice_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("prompt,response,reward,reward\na,b,1,2\n")
    with pytest.raises(DataError, match="a column is given twice: 'reward'"):
        read_triplets(tmp_path / "rows.csv")


def test_a_date_that_python_cannot_hold_is_a_fault_of_its_row(tmp_path):
    times = pa.array([0, 2**53], pa.timestamp("s"))
    table = pa.table({"prompt": ["a", "b"], "response": ["x", "y"], "reward": times})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"(?s)row 0: reward is not a number.*row 1: a value has no form in Python"):
        read_triplets(tmp_path / "rows.parquet")


def test_a_pipe_and_an_empty_name_are_refused(tmp_path):
    os.mkfifo(tmp_path / "rows.jsonl")
    with pytest.raises(DataError, match="is a pipe or a device"):
        read_triplets(tmp_path / "rows.jsonl")
    with pytest.raises(ValueFreeError, match="the data have no name"):
        read_triplets("")
