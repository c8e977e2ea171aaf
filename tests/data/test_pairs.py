"""Pairs of the user's own: what becomes of them, and every fault with its place; the column of desirable rows."""

import json

import datasets
import pytest

from valuefree.data import read_pairs, read_pairs_with_summary, read_triplets
from valuefree.errors import ConfigError, DataError

GOOD = [
    {"prompt": "a", "chosen": "x", "rejected": "y"},
    {"prompt": "b", "chosen": "y", "rejected": "x"},
    {"prompt": "a", "chosen": "x", "rejected": "z"},
]


def lines(folder, items):
    file = folder / "pairs.jsonl"
    file.write_text("\n".join(item if isinstance(item, str) else json.dumps(item) for item in items))
    return file


def test_a_pair_becomes_two_triplets(tmp_path):
    rows = read_pairs(lines(tmp_path, GOOD))
    assert [tuple(row.values()) for row in rows.select_columns(["prompt", "response", "reward"])] == [
        ("a", "x", 1.0),
        ("a", "y", 0.0),
        ("b", "y", 1.0),
        ("b", "x", 0.0),
        ("a", "x", 1.0),
        ("a", "z", 0.0),
    ]
    assert rows["prompt_id"] == [0, 0, 1, 1, 0, 0]
    assert rows["pair_id"] == [0, 0, 1, 1, 2, 2]


USER, WELL, BADLY = ({"role": role, "content": content} for role, content in [
    ("user", "why?"), ("assistant", "because"), ("assistant", "no"),
])  # fmt: skip


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [WELL], "rejected": [BADLY]},
        {"chosen": [USER, WELL], "rejected": [USER, BADLY]},
        {"prompt": "why?", "chosen": [USER, WELL], "rejected": [USER, BADLY]},
    ],
    ids=["prompt and answers", "conversations alone", "conversations beside the prompt"],
)
def test_pairs_of_messages(tmp_path, row):
    """The three conversational forms of preference data in TRL's docs and in ultrafeedback_binarized."""
    rows = read_pairs(lines(tmp_path, [row]))
    assert rows["prompt"][:] == [[USER], [USER]]
    assert rows["response"][:] == ["because", "no"]
    assert rows["reward"][:] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": [USER, WELL], "rejected": [BADLY]}, "chosen and rejected differ before their last message"),
        ({"prompt": "who?", "chosen": [USER, WELL], "rejected": [USER, BADLY]}, "prompt is not what chosen and"),
        (
            {"prompt": "why?", "chosen": [USER], "rejected": [BADLY]},
            "chosen does not end with a message of the assistant",
        ),
        ({"chosen": ["why?", WELL], "rejected": ["why?", BADLY]}, "chosen has a message without text role"),
    ],
)
def test_messages_that_do_not_fit_are_faults(tmp_path, row, reason):
    with pytest.raises(DataError, match=reason):
        read_pairs(lines(tmp_path, [row]))


