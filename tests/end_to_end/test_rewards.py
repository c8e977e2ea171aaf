"""From comparisons to a reward model, from a model to scored samples, on the command line."""

import json
import shutil

import pytest
from transformers import BertConfig, BertForSequenceClassification, T5Config, T5ForSequenceClassification

from conftest import make_llama, make_t5
from valuefree.cli import main as cli
from valuefree.data import read_triplets
from valuefree.errors import DataError

WORDS = ["the", "sea", "is", "wide", "and", "blue", "apples", "bread"]
QUICK = ["--max-length", "64", "--lora-rank", "0", "--lr", "3e-3", "--warmup-steps", "2", "--epochs", "4"]


def texts(number):
    """A good and a bad response to a prompt."""
    words = [WORDS[(number + step) % len(WORDS)] for step in range(4)]
    return " ".join([*words, "pears", "purr"]), " ".join([*words[::-1], "dough"])


def write(file, rows):
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return str(file)


@pytest.fixture(params=["bert", "t5"])
def classifier(request, tmp_path, tokenizer):
    """A body without a trained head."""
    size = {"vocab_size": len(tokenizer), "num_labels": 1}
    if request.param == "bert":
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        model = BertForSequenceClassification(BertConfig(**size, **shape))
    else:
        shape = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
        model = T5ForSequenceClassification(T5Config(**size, **shape))
    model.save_pretrained(tmp_path / "body")
    tokenizer.save_pretrained(tmp_path / "body")
    return str(tmp_path / "body")


@pytest.fixture
def policy(tmp_path, tokenizer):
    make_llama(tokenizer).save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    return str(tmp_path / "policy")


def test_a_reward_model_is_trained_on_pairs_and_serves_evaluate_and_sample(classifier, policy, tmp_path, capsys):
    pairs = [
        {"question": f"Describe {number}", "good": texts(number)[0], "bad": texts(number)[1]} for number in range(60)
    ]
    file, run = write(tmp_path / "pairs.jsonl", pairs), tmp_path / "rm"
    columns = ["--prompt", "question", "--chosen", "good", "--rejected", "bad", "--test-prompts", "12"]
    common = ["--objective", "reward-model", "--model", classifier, "--out", str(run), *QUICK]
    cli.run(["train", file, *common, *columns])
    assert "share ordered correctly" in capsys.readouterr().out
    held_out = json.loads((run / "metrics.json").read_text())["held_out_pairs"]
    assert held_out["accuracy"] > 0.9
    assert held_out["pairs"] == 12
    record = json.loads((run / "manifest.json").read_text())
    assert record["objective"] == {"name": "reward-model"}
    assert (run / "report.html").exists()
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("accuracy" in line for line in logged)

    reward = str(run / "model")
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": f"Describe {number}"} for number in range(4)])
    short = ["--max-new-tokens", "4", "--model", policy]
    cli.run(["sample", prompts, *short, "--samples", "2", "--score", reward, "--out", str(tmp_path / "s.jsonl")])
    assert "8 rows" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in rows] == [f"Describe {number // 2}" for number in range(8)]
    assert len({row["reward"] for row in rows}) > 1

    existing = [{"prompt": "Describe 1", "response": text} for text in texts(3)]
    responses = ["--responses", write(tmp_path / "r.jsonl", existing)]
    cli.run(["sample", *responses, "--score", str(run), "--out", str(tmp_path / "scored.jsonl")])  # the run's model
    good, bad = read_triplets(tmp_path / "scored.jsonl")["reward"]
    assert good > bad

    more = ["--kl-prompts", "0", "--out", str(tmp_path / "evaluated")]
    cli.run(["evaluate", prompts, *short, "--reference", policy, "--reward-function", reward, *more])
    assert "measured gain, paired" in capsys.readouterr().out


