"""Reading: every format, every fault with its place, counting, splitting; and real files when they are there."""

import json
import math
from pathlib import Path

import datasets
import pytest

from valuefree.data import read_triplets, read_with_summary, split_by_prompt
from valuefree.errors import ConfigError, DataError

GOOD = [
    {"prompt": "a", "response": "x", "reward": 1.0},
    {"prompt": "b", "response": "y", "reward": 2},
    {"prompt": "a", "response": "z", "reward": -0.5},
]


def lines(folder: Path, items: list, name: str = "rows.jsonl") -> Path:
    file = folder / name
    file.write_text("\n".join(item if isinstance(item, str) else json.dumps(item) for item in items), encoding="utf-8")
    return file


def contents(dataset) -> list[tuple]:
    return [(row["prompt"], row["response"], row["reward"], row["prompt_id"]) for row in dataset]


EXPECTED = [("a", "x", 1.0, 0), ("b", "y", 2.0, 1), ("a", "z", -0.5, 0)]


def test_jsonl(tmp_path):
    assert contents(read_triplets(lines(tmp_path, GOOD))) == EXPECTED


def test_json_array(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(GOOD))
    assert contents(read_triplets(file)) == EXPECTED


def test_csv_with_quoted_newlines_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text('\ufeffprompt,response,reward\na,x,1\nb,"y, and\nmore",2\na,z,-.5\n', encoding="utf-8")
    assert contents(read_triplets(file)) == [EXPECTED[0], ("b", "y, and\nmore", 2.0, 1), EXPECTED[2]]


def test_parquet_dataset_and_saved_folder(tmp_path):
    dataset = datasets.Dataset.from_list([row | {"reward": float(row["reward"])} for row in GOOD])
    dataset.to_parquet(tmp_path / "rows.parquet")
    dataset.save_to_disk(tmp_path / "saved")
    for source in (dataset, tmp_path / "rows.parquet", tmp_path / "saved"):
        assert contents(read_triplets(source)) == EXPECTED


def test_folder_of_files_in_order(tmp_path):
    lines(tmp_path, GOOD[:2], "1.jsonl")
    (tmp_path / "2.csv").write_text("prompt,response,reward\na,z,-0.5\n")
    (tmp_path / "notes.txt").write_text("not read")
    assert contents(read_triplets(tmp_path)) == EXPECTED


def test_hub_name_goes_through_datasets(monkeypatch):
    asked = []

    def load(name, split=None):
        asked.append((name, split))
        return datasets.DatasetDict(
            train=datasets.Dataset.from_list(GOOD[:1]), test=datasets.Dataset.from_list(GOOD[1:2])
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert contents(read_triplets("someone/feedback")) == EXPECTED[:1]
    assert contents(read_triplets("someone/feedback", split="test")) == [("b", "y", 2.0, 0)]
    with pytest.raises(ConfigError, match="no split 'dev'; there are train, test"):
        read_triplets("someone/feedback", split="dev")
    assert asked[0] == ("someone/feedback", None)


def test_hub_that_cannot_be_reached_is_a_data_error(monkeypatch):
    def load(name, split=None):
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match="not a local file, and could not be loaded as a hub data set: offline"):
        read_triplets("someone/feedback")


def test_nested_rows(tmp_path):
    nested = [
        {"prompt": "a", "responses": [{"text": "x", "reward": 1}, {"text": "z", "reward": -0.5}]},
        {"prompt": "b", "responses": [{"response": "y", "reward": 2}]},
    ]
    assert contents(read_triplets(lines(tmp_path, nested))) == [EXPECTED[0], EXPECTED[2], EXPECTED[1]]


@pytest.mark.parametrize("name", ["answers", "completions"])
def test_nested_rows_by_other_names(tmp_path, name):
    rows = [{"prompt": "a", name: [{"text": "x", "reward": 1}, {"text": "z", "reward": -0.5}]}]
    assert contents(read_triplets(lines(tmp_path, rows))) == [("a", "x", 1.0, 0), ("a", "z", -0.5, 0)]


def test_renamed_columns(tmp_path):
    renamed = [{"question": r["prompt"], "answer": r["response"], "stars": r["reward"]} for r in GOOD]
    file = lines(tmp_path, renamed)
    assert contents(read_triplets(file, prompt="question", response="answer", reward="stars")) == EXPECTED
    with pytest.raises(DataError, match="no column 'prompt'"):
        read_triplets(file)


def test_messages_and_strings_mix(tmp_path):
    talk = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "hm"},
        {"role": "user", "content": "more"},
    ]
    items = [
        GOOD[0],
        {"prompt": talk, "response": "x", "reward": 0},
        {"prompt": talk[:1], "response": "w", "reward": 0},
    ]
    dataset = read_triplets(lines(tmp_path, items))
    assert dataset["prompt_id"] == [0, 1, 0]  # a string is its single user message
    assert dataset[1]["prompt"] == talk


