"""Rows judged by columns are judged as they are one by one; and what Arrow columns may hold that Python cannot."""

import json
from decimal import Decimal

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.table import InMemoryTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valuefree.data import read_triplets, read_with_summary, sources
from valuefree.errors import DataError

ODD = ["a", "b", "a", " ", "", "\n", "\x1c", "\x1c\x1f ", "\u2003", "\u200b", "\x00", "é", "👍", "up", None]
REWARDS = {
    "float64": pa.array([1.0, 2.5, float("nan"), float("inf"), None]),
    "float32": pa.array([0.1, 2.5, float("nan"), float("-inf"), None], pa.float32()),
    "float16": pa.array(np.array([0.1, 1, 2, 3, 4], dtype=np.float16)),
    "int64": pa.array([2**60 + 1, -3, 0, 1, None]),
    "uint64": pa.array([2**64 - 1, 3, 0, 1, None], pa.uint64()),
    "int8": pa.array([1, -1, 0, 5, None], pa.int8()),
    "bool": pa.array([True, False, True, False, None]),
    "string": pa.array(["1", "up", "false", "x", None]),
    "decimal": pa.array([Decimal("1.5")] * 5),
    "null": pa.nulls(5),
    "list": pa.array([[1.0]] * 5),
    "dictionary": pa.array([1.0, 2.0, 1.0, 2.0, 1.0]).dictionary_encode(),
}
TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
    pa.binary(),
]


def outcome(source, **knobs):
    """All that a reader can say of a source."""
    try:
        dataset, summary = read_with_summary(source, **knobs)
    except DataError as error:
        return str(error), error.faults, error.count
    return list(dataset), dataset.features, summary


def by_rows(monkeypatch, source, **knobs):
    with monkeypatch.context() as patch:
        patch.setattr(sources, "_are_plain", lambda schema, names: False)
        return outcome(source, **knobs)


def table_of(text_type: pa.DataType, reward: pa.Array) -> pa.Table:
    prompts, responses = ODD * 3, [*ODD, *ODD[1:], ODD[0], *ODD[4:], *ODD[:4]]
    rewards = pa.concat_arrays([reward] * (len(prompts) // len(reward)))
    columns = [pa.array(texts, pa.string()) for texts in (prompts, responses)]
    if pa.types.is_dictionary(text_type):
        columns = [column.cast(text_type.value_type).dictionary_encode() for column in columns]
    columns = [column.cast(text_type) for column in columns]
    return pa.table({"prompt": columns[0], "response": columns[1], "reward": rewards, "beside": rewards})


@pytest.mark.parametrize("on_bad", ["raise", "drop"])
@pytest.mark.parametrize(
    ("text_type", "reward"),
    [(pa.string(), name) for name in REWARDS] + [(kind, "float64") for kind in TEXT_TYPES],
    ids=str,
)
def test_columns_and_rows_read_alike(tmp_path, monkeypatch, text_type, reward, on_bad):
    table = table_of(text_type, REWARDS[reward])
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=31)
    dataset = datasets.Dataset(InMemoryTable(table))
    for source in (tmp_path / "rows.parquet", dataset, dataset.shuffle(seed=0), dataset.with_format("numpy")):
        for thumbs in (False, True):
            knobs = {"on_bad": on_bad, "thumbs": thumbs}
            assert outcome(source, **knobs) == by_rows(monkeypatch, source, **knobs)


@pytest.mark.parametrize("text_type", TEXT_TYPES[:-1], ids=str)
def test_good_columns_become_no_python_rows(tmp_path, monkeypatch, text_type):
    """Else the comparison above would compare the rows with themselves."""
    table = table_of(text_type, REWARDS["int64"]).slice(0, 2)
    pq.write_table(table, tmp_path / "rows.parquet")
    monkeypatch.setattr(sources, "_rows", None)
    monkeypatch.setattr(sources, "RawRow", None)
    dataset = datasets.Dataset(InMemoryTable(table))
    dataset.save_to_disk(tmp_path / "saved")
    for source in (tmp_path / "rows.parquet", tmp_path / "saved", dataset, dataset.select([1, 0])):
        assert len(read_triplets(source)) == 2


@given(
    st.lists(st.tuples(st.sampled_from(ODD), st.sampled_from(ODD), st.sampled_from([0.0, 1.5, float("nan"), None]))),
    st.sampled_from(["raise", "drop"]),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parquet_and_json_lines_read_alike(tmp_path, rows, on_bad):
    """Places apart, for lines are counted from 1."""
    items = [dict(zip(("prompt", "response", "reward"), row, strict=True)) for row in rows]
    kinds = pa.schema({"prompt": pa.string(), "response": pa.string(), "reward": pa.float64()})
    pq.write_table(pa.Table.from_pylist(items, schema=kinds), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    one, two = (outcome(tmp_path / f"rows.{kind}", on_bad=on_bad) for kind in ("parquet", "jsonl"))
    if isinstance(one[0], str):
        reasons = [[fault.split(": ", 1)[1] for fault in said[1]] for said in (one, two)]
        assert reasons[0] == reasons[1]
        assert [f"rows.jsonl:{int(fault.split(':')[1].split()[1]) + 1}" for fault in one[1]] == [
            ":".join(fault.split(":")[:2]) for fault in two[1]
        ]
    else:
        assert one == two


def broken_text() -> pa.Array:
    offsets, content = np.array([0, 1, 6], dtype=np.int32), b"ycaf\xe9!"
    return pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(content)])


def test_bytes_that_are_no_text_are_a_fault_of_their_row(tmp_path):
    table = pa.table({"prompt": ["a", "b"], "response": broken_text(), "reward": [1.0, 2.0]})
    pq.write_table(table, tmp_path / "rows.parquet")
    for source, place in (
        (tmp_path / "rows.parquet", "rows.parquet:row 1"),
        (datasets.Dataset(InMemoryTable(table)), "row:1"),
    ):
        with pytest.raises(DataError, match=f"{place}: not UTF-8: byte 0xe9 at character 4"):
            read_triplets(source)
        assert read_triplets(source, on_bad="drop")["response"][:] == ["y"]


def test_places_count_on_over_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BATCH_ROWS", 64)
    rewards = [float(i) if i not in (0, 63, 64, 200) else None for i in range(201)]
    table = pa.table({"prompt": ["a"] * 201, "response": ["x"] * 201, "reward": rewards})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError) as caught:
        read_triplets(tmp_path / "rows.parquet")
    assert caught.value.faults == tuple(f"rows.parquet:row {i}: reward is null" for i in (0, 63, 64, 200))
    assert read_triplets(tmp_path / "rows.parquet", on_bad="drop")["reward"][:] == [r for r in rewards if r is not None]


def test_names_with_dots_and_columns_beside_are_no_matter(tmp_path):
    table = pa.table({"a": [{"b": "no"}], "a.b": ["yes"], "response": ["x"], "reward": [1.0]})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert read_triplets(tmp_path / "rows.parquet", prompt="a.b")["prompt"][:] == ["yes"]
