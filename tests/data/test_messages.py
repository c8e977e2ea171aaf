"""Prompts and responses as lists of messages: every form in which logs hold them, by hand."""

import json

import datasets
import pytest

from valuefree.data import read_pairs, read_triplets
from valuefree.data.prompts import as_text, decoded
from valuefree.data.triplets import prompts_of, written_row
from valuefree.errors import DataError

USER = {"role": "user", "content": "why?"}
WELL = {"role": "assistant", "content": "because"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
READ_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
READ_CALLED = {"role": "assistant", "content": None, "tool_calls": [READ_CALL]}
RESULT = {"role": "tool", "content": "3", "tool_call_id": "c1"}


def read(tmp_path, *rows, **knobs):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"reward": 1, **row}) + "\n" for row in rows))
    return read_triplets(file, **knobs)


def test_a_list_of_messages_is_split_before_its_last_message(tmp_path):
    rows = read(tmp_path, {"prompt": [USER], "response": [CALLED, RESULT, WELL]})
    assert prompts_of(rows) == [{"messages": [USER, READ_CALLED, RESULT]}]
    assert rows["response"][:] == ["because"]
    assert "response_messages" not in rows.column_names


def test_all_turns_of_the_assistant_are_the_response_where_asked_for(tmp_path):
    more = {"role": "user", "content": "go on"}
    rows = read(tmp_path, {"prompt": [USER], "response": [more, CALLED, RESULT, WELL]}, train_on="all")
    assert prompts_of(rows) == [[USER, more]]
    assert json.loads(rows["response_messages"][0]) == [READ_CALLED, RESULT, WELL]
    assert rows["response"][0].endswith("assistant: because")


def test_rows_that_are_written_are_read_again_as_they_were(tmp_path):
    tools = [{"type": "function", "function": {"name": "f"}}]
    source = {"prompt": [USER], "tools": tools, "response": [CALLED, RESULT, WELL], "reward": 2.0}
    first = read(tmp_path, source, {"prompt": "plain", "response": "text"}, train_on="all")
    again = read(tmp_path, *map(written_row, first), train_on="all", json_prompts="text")
    assert list(again) == list(first)


def test_null_content_and_parts_of_text(tmp_path):
    parts = {"role": "user", "content": [{"type": "text", "text": "wh"}, {"type": "text", "text": "y?"}]}
    rows = read(tmp_path, {"prompt": [parts], "response": "because"}, {"prompt": [USER], "response": "so"})
    assert rows["prompt"][:] == [[USER], [USER]]
    assert rows["prompt_id"][:] == [0, 0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": [{"role": "user", "content": None}], "response": "x"}, "without text role and content"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}], "response": "x"},
            "content part that is not text: 'image_url'",
        ),
        ({"prompt": "a", "response": [CALLED, RESULT]}, "response does not end with a message of the assistant"),
        ({"prompt": "a", "response": "x", "tools": "hammer"}, "tools is not a list of function schemas: 'hammer'"),
        ({"prompt": "a", "response": "x", "chat_template_kwargs": [1]}, "chat_template_kwargs is not an object"),
        ({"prompt": [{**WELL, "tool_calls": "f()"}], "response": "x"}, "tool_calls that are not a list of objects"),
    ],
)
def test_messages_that_cannot_be_read_are_faults(tmp_path, row, reason):
    with pytest.raises(DataError, match=reason):
        read(tmp_path, row)