FAULTS = [
    ({"prompt": "a", "response": "x"}, "no column 'reward' (there are: prompt, response)"),
    ({"prompt": "a", "respnse": "x", "reward": 1}, "did you mean 'respnse'?"),
    ({"prompt": None, "response": "x", "reward": 1}, "prompt is null"),
    ({"prompt": "a", "response": None, "reward": 1}, "response is null"),
    ({"prompt": "a", "response": "x", "reward": None}, "reward is null"),
    ({"prompt": " ", "response": "x", "reward": 1}, "prompt is empty"),
    ({"prompt": [], "response": "x", "reward": 1}, "prompt is empty"),
    ({"prompt": 3, "response": "x", "reward": 1}, "prompt is neither text nor a list of messages: 3"),
    ({"prompt": [{"role": "user"}], "response": "x", "reward": 1}, "without text role and content"),
    ({"prompt": "a", "response": "\n ", "reward": 1}, "response is empty"),
    ({"prompt": "a", "response": True, "reward": 1}, "response is not text: True"),
    ({"prompt": "a", "response": 7, "reward": 1}, "response is not text: 7"),
    (
        {"prompt": "a", "response": ["x"], "reward": 1},
        "response has a message without text role and content: 'x'",
    ),
    ('{"prompt": "a", "response": "x", "reward": NaN}', "reward is not finite: nan"),
    ('{"prompt": "a", "response": "x", "reward": -Infinity}', "reward is not finite: -inf"),
    ('{"prompt": "a", "response": "x", "reward": 1e999}', "reward is not finite: inf"),
    ({"prompt": "a", "response": "x", "reward": "good"}, "reward is not a number: 'good'"),
    ({"prompt": "a", "response": "x", "reward": True}, "reward is not a number: True"),
    ({"prompt": "a", "response": "x", "reward": [1]}, "reward is not a number: [1]"),
    ('{"prompt": "a", "response": "x", "reward": 1', "broken JSON: "),
    ("[1, 2]", "expected a JSON object, got list"),
    ('{"prompt": "a", "response": "\\ud83d", "reward": 1}', "half a surrogate pair"),
    ({"prompt": "a", "responses": [], "x": 1}, "'responses' is not a list of responses: []"),
    ({"prompt": "a", "responses": ["x"]}, "response is not an object with text and reward: 'x'"),
    ({"prompt": "a", "responses": [{"text": "", "reward": 1}]}, "text is empty"),
]


@pytest.mark.parametrize(("item", "reason"), FAULTS)
def test_each_fault_is_reported_with_file_and_line(tmp_path, item, reason):
    file = lines(tmp_path, [GOOD[0], item, GOOD[1]])
    with pytest.raises(DataError) as caught:
        read_triplets(file)
    assert "1 fault in 3 rows" in str(caught.value)
    assert "rows.jsonl:2" in str(caught.value)
    assert reason in str(caught.value)
    dataset, summary = read_with_summary(file, on_bad="drop")
    assert contents(dataset) == EXPECTED[:2]
    assert sum(summary.dropped.values()) == 1


def test_all_faults_are_listed_up_to_twenty_and_counted(tmp_path):
    file = lines(tmp_path, [item for item, _ in FAULTS] + GOOD)
    with pytest.raises(DataError) as caught:
        read_triplets(file)
    assert caught.value.count == len(FAULTS) == 25
    assert "rows.jsonl:20" in str(caught.value)
    assert "rows.jsonl:21" not in str(caught.value)
    assert "… and 5 more" in str(caught.value)