def test_a_reward_model_learns_from_ratings_with_an_adapter(classifier, tmp_path, capsys):
    rows = []
    for number in range(24):
        good, bad = texts(number)
        for response, reward in ((good, 5), (bad, 1), (f"{bad} pears", 3)):
            rows.append({"prompt": f"Describe {number}", "response": response, "reward": reward})
    file = write(tmp_path / "rows.jsonl", rows)
    common = ["--objective", "reward-model", "--model", classifier, "--out", str(tmp_path / "rm")]
    more = ["--pairs", "all", "--test-prompts", "4", "--max-steps", "4", "--lora-rank", "4", "--eval-steps", "2"]
    cli.run(["train", file, *common, *more, "--save-steps", "2"])
    assert json.loads((tmp_path / "rm" / "metrics.json").read_text())["held_out_pairs"]["pairs"] == 12
    assert json.loads((tmp_path / "rm" / "manifest.json").read_text())["objective"]["pairs"] == "all"
    shutil.rmtree(tmp_path / "rm" / "checkpoints" / "checkpoint-4")
    shutil.rmtree(tmp_path / "rm" / "model")
    cli.run(["train", file, *common, *more, "--save-steps", "2", "--resume"])
    steps = [json.loads(line)["step"] for line in (tmp_path / "rm" / "metrics.jsonl").read_text().splitlines()]
    assert steps.count(4) > steps.count(2)
    assert (tmp_path / "rm" / "model" / "model.safetensors").exists()


def test_a_reward_model_stops_by_validation_pairs_and_reports_others(classifier, tmp_path, capsys):
    """The curve is of 5 validation prompts, the report of 12 pairs that no checkpoint was chosen by."""
    rows = [
        {"prompt": f"Describe {number}", "response": text, "reward": reward}
        for number in range(40)
        for text, reward in zip(texts(number), (1.0, 0.0), strict=True)
    ]
    file, run = write(tmp_path / "rows.jsonl", rows), tmp_path / "rm"
    split = ["--test-prompts", "12", "--validation-prompts", "5", "--eval-steps", "2", "--patience", "1"]
    common = ["--objective", "reward-model", "--model", classifier, "--out", str(run), *QUICK, "--lr", "0"]
    cli.run(["train", file, *common, *split])
    held_out = json.loads((run / "metrics.json").read_text())["held_out_pairs"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["eval_loss"] for line in lines if "eval_loss" in line]
    assert held_out["pairs"] == 12
    assert len(losses) == 2  # while it trained; that of the held-out pairs has a name of its own
    assert losses[0] == losses[1] != pytest.approx(held_out["loss"], abs=1e-9)
    assert [line["held_out_loss"] for line in lines if "held_out_loss" in line] == [held_out["loss"]]


def test_samples_without_a_score_outlive_a_reward_that_fails(tmp_path, tokenizer, capsys, monkeypatch):
    (tmp_path / "test_rewards_of_this.py").write_text("def wrong(prompts, responses):\n    return [1.0]\n")
    monkeypatch.chdir(tmp_path)
    make_t5(tokenizer).save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the sea\ncats purr\nthe sea\n")
    common = ["sample", str(prompts), "--model", str(tmp_path / "policy"), "--max-new-tokens", "2"]
    cli.run([*common, "--out", str(tmp_path / "a.jsonl")])
    assert "8 rows" in capsys.readouterr().out
    cli.run([*common, "--out", str(tmp_path / "b.jsonl")])
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert {tuple(row) for row in rows} == {("prompt", "response")}
    cli.run([*common, "--seed", "1", "--overwrite", "--out", str(tmp_path / "b.jsonl")])
    assert (tmp_path / "a.jsonl").read_text() != (tmp_path / "b.jsonl").read_text()
    assert "were cut at max_new_tokens" in capsys.readouterr().out
    with pytest.raises(DataError, match="reward function gave"):
        cli.run([*common, "--score", "test_rewards_of_this:wrong", "--out", str(tmp_path / "c.jsonl")])
    assert (tmp_path / "c.jsonl").read_text() == (tmp_path / "a.jsonl").read_text()


def test_rows_that_cannot_be_scored_are_listed(tmp_path):
    rows = [{"prompt": "a", "response": ""}, {"prompt": "a"}, {"prompt": "a", "response": 3}]
    file = write(tmp_path / "r.jsonl", rows)
    with pytest.raises(DataError) as caught:
        cli.run(["sample", "--responses", file, "--score", "valuefree.demo.data:reward"])
    assert caught.value.count == 2
    assert "r.jsonl:2: no column 'response'" in str(caught.value)
    assert "r.jsonl:3: response is not text" in str(caught.value)