def test_a_cell_with_json_messages_is_parsed_and_said(tmp_path, caplog):
    caplog.set_level("INFO", logger="valuefree")
    table = datasets.Dataset.from_list([
        {"prompt": json.dumps([USER]), "response": json.dumps([WELL]), "reward": 1.0},
        {"prompt": "[not] json", "response": "because", "reward": 0.0},
    ])  # fmt: skip
    table.to_csv(tmp_path / "rows.csv")
    table.to_parquet(tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.parquet"):
        rows = read_triplets(tmp_path / name)
        assert rows["prompt"][:] == [[USER], [{"role": "user", "content": "[not] json"}]]
        assert rows["response"][:] == ["because", "because"]
        assert "1 prompts are JSON text of chat messages" in caplog.text
        kept = read_triplets(tmp_path / name, json_prompts="text")
        assert kept["prompt"][0] == json.dumps([USER])
        assert kept["response"][0] == json.dumps([WELL])


def test_tools_and_options_are_part_of_the_prompt(tmp_path):
    row = {"prompt": "a", "response": "x"}
    tools = [{"type": "function", "function": {"name": "f"}}]
    rows = read(
        tmp_path, row, {**row, "tools": tools}, {**row, "tools": json.dumps(tools)},
        {**row, "chat_template_kwargs": {"enable_thinking": False}}, {**row, "tools": [], "chat_template_kwargs": {}},
    )  # fmt: skip
    assert rows["prompt_id"][:] == [0, 1, 1, 2, 0]
    assert [decoded(prompt) for prompt in rows["prompt"][:2]] == [
        [{"role": "user", "content": "a"}],
        {"messages": [{"role": "user", "content": "a"}], "tools": tools},
    ]


def test_parquet_with_a_column_of_tools_is_read_with_them(tmp_path):
    rows = [{"prompt": "a", "response": "x", "reward": 1.0, "tools": '[{"type": "function"}]'}]
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "rows.parquet")
    assert prompts_of(read_triplets(tmp_path / "rows.parquet"))[0]["tools"] == [{"type": "function"}]


def test_forms_of_prompts_may_be_mixed_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr("valuefree.data.sources.ROWS", 1)  # each row is stored before the next is seen
    sources = [
        {"prompt": "a", "response": "x"},
        {"prompt": [USER], "response": "x"},
        {"prompt": [USER], "response": [CALLED]},
        {"prompt": [USER, READ_CALLED, RESULT], "response": "x"},
        {"prompt": "a", "response": "y"},
    ]
    rows = read(tmp_path, *sources)
    assert rows["prompt_id"][:] == [0, 1, 1, 2, 0]
    assert [decoded(prompt) for prompt in rows["prompt"][:]] == [
        [{"role": "user", "content": "a"}], [USER], [USER], {"messages": [USER, READ_CALLED, RESULT]},
        [{"role": "user", "content": "a"}],
    ]  # fmt: skip
    assert [text is not None for text in rows["response_messages"][:]] == [False, False, True, False, False]


def test_text_of_a_conversation_holds_every_field():
    text = as_text({"messages": [{**USER, "name": "Ada"}, READ_CALLED, RESULT], "tools": [{"type": "function"}]})
    assert text == (
        'tools: [{"type": "function"}]\nuser: why?\nname: "Ada"\n'
        f"assistant: tool_calls: {json.dumps([READ_CALL])}\n"
        'tool: 3\ntool_call_id: "c1"'
    )


def test_pairs_of_turns_with_tools_begin_where_they_differ(tmp_path):
    file = tmp_path / "pairs.jsonl"
    other = {"role": "assistant", "content": "no idea"}
    row = {"chosen": [USER, CALLED, RESULT, WELL], "rejected": [USER, CALLED, RESULT, other]}
    file.write_text(json.dumps(row) + "\n")
    rows = read_pairs(file)
    assert prompts_of(rows) == [{"messages": [USER, READ_CALLED, RESULT]}]
    assert rows["response"][:] == ["because", "no idea"]
    longer = {"prompt": [USER], "chosen": [CALLED, RESULT, WELL], "rejected": [other]}
    file.write_text(json.dumps(longer) + "\n")
    with pytest.raises(DataError, match="differ before their last message"):
        read_pairs(file)
    rows = read_pairs(file, train_on="all")
    assert prompts_of(rows) == [[USER]]
    assert rows["reward"][:] == [1.0, 0.0]
