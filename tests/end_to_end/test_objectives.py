"""Every objective from the command line on a tiny model, and the way from samples of the reference to V̂."""

import json
import re

import pytest

import valuefree
from conftest import make_llama, make_t5
from valuefree.cli import main as cli
from valuefree.demo.data import feedback, take_prompts
from valuefree.errors import ConfigError, DataError
from valuefree.models.adapters import has_adapter

QUICK = ["--test-prompts", "4", "--max-steps", "2", "--max-length", "96", "--max-prompt-length", "48"]
QUICK += ["--logging-steps", "1", "--batch-size", "8", "--eval-steps", "2"]


@pytest.fixture
def rows_file(tmp_path):
    rows = take_prompts(feedback(), 16)
    columns = ("prompt", "response", "reward")
    records = [{**{name: row[name] for name in columns}, "liked": row["reward"] > 0.5} for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    return str(tmp_path / "rows.jsonl")


def saved(make, folder, tokenizer):
    make(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def logs(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("make", "arguments", "metric"),
    [
        (make_t5, ["--objective", "dro", "--tau", "1", "--value-lr", "1e-3"], "value_residual"),
        (make_llama, ["--objective", "dro", "--preset", "paper-code"], "value"),
        (make_t5, ["--objective", "kto", "--beta", "0.2"], "kl_estimate"),
        (make_llama, ["--objective", "kto", "--desirable", "liked"], "kl_estimate"),
        (make_t5, ["--objective", "kto", "--preset", "paper-code"], "logratio"),
        (make_llama, ["--objective", "sft", "--on", "best"], "loss"),
        (make_t5, ["--objective", "sft", "--on", "weighted", "--tau", "0.3"], "loss"),
        (make_llama, ["--objective", "nca", "--tau", "0.5"], "logratio"),
        (make_t5, ["--objective", "asymre", "--offset", "0.5"], "loss"),
        (make_llama, ["--objective", "topr"], "logratio"),
        (make_t5, ["--objective", "grpo", "--clip", "0.3"], "logratio"),
        (make_llama, ["--objective", "rpo", "--preset", "pmd-mean", "--tau", "0.5"], "logratio"),
        (make_t5, ["--objective", "dpo", "--pairs", "all"], "pair_accuracy"),
        (make_llama, ["--objective", "ipo", "--no-length-normalize"], "logratio_margin"),
        (make_t5, ["--objective", "slic", "--pairs", "adjacent", "--beta", "0.5"], "logratio_margin"),
    ],
)
def test_every_objective_trains(make, arguments, metric, tmp_path, tokenizer, rows_file, capsys):
    model, out = saved(make, tmp_path / "base", tokenizer), tmp_path / "run"
    cli.run(["train", rows_file, "--model", model, *arguments, *QUICK, "--out", str(out)])
    (snippet,) = re.findall(r"valuefree\.load_model\(.*\)", capsys.readouterr().out)
    policy, _ = eval(snippet, {"valuefree": valuefree})
    assert has_adapter(policy)
    assert any(metric in entry for entry in logs(out))
    assert any("eval_loss" in entry for entry in logs(out))
    record = json.loads((out / "manifest.json").read_text())
    assert record["objective"]["name"].lower() == arguments[1]


def test_pairs_of_the_user_train_by_dpo(tmp_path, tokenizer, capsys):
    pairs = [
        {"question": f"Describe {i // 2}", "good": f"the sea {i}", "bad": f"bread and dough {i}"} for i in range(16)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(pair) for pair in pairs))
    model, out = saved(make_t5, tmp_path / "base", tokenizer), tmp_path / "run"
    columns = ["--prompt", "question", "--chosen", "good", "--rejected", "bad"]
    command = ["train", str(tmp_path / "pairs.jsonl"), "--objective", "dpo", *columns, "--model", model]
    cli.run([*command, *QUICK, "--out", str(out)])
    assert json.loads((out / "manifest.json").read_text())["data"]["rows"] == 32
    assert any("pair_accuracy" in entry for entry in logs(out))


def test_samples_of_the_reference_set_the_partition(tmp_path, tokenizer, rows_file, capsys):
    model = saved(make_t5, tmp_path / "base", tokenizer)
    samples = str(tmp_path / "samples.jsonl")
    sampling = ["--samples", "3", "--max-new-tokens", "6", "--score", "valuefree.demo.data:reward"]
    cli.run(["sample", rows_file, "--model", model, *sampling, "--out", samples])
    assert "48 rows" in capsys.readouterr().out
    common = ["--model", model, "--max-length", "96", "--on-bad", "drop", "--estimator", "monte_carlo"]
    cli.run(["inspect", rows_file, *common])
    without = capsys.readouterr().out
    cli.run(["inspect", rows_file, *common, "--reference-samples", samples])
    assert capsys.readouterr().out != without
    out = tmp_path / "run"
    cli.run(["train", rows_file, *common, *QUICK, "--reference-samples", samples, "--out", str(out)])
    record = json.loads((out / "manifest.json").read_text())
    assert record["fingerprint"]["reference_samples"]
    plain = tmp_path / "plain"
    cli.run(["train", rows_file, *common, *QUICK, "--out", str(plain)])
    targets = [logs(folder)[0]["target_p50"] for folder in (out, plain)]
    assert targets[0] != targets[1]
    with pytest.raises(ConfigError, match="not read by estimator='mean'"):
        cli.run(["inspect", rows_file, *common, "--estimator", "mean", "--reference-samples", samples])
    with pytest.raises(DataError, match="no such file"):
        cli.run(["train", rows_file, *common, *QUICK, "--reference-samples", str(tmp_path / "none.jsonl")])
