"""The recipe that `valuefree init` writes: its columns, its values, and that it trains."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from conftest import make_t5
from valuefree.cli import main as cli
from valuefree.cli.commands.reading import read
from valuefree.cli.commands.recipe import LADDER, Log, choose_model
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.parse import parse
from valuefree.data.profile import Profile
from valuefree.data.summary import DataSummary
from valuefree.errors import ConfigError, DataError
from valuefree.models.footprint import Shape
from valuefree.models.machine import Machine

SEA = "the sea is wide and blue"


@pytest.fixture
def thumbs(tmp_path):
    """32 rows of 16 prompts; the last row has no thumb."""
    file = tmp_path / "log.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "timestamp", "user_question", "bot_answer", "thumb"])
        for i in range(33):
            thumb = "" if i == 32 else "up" if i % 2 else "down"
            writer.writerow([i, f"2025-03-01T10:{i:02}:00Z", f"Describe {SEA} {i // 2}", f"{SEA} {i}", thumb])
    return file


@pytest.fixture
def model(tmp_path, tokenizer):
    folder = tmp_path / "model"
    make_t5(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_recipe_of_a_chat_log_trains(thumbs, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cli.run(["init", str(thumbs), "--model", str(model)])
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    options = parse("train", ["--config", "recipe.yaml"])
    assert isinstance(options, TrainConfig)
    assert (options.prompt, options.response, options.reward) == ("user_question", "bot_answer", "thumb")
    assert (options.thumbs, options.on_bad, options.objective) == (True, "drop", "rpo")
    assert (options.test_prompts, options.validation_prompts) == (None, None)
    assert "# test_prompts, by default a quarter, at most 400: 4 of 16; ranking" in text
    assert "# responses per prompt: 2 for 16 prompts\n" in text
    assert "#   -1 | ######################################## 16\n" in text
    assert "left out: 1 × thumb is null" in text
    lines = text.split("\n\n", 1)[1].splitlines()
    assert all(lines[i - 1].startswith("# ") for i, line in enumerate(lines) if line and line[0] != "#")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "16 prompts: docs/choosing.md advises to collect more before training."
    assert printed[1].startswith("32 responses to 16 prompts; ")
    assert printed[-1] == "train: valuefree train --config recipe.yaml"
    assert len(printed) == 5
    cli.run(["train", "--config", "recipe.yaml", "--max-steps", "2", "--max-length", "64"])
    assert (tmp_path / "outputs" / "train" / "report.html").exists()
    with pytest.raises(ConfigError, match=r"recipe\.yaml exists"):
        cli.run(["init", str(thumbs)])


def test_usual_names_and_numbers_need_no_columns(tmp_path, model):
    rows = [{"prompt": f"a {i}", "response": "b", "reward": i % 3} for i in range(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "r.yaml"
    cli.run(["init", str(tmp_path / "rows.jsonl"), "--model", str(model), "--out", str(out)])
    keys = yaml.safe_load(out.read_text(encoding="utf-8"))
    assert not {"prompt", "response", "reward", "thumbs", "on_bad", "split"} & keys.keys()
    assert "sft was .010 ahead on noisy ones: compare with it" in out.read_text(encoding="utf-8")


def test_nested_rows_and_prompts_of_messages_need_no_columns(tmp_path, model):
    responses = [{"text": "b", "reward": True}, {"text": "c", "reward": False}]
    rows = [{"prompt": [{"role": "user", "content": f"a {i}"}], "responses": responses} for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "r.yaml"
    cli.run(["init", str(tmp_path / "rows.jsonl"), "--model", str(model), "--out", str(out)])
    keys = yaml.safe_load(out.read_text(encoding="utf-8"))
    assert keys["thumbs"] is True
    assert not {"prompt", "response", "reward"} & keys.keys()
    assert "# responses per prompt: 2 for 8 prompts\n" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a b", "chosen": "c", "rejected": "d"}, "holds pairs.*--objective dpo"),
        ({"prompt": "a b", "response": "c", "verdict": "meh"}, "no column of the reward found.*--reward COLUMN"),
        ({"prompt": "a b", "response": "c", "s_score": 1, "t_score": 2}, "fit equally well.*--reward s_score"),
        ({"prompt": "a b", "response": "c", "reward": 1}, "all 2 rewards of .* equal 1"),
    ],
)
def test_what_cannot_be_guessed_names_the_next_command(tmp_path, row, message):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row | {"prompt": f"a b {i}"}) for i in range(2)))
    with pytest.raises(DataError, match=message):
        cli.run(["init", str(file), "--out", str(tmp_path / "r.yaml")])


EXPORTS = Path(__file__).parents[2] / "data" / "exports" / "fixtures"


def test_an_export_is_read_as_train_reads_it(model, tmp_path):
    out = tmp_path / "r.yaml"
    chosen = ["--score-name", "verdict", "--categories", "poor=-1", "fine=1"]
    cli.run(["init", str(EXPORTS / "langfuse"), *chosen, "--model", str(model), "--out", str(out)])
    keys = yaml.safe_load(out.read_text(encoding="utf-8"))
    assert (keys["from"], keys["score_name"], keys["categories"]) == ("langfuse", "verdict", ["poor=-1", "fine=1"])
    rows, summary = read(parse("train", ["--config", str(out)]))
    assert sorted(rows["reward"]) == [-1, 1]
    assert summary.dropped["TEXT score (its value is always 0)"] == 1
    with pytest.raises(DataError, match=r"holds pairs \(trl\).*--objective dpo"):
        cli.run(["init", str(EXPORTS / "trl" / "preference.jsonl"), "--out", str(tmp_path / "s.yaml")])


def test_a_table_is_read_from_csv_with_the_guessed_columns(thumbs, model, tmp_path):
    out = tmp_path / "r.yaml"
    cli.run(["init", str(thumbs), "--from", "csv", "--model", str(model), "--out", str(out)])
    rows, summary = read(parse("train", ["--config", str(out)]))
    assert (len(rows), summary.dropped) == (32, {"no reward": 1})


def test_the_folder_of_a_model_is_no_data(model):
    with pytest.raises(DataError, match=r"is the folder of a model, .*--model"):
        cli.run(["init", str(model), "--out", str(model / "r.yaml")])
    (model / "manifest.json").write_text("{}")
    (model / "checkpoints").mkdir()
    with pytest.raises(DataError, match=r"is the folder of a run"):
        cli.run(["train", str(model), "--dry-run"])


def test_an_empty_file_says_so(tmp_path):
    (tmp_path / "rows.csv").touch()
    with pytest.raises(DataError, match=r"no readable row in .*rows\.csv: the file is empty"):
        cli.run(["init", str(tmp_path / "rows.csv")])


def test_the_ladder_has_the_shapes_of_its_models():
    """Llama 3.1 8B has 8,030,261,248 parameters (docs/scaling.md) and an adapter of 41,943,040 at rank 16."""
    assert LADDER["meta-llama/Llama-3.1-8B-Instruct"].adapter(16) == 41_943_040
    for shape in LADDER.values():
        head = shape.width * shape.vocabulary * (2 if shape.width == 4096 else 1)  # smaller models tie their head
        attention = 2 * shape.width * (shape.width + shape.kv)
        block = attention + 3 * shape.width * shape.feed_forward + 2 * shape.width
        assert shape.parameters == head + shape.layers * block + shape.width
    assert isinstance(shape, Shape)


@pytest.mark.parametrize(
    ("memory", "speed", "name"),
    [(80e9, 400e12, "meta-llama/Llama-3.1-8B-Instruct"), (80e9, 1e11, "HuggingFaceTB/SmolLM2-135M-Instruct")],
)
def test_the_largest_model_that_fits_is_chosen(memory, speed, name):
    """100,000 tokens: 8B need 6·8e9·1e5/(.4·400e12) = 30 s; at .1 TFLOP/s 360 M need 5,400 s, 135 M 2,018 s."""
    profile = Profile({1: 1000}, differs=False, reward_std=1.0, histogram=(), characters=600_000, long_characters=400)
    log = Log((), DataSummary(1000, 1000, 0, 0, 0, 1000, 0, {}), profile)
    machine = Machine(8, int(memory), "a GPU" if speed > 1e12 else None, int(memory), speed)
    assert choose_model(log, machine) == name