def test_mixed_encodings_are_a_fault_of_their_line(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [json.dumps(row).encode() for row in GOOD]
    rows[1] = '{"prompt": "café", "response": "y", "reward": 2}'.encode("latin-1")
    file.write_bytes(b"\n".join(rows))
    with pytest.raises(DataError, match=r"rows.jsonl:2: not UTF-8: byte 0xe9 at character 16"):
        read_triplets(file)
    assert len(read_triplets(file, on_bad="drop")) == 2


def test_csv_faults(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_bytes(b"prompt,response,reward\na,x,1\nb,y\nc,z,high\nd,,3\ne,w,\nf,caf\xe9,1\n")
    with pytest.raises(DataError) as caught:
        read_triplets(file)
    for text in (
        "rows.csv:3: 2 fields where the header has 3",
        "rows.csv:4: reward is not a number: 'high'",
        "rows.csv:5: response is empty",
        "rows.csv:6: reward is null",
        "rows.csv:7: not UTF-8: byte 0xe9",
    ):
        assert text in str(caught.value)


def test_an_unclosed_quote_in_csv(tmp_path):
    (tmp_path / "rows.csv").write_text('prompt,response,reward\na,x,1\nb,"y,2\n')
    with pytest.raises(DataError, match="broken CSV from here on"):
        read_triplets(tmp_path / "rows.csv")


def test_a_file_that_is_no_parquet(tmp_path):
    (tmp_path / "rows.parquet").write_text("hello")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_triplets(tmp_path / "rows.parquet")


def test_a_column_of_thumbs_alone_is_one_message_with_the_option(tmp_path):
    rows = [{"prompt": f"p{n}", "response": "x", "reward": "up"} for n in range(40)]
    with pytest.raises(DataError) as caught:
        read_triplets(lines(tmp_path, rows))
    assert len(str(caught.value).splitlines()) == 1
    assert "--thumbs" in str(caught.value)
    assert "so are all 40 rows" in str(caught.value)


def test_thumbs_when_asked_for(tmp_path):
    thumbs = [True, False, "up", "down", "Thumbs_Up", 0.5]
    file = lines(tmp_path, [{"prompt": "a", "response": f"r{i}", "reward": t} for i, t in enumerate(thumbs)])
    assert read_triplets(file, thumbs=True)["reward"] == [1, -1, 1, -1, 1, 0.5]
    with pytest.raises(DataError, match="--thumbs"):
        read_triplets(file)


def test_odd_but_usable_rows_are_counted(tmp_path):
    items = [
        *GOOD,
        GOOD[0],
        {"prompt": "c", "response": "p", "reward": 3},
        {"prompt": "c", "response": "q", "reward": 3},
    ]
    _, summary = read_with_summary(lines(tmp_path, items))
    assert (summary.rows, summary.prompts, summary.duplicates) == (6, 3, 1)
    assert (summary.singletons, summary.all_equal) == (1, 1)
    assert "1 duplicate row (kept), 1 prompts" in str(summary)
    _, summary = read_with_summary(lines(tmp_path, [*items, {**items[-1], "reward": 4}, {**items[-1], "reward": 5}]))
    assert (summary.duplicates, summary.contradictory) == (3, 1)
    assert "3 duplicate rows (kept), 1 answer with contradictory rewards, 1 prompts" in str(summary)


@pytest.mark.parametrize("source", ["missing.jsonl", "./nowhere"])
def test_no_such_file(source):
    with pytest.raises(DataError, match="no such file or folder"):
        read_triplets(source)


def test_nothing_usable(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no usable row"):
        read_triplets(lines(tmp_path, []))
    with pytest.raises(DataError, match="holds no"):
        read_triplets(empty)


def test_contradictory_arguments(tmp_path):
    file = lines(tmp_path, GOOD)
    for knobs in ({"on_bad": "ignore"}, {"prompt": "x", "response": "x"}, {"split": "train"}):
        with pytest.raises(ConfigError):
            read_triplets(file, **knobs)


def test_split_keeps_every_prompt_on_one_side(tmp_path):
    items = [{"prompt": f"p{i % 7}", "response": f"r{i}", "reward": i} for i in range(30)]
    dataset = read_triplets(lines(tmp_path, items))
    train, test = split_by_prompt(dataset, test_prompts=3, seed=1)
    assert not set(train["prompt"]) & set(test["prompt"])
    assert len(set(test["prompt"])) == 3
    assert len(train) + len(test) == 30
    for side in (train, test):
        assert sorted(set(side["prompt_id"])) == list(range(len(set(side["prompt"]))))
    assert contents(split_by_prompt(dataset, test_prompts=3, seed=1)[1]) == contents(test)
    assert contents(split_by_prompt(dataset, test_prompts=3, seed=2)[1]) != contents(test)
    for wrong in (0, 7):
        with pytest.raises(ConfigError, match="of 7 prompts"):
            split_by_prompt(dataset, test_prompts=wrong, seed=0)


REAL = Path(__file__).parents[3] / "shared" / "data"
KNOWN = {
    "pandalm_human.jsonl": {"rows": 714, "dropped": 8},
    "topical_chat_human.jsonl": {"rows": 360, "dropped": 0},
    "vicuna_blog_gpt4.jsonl": {"rows": 559, "dropped": 1},
    "prometheus_gpt4.jsonl": {"rows": 640, "dropped": 0},
}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real feedback is not beside this checkout")
@pytest.mark.parametrize("name", list(KNOWN))
def test_real_files_are_read_and_their_dirt_is_counted(name):
    dataset, summary = read_with_summary(REAL / name, on_bad="drop")
    assert (len(dataset), sum(summary.dropped.values())) == (KNOWN[name]["rows"], KNOWN[name]["dropped"])
    assert all(math.isfinite(reward) for reward in dataset["reward"])
