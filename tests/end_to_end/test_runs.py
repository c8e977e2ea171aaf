"""Whole runs of the command line on tiny models."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import make_llama, make_t5
from valuefree.cli import main as cli
from valuefree.demo.data import feedback, take_prompts
from valuefree.errors import ConfigError
from valuefree.training.trainer import PolicyTrainer

REAL = Path(__file__).parents[3] / "shared" / "data"
QUICK = ["--test-prompts", "6", "--epochs", "1", "--max-steps", "4", "--max-length", "96", "--max-prompt-length", "48"]
QUICK += ["--max-new-tokens", "8", "--kl-prompts", "4", "--logging-steps", "2", "--batch-size", "8"]


@pytest.fixture(params=[make_t5, make_llama], ids=["t5", "llama"])
def folder(request, tmp_path, tokenizer):
    request.param(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path


@pytest.fixture
def rows_file(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = take_prompts(feedback(), 20)
    columns = ("prompt", "response", "reward")
    file.write_text("\n".join(json.dumps({name: row[name] for name in columns}) for row in rows))
    return file


@pytest.mark.figures
def test_inspect_score_train_generate_evaluate(folder, rows_file, capsys):
    base, out = str(folder / "base"), folder / "run"
    common = ["--model", base, "--max-length", "128"]
    cli.run(["inspect", str(rows_file), *common])
    printed = capsys.readouterr().out
    assert "80 responses to 20 prompts" in printed
    assert "Targets: 90 % between" in printed
    assert "responses written by" in printed
    assert "special tokens: 0 of 80 rows spell one" in printed
    hostile = folder / "hostile.jsonl"
    hostile.write_text(rows_file.read_text().replace('"response": "', '"response": "</s>', 3))
    cli.run(["inspect", str(hostile), *common, "--preset", "paper"])
    printed = capsys.readouterr().out
    assert "supervised fine-tuning on all responses" in printed
    assert "special tokens: 3 of 80 rows spell one" in printed

    cli.run(["score", str(rows_file), *common, "--out", str(folder / "scores.parquet")])
    assert "0 computed" in capsys.readouterr().out

    reward = "valuefree.demo.data:reward"
    cli.run(["train", str(rows_file), "--model", base, *QUICK, "--reward-function", reward, "--out", str(out)])
    printed = capsys.readouterr().out
    assert "measured gain, paired" in printed
    record = json.loads((out / "manifest.json").read_text())
    assert record["config"]["max_steps"] == 4
    assert record["data"]["rows"] == 80
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["evaluation"]["prompts"] == 6
    assert not any("warm-up" in note for note in metrics["notes"])  # none of 4 steps
    assert (out / "metrics.jsonl").read_text().count("\n") >= 3
    written = (out / "report.html").read_bytes()
    completions = [json.loads(line) for line in (out / "completions.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in completions] == metrics["evaluation"]["held_out"]
    cli.run(["report", str(out)])
    assert (out / "report.html").read_bytes() == written
    assert {file.stem for file in (out / "figures").iterdir()} == {"gains", "log", "training", "optimiser", "partition"}

    model = str(out / "model")
    cli.run(["generate", str(rows_file), "--model", model, "--max-new-tokens", "4", "--out", str(folder / "r.jsonl")])
    assert len((folder / "r.jsonl").read_text().splitlines()) == 20
    evaluated = folder / "evaluated"
    arguments = ["evaluate", str(rows_file), "--model", model, "--max-new-tokens", "4", "--kl-prompts", "2"]
    cli.run([*arguments, "--reward-function", reward, "--out", str(evaluated)])
    assert json.loads((evaluated / "metrics.json").read_text())["prompts"] == 20
    capsys.readouterr()
    cli.run(["report", str(out), str(evaluated), "--out", str(folder / "both")])
    assert "report: " in capsys.readouterr().out
    assert "2 runs compared" in (folder / "both" / "report.md").read_text()


def test_a_stopped_run_goes_on_with_resume(folder, rows_file, capsys, monkeypatch):
    """SIGTERM in the second of four steps; the resumed adapter equals that of a run never stopped."""
    common = ["train", str(rows_file), "--model", str(folder / "base"), *QUICK, "--logging-steps", "1"]
    cli.run([*common, "--out", str(folder / "whole")])
    with pytest.raises(ConfigError, match="no checkpoint"):
        cli.run([*common, "--out", str(folder / "cut"), "--resume"])
    step = PolicyTrainer.training_step

    def stopping(self, *args, **kwargs):
        if self.state.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(PolicyTrainer, "training_step", stopping)
    with pytest.raises(SystemExit, match="143"):  # 128 + SIGTERM, so that a script does not go on
        cli.run([*common, "--out", str(folder / "cut")])
    assert "stopped by SIGTERM; continue with --resume" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setenv("VALUEFREE_CACHE", str(folder / "cache"))
    cli.run([*common, "--out", str(folder / "cut"), "--resume"])
    one, two = (load_file(folder / name / "model" / "adapter_model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    steps = [json.loads(line)["step"] for line in (folder / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert sorted(set(steps)) == [1, 2, 3, 4]


def test_full_fine_tuning_compares_with_the_untouched_model(folder, rows_file, capsys):
    arguments = [
        "train",
        str(rows_file),
        "--model",
        str(folder / "base"),
        *QUICK,
        "--lora-rank",
        "0",
        "--objective",
        "sft",
    ]
    cli.run([*arguments, "--reward-function", "valuefree.demo.data:reward", "--out", str(folder / "run")])
    assert "KL divergence" in capsys.readouterr().out
    found = json.loads((folder / "run" / "metrics.json").read_text())["evaluation"]
    assert found["kl"]["value"] != 0  # an estimate, which may be negative; of the trained policy itself it would be 0


@pytest.mark.parametrize("how", [["--dtype", "bfloat16"], ["--bf16"]], ids=["weights", "autocast"])
def test_untouched_weights_in_bfloat16_are_their_own_reference(folder, rows_file, how):
    """Full fine-tuning at a rate of zero: the reference that is loaded for the comparison is the same function."""
    arguments = ["train", str(rows_file), "--model", str(folder / "base"), *QUICK, "--lora-rank", "0", "--lr", "0"]
    reward = ["--reward-function", "valuefree.demo.data:reward"]
    cli.run([*arguments, *how, "--objective", "sft", *reward, "--out", str(folder / "run")])
    found = json.loads((folder / "run" / "metrics.json").read_text())["evaluation"]
    assert (found["kl"]["value"], found["kl"]["interval"]) == (0, None)
    assert found["policy_rewards"] == found["reference_rewards"]


def test_demo_on_the_tiny_t5(tmp_path, capsys):
    out = tmp_path / "demo"
    quick = ["--train-prompts", "12", "--test-prompts", "6", "--epochs", "1", "--samples-per-prompt", "1"]
    cli.run(["demo", "--model", "tiny-t5", "--out", str(out), *quick, "--shuffle-rewards"])
    printed = capsys.readouterr().out
    assert "rewards of the training rows are permuted" in printed
    assert "On prompts it never saw" in printed
    assert "Measured gain " in printed
    assert printed.count("\nprompt     ") == 3
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["shuffled"] is True
    assert metrics["step_zero_noise"]["rho_max"] < 1e-2
    assert "Control, rewards shuffled." in (out / "report.md").read_text()
    assert len((out / "completions.jsonl").read_text().splitlines()) == 6


@pytest.mark.skipif(not REAL.is_dir(), reason="the real feedback is not beside this checkout")
@pytest.mark.parametrize("name", ["pandalm_human", "topical_chat_human", "vicuna_blog_gpt4", "prometheus_gpt4"])
def test_train_on_real_feedback_reports_its_dirt(folder, name, capsys, caplog):
    caplog.set_level("INFO", logger="valuefree")
    file = str(REAL / f"{name}.jsonl")
    cli.run(["train", file, "--model", str(folder / "base"), *QUICK, "--on-bad", "drop", "--out", str(folder / "run")])
    assert "What the policy has learned" in capsys.readouterr().out
    data = json.loads((folder / "run" / "manifest.json").read_text())["data"]
    known = {"pandalm_human": 8, "vicuna_blog_gpt4": 1}
    assert sum(data["dropped"].values()) == known.get(name, 0)
    assert "truncated: " in caplog.text
    assert "Targets: 90 %" in caplog.text


def test_train_prints_one_json_object_and_inspect_too(folder, rows_file, capsys):
    base = ["--model", str(folder / "base"), "--max-length", "96"]
    cli.run(["train", str(rows_file), *base, *QUICK, "--json", "--out", str(folder / "run")])
    found = json.loads(capsys.readouterr().out)
    paths = found.pop("paths")
    assert found == json.loads((folder / "run" / "metrics.json").read_text())
    assert all(Path(path).exists() for path in paths.values())
    assert "completions" not in paths, "there is no reward function"
    cli.run(["inspect", str(rows_file), *base, "--json"])
    assert set(json.loads(capsys.readouterr().out)) == {"data", "authorship", "partition"}


def test_train_ends_in_what_was_learned_the_files_and_the_next_commands(folder, rows_file, capsys):
    out = folder / "run"
    cli.run(["train", str(rows_file), "--model", str(folder / "base"), *QUICK, "--quiet", "--out", str(out)])
    said = capsys.readouterr().out
    assert said.startswith("\nWhat the policy has learned\n  - 6 report prompts are too few ")
    assert f"\nFiles in {out}\n  report.html " in said
    assert f"valuefree merge {out} --out DIR " in said
    assert "{'loss'" not in said