def test_other_formats_and_names(tmp_path):
    expected = list(read_pairs(lines(tmp_path, GOOD)))
    table = datasets.Dataset.from_list(GOOD)
    table.to_parquet(tmp_path / "pairs.parquet")
    table.to_csv(tmp_path / "pairs.csv")
    renamed = table.rename_columns({"prompt": "q", "chosen": "good", "rejected": "bad"})
    for source in (table, tmp_path / "pairs.parquet", tmp_path / "pairs.csv"):
        assert list(read_pairs(source)) == expected
    assert list(read_pairs(renamed, prompt="q", chosen="good", rejected="bad")) == expected
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "hm"}]
    assert read_pairs(lines(tmp_path, [{**GOOD[0], "prompt": talk}]))[1]["prompt"] == talk


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"prompt": "a", "chosen": "x"}, "no column 'rejected' (there are: prompt, chosen)"),
        ({"prompt": "a", "chosn": "x", "rejected": "y"}, "did you mean 'chosn'?"),
        ({"prompt": "a", "chosen": None, "rejected": "y"}, "chosen is null"),
        ({"prompt": "a", "chosen": "x", "rejected": " "}, "rejected is empty"),
        ({"prompt": "a", "chosen": 3, "rejected": "y"}, "chosen is not text: 3"),
        ({"prompt": "", "chosen": "x", "rejected": "y"}, "prompt is empty"),
        ({"prompt": "a", "chosen": "x", "rejected": "x"}, "chosen and rejected are the same text"),
        ('{"prompt": "a", "chosen": "\\ud83d", "rejected": "x"}', "half a surrogate pair"),
        ("[1]", "expected a JSON object, got list"),
    ],
)
def test_each_fault_is_reported_with_file_and_line(tmp_path, item, reason):
    file = lines(tmp_path, [GOOD[0], item, GOOD[1]])
    with pytest.raises(DataError) as caught:
        read_pairs(file)
    assert "pairs.jsonl:2" in str(caught.value)
    assert reason in str(caught.value)
    rows, summary = read_pairs_with_summary(file, on_bad="drop")
    assert (rows["pair_id"], sum(summary.dropped.values())) == ([0, 0, 1, 1], 1)


def test_two_names_for_one_column_and_nothing_to_read_are_errors(tmp_path):
    with pytest.raises(ConfigError, match="need three columns"):
        read_pairs(lines(tmp_path, GOOD), chosen="x", rejected="x")
    with pytest.raises(DataError, match="no usable row"):
        read_pairs(lines(tmp_path, []))


TRIPLETS = [{"prompt": "a", "response": f"r{i}", "reward": i, "liked": liked} for i, liked in enumerate([True, False])]


def test_a_column_of_true_and_false_is_carried_along(tmp_path):
    table = datasets.Dataset.from_list(TRIPLETS)
    table.to_csv(tmp_path / "rows.csv")
    for source in (table, lines(tmp_path, TRIPLETS), tmp_path / "rows.csv"):
        assert read_triplets(source, desirable="liked")["desirable"] == [True, False]
    nested = [{"prompt": "a", "responses": [{"text": "x", "reward": 1, "liked": False}]}]
    assert read_triplets(lines(tmp_path, nested), desirable="liked")["desirable"] == [False]
    assert "desirable" not in read_triplets(table).column_names


def test_desirable_stands_for_the_reward_where_there_is_no_such_column(tmp_path):
    """TRL's unpaired preference: prompt, completion, label; a completion may be one message of the assistant."""
    rows = [
        {"prompt": "a", "completion": "x", "label": True},
        {"prompt": [USER], "completion": [WELL], "label": False},
    ]
    read = read_triplets(lines(tmp_path, rows), response="completion", desirable="label")
    assert read["reward"][:] == [1.0, -1.0]
    assert read["desirable"][:] == [True, False]
    assert read["response"][:] == ["x", "because"]
    with pytest.raises(DataError, match="no column 'score'"):
        read_triplets(lines(tmp_path, rows), response="completion", desirable="label", reward="score")
    rows[0] |= {"reward": 0.5}
    with pytest.raises(DataError, match=r"pairs.jsonl:2: no column 'reward'"):
        read_triplets(lines(tmp_path, rows), response="completion", desirable="label")


def test_a_value_that_is_neither_true_nor_false_is_a_fault_of_its_line(tmp_path):
    for value, reason in ((1, "liked is not true or false: 1"), (None, "liked is null")):
        with pytest.raises(DataError) as caught:
            read_triplets(lines(tmp_path, [TRIPLETS[0], {**TRIPLETS[1], "liked": value}]), desirable="liked")
        assert f"pairs.jsonl:2: {reason}" in str(caught.value)
    with pytest.raises(ConfigError, match="need different columns"):
        read_triplets(lines(tmp_path, TRIPLETS), desirable="reward")
