"""From rows without a reward function to a statement on what the policy has learned."""

import json
import logging
import random

import pytest
import torch
from safetensors.torch import load_file

from conftest import make_llama, make_t5
from valuefree.cli import main as cli
from valuefree.errors import ConfigError
from valuefree.models.load import load_model
from valuefree.report import read_report

WORDS = ("sea", "bread", "cats", "fruits", "dough", "blue", "wide", "rest")
QUICK = ["--max-length", "64", "--logging-steps", "20", "--batch-size", "16", "--lora-rank", "4"]


@pytest.fixture(params=[make_t5, make_llama], ids=["t5", "llama"])
def folder(request, tmp_path, tokenizer, monkeypatch):
    request.param(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_thumbs(folder, prompts=120, responses=1, name="thumbs.csv"):
    """Thumbs up for responses about the sea."""
    generator = random.Random(0)
    lines = ["prompt,response,reward"]
    for number in range(prompts):
        for _ in range(responses):
            said = generator.choices(WORDS, k=3)
            lines.append(f"Describe the {number},{' '.join(said)} {number},{'up' if 'sea' in said else 'down'}")
    (folder / name).write_text("\n".join(lines))
    return ["train", name, "--thumbs", "--model", "base", *QUICK]


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_thumbs_end_in_a_statement_a_picture_and_a_policy(folder, capsys):
    cli.run([*write_thumbs(folder), "--epochs", "3", "--lr", "5e-3", "--out", "run"])
    printed = capsys.readouterr().out
    assert "On 30 report prompts" in printed
    assert "50 % is chance; permutation p = " in printed
    assert "On training rows: " in printed
    learned = metrics(folder / "run")["logged"]["policy"]["learned"]
    assert (learned["prompts"], learned["by"]) == (30, "rows")
    assert learned["ranking"]["interval"] is not None
    report = read_report([folder / "run"])
    assert report.verdict[0].startswith("On 30 report prompts")
    section = next(section for section in report.sections if section.title == "What the log says")
    assert [plot.name for plot in section.plots] == ["log"]
    assert not (folder / "run" / "selection.jsonl").exists()  # 120 prompts are too few to select by


def test_an_untouched_policy_shows_no_evidence_and_chance(folder, capsys):
    cli.run([*write_thumbs(folder), "--max-steps", "2", "--lr", "0", "--warmup-steps", "0", "--out", "run"])
    printed = capsys.readouterr().out
    assert "no evidence" in printed
    assert "chance" in printed


def test_equal_rewards_of_the_report_prompts_are_said(folder, caplog):
    rows = ["prompt,response,reward", *(f"Describe {n},sea {n},{'up' if n % 2 else 'down'}" for n in range(12))]
    (folder / "rows.csv").write_text("\n".join(rows))
    cli.run(["train", "rows.csv", "--thumbs", "--model", "base", *QUICK, "--test-prompts", "1", "--out", "run"])
    assert "cannot be measured: all 1 held-out rewards" in caplog.text
    assert (folder / "run" / "model").exists()


@pytest.mark.parametrize("objective", ["sft", "kto", "dpo"])
def test_every_objective_ends_in_the_statement(folder, capsys, objective):
    arguments = write_thumbs(folder, prompts=24, responses=4)
    cli.run([*arguments, "--objective", objective, "--max-steps", "2", "--lora-rank", "0", "--out", "run"])
    printed = capsys.readouterr().out
    assert "On 6 report prompts the policy ranks" in printed or "6 report prompts are too few to say" in printed
    assert "Try: collect more prompts; at least 90 prompts have to be held out (--test-prompts)" in printed


def test_measures_are_logged_and_choose_the_checkpoint(folder):
    more = ["--validation-prompts", "20", "--eval-steps", "2", "--max-steps", "6", "--strength", "off"]
    cli.run([*write_thumbs(folder, responses=2), *more, "--metric-for-best-model", "ranking_accuracy", "--out", "run"])
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    curve = [line["eval_ranking_accuracy"] for line in lines if "eval_ranking_accuracy" in line]
    names = {"eval_ranking_z", "eval_explained_share", "eval_progress", "eval_reweighted_gain", "eval_rms_logratio"}
    assert len(curve) == 3
    assert any(names <= line.keys() for line in lines)
    best = max(range(3), key=lambda step: (curve[step], -step))
    kept = load_file(folder / "run" / "model" / "adapter_model.safetensors")
    checkpoint = folder / "run" / "checkpoints" / f"checkpoint-{2 * (best + 1)}" / "adapter_model.safetensors"
    assert all(torch.equal(kept[name], weight) for name, weight in load_file(checkpoint).items())


def test_evaluate_compares_models_on_rows(folder, capsys):
    arguments = write_thumbs(folder, responses=2)
    cli.run([*arguments, "--epochs", "2", "--lr", "5e-3", "--out", "one"])
    cli.run([*arguments, "--max-steps", "2", "--lora-rank", "0", "--out", "two"])
    capsys.readouterr()
    rows = ["evaluate", "--rows", "one/held_out.jsonl", "--max-length", "64", "--out", "both"]
    cli.run([*rows, "--model", "one", "--model", "two"])
    printed = capsys.readouterr().out
    assert "one: it was trained on none of these prompts." in printed
    assert "On the same 30 report prompts" in printed
    found = metrics(folder / "both")
    assert set(found["logged"]) == {"one", "two"}
    before = metrics(folder / "one")["logged"]["policy"]["learned"]["ranking"]["value"]
    assert found["logged"]["one"]["learned"]["ranking"]["value"] == pytest.approx(before)
    assert read_report([folder / "both"]).verdict[0].startswith("one: On 30 report prompts")
    with pytest.raises(ConfigError, match="only --rows compares several"):
        cli.run(["evaluate", "one/held_out.jsonl", "--model", "one", "two", "--reward-function", "m:f"])
    with pytest.raises(ConfigError, match="one of the three"):
        cli.run(["evaluate", "--model", "one"])


@pytest.mark.parametrize("rank", ["4", "0"])
def test_the_chosen_strength_is_in_the_saved_policy(folder, capsys, rank):
    arguments = [*write_thumbs(folder, prompts=48, responses=2), "--lora-rank", rank, "--max-steps", "4"]
    cli.run([*arguments, "--validation-prompts", "10", "--lr", "1e-3", "--out", "run"])
    cli.run(["strength", "run", "--scale", "1"])
    capsys.readouterr()
    cli.run(["strength", "run", "--scale", "0.5"])
    assert "saved: run/model at strength 0.5" in capsys.readouterr().out
    ids = torch.arange(3, 9)[None]

    def logits():
        model, _ = load_model("run")
        decoder = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
        with torch.no_grad():
            return model(input_ids=ids, **decoder).logits

    half = logits()
    cli.run(["strength", "run", "--scale", "1"])
    whole = logits()
    assert not torch.allclose(half, whole)
    cli.run(["strength", "run", "--scale", "0.5"])
    torch.testing.assert_close(logits(), half)
    assert "Strength of the policy: 0.5 times that of training" in (folder / "run" / "report.md").read_text()
    capsys.readouterr()
    cli.run(["strength", "run", "--no-apply"])
    printed = capsys.readouterr().out
    assert "the saved policy has strength 0.5, where 1 is as trained" in printed
    assert "Chosen on the selection prompts" in printed
    with pytest.raises(ConfigError, match="has no readable manifest"):
        cli.run(["strength", "base"])


def test_the_learning_rate_is_searched_and_noted(folder, caplog):
    caplog.set_level(logging.INFO, logger="valuefree")
    more = ["--lr", "auto", "--validation-prompts", "20", "--epochs", "1", "--out", "run"]
    cli.run([*write_thumbs(folder, responses=2), *more])
    assert "learning rate search: 5 rates" in caplog.text
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    assert manifest["learning_rate"] in (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
    assert any(
        f"learning rate {manifest['learning_rate']:g} chosen" in note for note in metrics(folder / "run")["notes"]
    )
