"""Faults of the reward function, of columns and of pairs are found before training, each in one message."""

import json

import pytest

from conftest import make_llama
from valuefree.cli import main as cli
from valuefree.cli.parse import parse
from valuefree.data import read_pairs, read_triplets
from valuefree.errors import ConfigError, DataError
from valuefree.training.trainer import PolicyTrainer

FUNCTIONS = """
def one_argument(response):
    return 1.0


def a_number(prompts, responses):
    return 1.0


def words(prompts, responses):
    return ["good" for _ in responses]
"""


def write(file, rows):
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return str(file)


@pytest.fixture
def rows():
    return [{"prompt": f"sea {n // 2}", "response": f"the sea is wide {n}", "reward": n % 2} for n in range(12)]


@pytest.mark.parametrize("name", ["one_argument", "a_number", "words"])
def test_a_wrong_reward_function_is_refused_before_training(tmp_path, tokenizer, rows, monkeypatch, name):
    make_llama(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "own_functions.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    trained = []
    monkeypatch.setattr(PolicyTrainer, "train", lambda self, **kwargs: trained.append(self))
    file = write(tmp_path / "rows.jsonl", rows)
    more = ["--test-prompts", "2", "--kl-prompts", "0", "--max-new-tokens", "2", "--out", str(tmp_path / "run")]
    with pytest.raises(ConfigError, match=r"own_functions:.* cannot be used.*list of prompts and a list of responses"):
        cli.run(["train", file, "--model", "base", *more, "--reward-function", f"own_functions:{name}"])
    assert not trained
    assert not (tmp_path / "run").exists()


def test_evaluate_tries_the_reward_function_before_it_loads_a_model(tmp_path, rows, monkeypatch):
    (tmp_path / "own_functions.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ConfigError, match=r"own_functions:words cannot be used: on 2 examples"):
        cli.run(["evaluate", file, "--model", "nowhere", "--reward-function", "own_functions:words", "--out", "out"])
    assert not (tmp_path / "out").exists()


def test_a_missing_column_of_references_is_one_message(tmp_path, rows):
    file = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(DataError) as error:
        cli.run(["evaluate", file, "--metrics", "rougeL", "--model", "nowhere", "--out", str(tmp_path / "out")])
    said = str(error.value)
    assert "no column 'reference' (there are: prompt, response, reward)" in said
    assert "--reference-column" in said
    assert len(said.splitlines()) == 1


def test_evaluate_takes_the_options_that_its_message_advises(tmp_path, capsys):
    rows = [{"prompt": "p", "response": "a", "reward": "up"}, {"prompt": "q", "response": " ", "reward": "down"}]
    command = ["evaluate", write(tmp_path / "rows.jsonl", rows), "--metrics", "rougeL", "--references", "best"]
    with pytest.raises(DataError, match="--thumbs"):
        cli.run([*command, "--dry-run"])
    with pytest.raises(DataError, match="--on-bad drop"):
        cli.run([*command, "--dry-run", "--thumbs"])
    cli.run([*command, "--dry-run", "--thumbs", "--on-bad", "drop"])
    assert "1 prompts, 1 references" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="nothing reads --thumbs, --on-bad"):
        parse("evaluate", [*command[1:4], "--thumbs", "--on-bad", "drop"])


def test_a_missing_column_is_one_message_with_the_columns_that_exist(tmp_path, rows):
    file = write(tmp_path / "rows.jsonl", [{"question": r["prompt"], "response": "x", "reward": 1} for r in rows])
    for on_bad in ("raise", "drop"):
        with pytest.raises(DataError) as error:
            read_triplets(file, on_bad=on_bad)
        assert str(error.value).count("there are: question, response, reward") == 1
        assert "--prompt" in str(error.value)
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(DataError) as error:
        read_pairs(file, prompt="question")
    assert str(error.value).count("no column 'chosen'") == len(str(error.value).splitlines()) == 1
    with pytest.raises(DataError, match=r"no column 'prompt' \(there are: question, response, reward\)"):
        cli.run(["generate", file, "--model", "m", "--dry-run"])


def test_a_column_that_some_rows_lack_is_still_listed_row_by_row(tmp_path, rows):
    rows[3].pop("reward")
    rows[5].pop("reward")
    with pytest.raises(DataError) as error:
        read_triplets(write(tmp_path / "rows.jsonl", rows))
    assert str(error.value).count("no column 'reward'") == 2
