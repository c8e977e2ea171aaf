"""Metrics while training: curves, the best checkpoint, and prompts that nothing else uses."""

import json
import sys
from pathlib import Path

import datasets
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import TrainerControl, TrainerState, TrainingArguments

from conftest import make_llama, make_t5
from valuefree.cli import main as cli
from valuefree.cli.commands import runs
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.parse import parse
from valuefree.data import read_triplets
from valuefree.data.validation import prompt_key
from valuefree.demo.data import feedback, take_prompts
from valuefree.errors import ConfigError
from valuefree.evaluation import TextMetrics, ValidationMetrics
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.metrics.registry import METRICS
from valuefree.evaluation.validation import best_responses, selection

QUICK = ["--test-prompts", "4", "--validation-prompts", "5", "--max-steps", "6", "--max-length", "96"]
QUICK += ["--max-prompt-length", "48", "--max-new-tokens", "8", "--kl-prompts", "0", "--logging-steps", "2"]
QUICK += ["--batch-size", "8", "--eval-steps", "2", "--warmup-steps", "0"]
RISE_AND_FALL = """
from itertools import chain, repeat

VALUES = chain([0.0, 1.0, 3.0, 2.0], repeat(0.0))  # the first is of the call before training


def of_the_next_evaluation(prompts, responses):
    return [next(VALUES)] * len(responses)
"""
LENGTH = "def count(prompts, responses):\n    return [float(len(response)) for response in responses]\n"


@pytest.fixture(params=[make_t5, make_llama], ids=["t5", "llama"])
def folder(request, tmp_path, tokenizer, monkeypatch):
    request.param(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "own_length.py").write_text(LENGTH)
    (tmp_path / "own_values.py").write_text(RISE_AND_FALL)
    monkeypatch.delitem(sys.modules, "own_values", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rows_file(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = take_prompts(feedback(), 20)
    columns = ("prompt", "response", "reward")
    file.write_text("\n".join(json.dumps({name: row[name] for name in columns}) for row in rows))
    return file


def curve(run: Path, name: str) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def train(folder, rows_file, out, *more):
    model = ["--model", str(folder / "base")]
    cli.run(["train", str(rows_file), *model, *QUICK, "--out", str(folder / out), *more])
    return folder / out


METRIC_FLAGS = ["--metrics", "rougeL,bleu,length,kl", "--reward-function", "own_length:count"]


def test_curves_of_every_metric_and_the_best_checkpoint(folder, rows_file, capsys):
    """The kept adapter is that of the checkpoint whose logged reward is greatest, and it gives that reward again."""
    flags = [*METRIC_FLAGS, "--metric-for-best-model", "reward", "--lr", "5e-2"]
    run = train(folder, rows_file, "run", *flags)
    curves = {name: curve(run, f"eval_{name}") for name in ("rougeL", "bleu", "length", "kl", "reward", "loss")}
    assert all(list(points) == [2, 4, 6] for points in curves.values())
    rewards = curves["reward"]
    assert len(set(rewards.values())) > 1
    best = max(rewards, key=lambda step: rewards[step])
    kept = load_file(run / "model" / "adapter_model.safetensors")
    of_best = load_file(run / "checkpoints" / f"checkpoint-{best}" / "adapter_model.safetensors")
    assert all(torch.equal(kept[name], of_best[name]) for name in kept)
    state = max((run / "checkpoints").glob("checkpoint-*"), key=lambda file: int(file.name.split("-")[1]))
    written = json.loads((state / "trainer_state.json").read_text())
    assert written["best_metric"] == rewards[best]
    assert Path(written["best_model_checkpoint"]).name == f"checkpoint-{best}"
    assert "measured gain, paired" in capsys.readouterr().out
    again = train(folder, rows_file, "again", *flags)
    assert curve(again, "eval_reward") == rewards
    assert curve(again, "eval_kl") == curves["kl"]


def test_the_curves_reach_the_tracker(folder, rows_file):
    """TensorBoard's own reader finds what metrics.jsonl has."""
    run = train(folder, rows_file, "run", "--metrics", "rougeL", "--report-to", "tensorboard")
    (events,) = folder.rglob("events.out.tfevents.*")
    reader = EventAccumulator(str(events.parent))
    reader.Reload()
    found = {event.step: event.value for event in reader.Scalars("eval/rougeL")}
    assert found == pytest.approx(curve(run, "eval_rougeL"))
    assert list(found) == [2, 4, 6]


def test_the_best_is_kept_though_it_is_not_the_last(folder, rows_file):
    """Rewards 1, 3 and 2 at steps 2, 4 and 6: the adapter of step 4, which differs from the others."""
    flags = ["--reward-function", "own_values:of_the_next_evaluation", "--metric-for-best-model", "reward"]
    run = train(folder, rows_file, "run", *flags, "--lr", "1e-2", "--test-prompts", "1")
    assert curve(run, "eval_reward") == {2: 1.0, 4: 3.0, 6: 2.0}
    kept = load_file(run / "model" / "adapter_model.safetensors")
    best, last = (
        load_file(run / "checkpoints" / f"checkpoint-{step}" / "adapter_model.safetensors") for step in (4, 6)
    )
    assert all(torch.equal(kept[name], best[name]) for name in kept)
    assert not all(torch.equal(kept[name], last[name]) for name in kept)


def test_full_fine_tuning_keeps_the_best_too(folder, rows_file):
    flags = ["--reward-function", "own_values:of_the_next_evaluation", "--metric-for-best-model", "reward"]
    run = train(folder, rows_file, "run", *flags, "--lr", "1e-2", "--lora-rank", "0")
    kept = load_file(run / "model" / "model.safetensors")
    best, last = (load_file(run / "checkpoints" / f"checkpoint-{step}" / "model.safetensors") for step in (4, 6))
    assert all(torch.equal(kept[name], best[name]) for name in kept)
    assert not all(torch.equal(kept[name], last[name]) for name in kept)


def test_a_metric_of_which_less_is_better_keeps_the_least(folder, rows_file):
    flags = ["--metrics", "kl,self_repetition", "--metric-for-best-model", "kl", "--lr", "5e-2"]
    run = train(folder, rows_file, "run", *flags)
    points = curve(run, "eval_kl")
    best = min(points, key=lambda step: points[step])
    kept = load_file(run / "model" / "adapter_model.safetensors")
    of_best = load_file(run / "checkpoints" / f"checkpoint-{best}" / "adapter_model.safetensors")
    assert all(torch.equal(kept[name], of_best[name]) for name in kept)


def test_patience_stops_when_the_metric_does(folder, rows_file):
    """At a learning rate of 0 no evaluation is better than the first: it stops at the second."""
    flags = ["--metrics", "rougeL", "--metric-for-best-model", "rougeL", "--patience", "1", "--lr", "0"]
    run = train(folder, rows_file, "run", *flags)
    assert list(curve(run, "eval_rougeL")) == [2, 4]


def test_a_resumed_run_goes_on_with_the_same_curves(folder, rows_file):
    """The last checkpoint taken away, as if the run had been killed in step 5; its lines are not repeated."""
    flags = [*METRIC_FLAGS, "--metric-for-best-model", "rougeL", "--lr", "1e-2"]
    run = train(folder, rows_file, "run", *flags)
    before = curve(run, "eval_reward")
    (run / "checkpoints" / "checkpoint-6").rename(folder / "put-away")
    train(folder, rows_file, "run", *flags, "--resume")
    after = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [(line["step"], line["eval_reward"]) for line in after if "eval_reward" in line]
    assert lines == list(before.items())


def prompts_of(rows: datasets.Dataset) -> set[str]:
    return {prompt_key(prompt) for prompt in rows["prompt"]}


def test_validation_prompts_are_neither_trained_on_nor_reported(rows_file, tmp_path):
    """Three parts without a common prompt, that make up the data; the reported part is the same without validation."""
    shared = {"data": str(rows_file), "test_prompts": 4, "eval_steps": 2, "seed": 3}
    run = runs.Run.start(TrainConfig(**shared, validation_prompts=5, out=str(tmp_path / "a")), {})
    without = runs.Run.start(TrainConfig(**shared, out=str(tmp_path / "b")), {})
    parts = [prompts_of(part) for part in (run.rows, run.validation, run.held_out)]
    assert [len(part) for part in parts] == [11, 5, 4]
    assert len(set.union(*parts)) == 20
    assert prompts_of(without.held_out) == parts[2]
    assert prompts_of(run.evaluated) == parts[1]
    assert prompts_of(without.evaluated) == parts[2]
    written = run.record["fingerprint"]
    assert len({written[name] for name in ("train", "validation", "held_out")}) == 3


def test_the_best_response_of_each_prompt(tmp_path):
    rows = [("p", "a", 1), ("q", "x", -2), ("p", "b", 3), ("q", "y", -1), ("p", "c", 3)]
    records = [dict(zip(("prompt", "response", "reward"), row, strict=True)) for row in rows]
    assert best_responses(read_triplets(datasets.Dataset.from_list(records))) == (["p", "q"], ["b", "y"])


def test_which_values_are_better():
    assert selection(None)["load_best_model_at_end"] is False
    assert selection("loss") == {
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
    }
    assert selection("toxicity")["greater_is_better"] is False
    lower = {name for name, kind in METRICS.items() if kind.better == "lower"}
    assert lower == {"toxicity", "self_repetition", "kl"}
    assert {name for name, kind in METRICS.items() if kind.better is None} == {"length", "length_ratio"}


class _Silent:
    """What the callback needs of a trainer."""

    def __init__(self):
        self.logged = []

    def log(self, values):
        self.logged.append(values)


def test_a_metric_without_a_value_is_not_logged_and_never_the_best(tokenizer, monkeypatch, caplog):
    """No 4-gram in responses of two tokens: NaN, which transformers finds neither greater nor less than anything."""
    callback = ValidationMetrics(TextMetrics("self_repetition,length"), ["the sea"], ["x"], Decoding(max_new_tokens=1))
    callback.trainer = silent = _Silent()
    metrics = {"eval_loss": 1.0}
    model = make_llama(tokenizer)
    arguments = TrainingArguments(output_dir="unused", use_cpu=True, report_to=[])
    given = {"model": model, "processing_class": tokenizer, "metrics": metrics}
    callback.on_evaluate(arguments, TrainerState(), TrainerControl(), **given)
    assert list(silent.logged[0]) == ["eval_length"]
    assert metrics["eval_self_repetition"] != metrics["eval_self_repetition"]
    assert "no value of self_repetition" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--patience", "2"], "needs eval_steps and validation_prompts above 0"),
        (
            ["--patience", "2", "--eval-steps", "2", "--validation-prompts", "0"],
            "needs eval_steps and validation_prompts above 0",
        ),
        (["--metrics", "bleu"], "metrics needs eval_steps and validation_prompts"),
        (["--validation-prompts", "3", "--strength", "off"], "nothing reads validation_prompts"),
        (["--max-kl", "1", "--strength", "off"], "nothing reads max_kl"),
        (["--lr", "auto", "--validation-prompts", "0"], "lr auto chooses by logged responses"),
        (["--lr", "fast"], "lr is 'fast'; expected a number"),
        (["--validation-prompts", "-1"], "expected at least 0"),
        (["--metric-for-best-model", "bleu"], "metric_for_best_model=bleu needs eval_steps"),
        (["V", "--metric-for-best-model", "bleu"], "choose from loss, reweighted_gain"),
        (["V", "--metrics", "rougeL", "--metric-for-best-model", "bleu"], "explained_share, rougeL"),
        (["V", "--metrics", "length", "--metric-for-best-model", "length"], "neither more nor less is better"),
        (["V", "--metrics", "reward"], "metric reward needs reward_function"),
        (["V", "--metrics", "kl", "--lora-rank", "0"], "metric kl needs lora_rank above 0"),
        (["V", "--metrics", "rougel"], "did you mean 'rougeL'"),
        (["V", "--metrics", "bleu", "--nltk-data", "x"], "--nltk-data is read by meteor"),
        (["V", "--patience", "1", "--save-steps", "3"], "save_steps is 3 and eval_steps 2"),
        (["V", "--metrics", "bleu", "--objective", "reward-model"], "nothing reads --metrics: objective reward-model"),
    ],
)
def test_options_that_contradict_each_other(arguments, words):
    given = [flag for name in arguments for flag in ([*QUICK[:4], "--eval-steps", "2"] if name == "V" else [name])]
    with pytest.raises(ConfigError, match=words):
        parse("train", ["rows.jsonl", *given])


def test_several_processes_are_refused(folder, rows_file, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="metrics samples responses in one process"):
        train(folder, rows_file, "run", "--metrics", "bleu")


@pytest.mark.parametrize(
    ("prompts", "options", "sizes"),
    [
        (3, {}, (1, 0)),
        (240, {}, (60, 0)),  # 30 prompts are too few to select by
        (400, {}, (100, 50)),
        (10_000, {}, (400, 200)),
        (240, {"lr": "auto"}, (60, 30)),
        (240, {"patience": 2, "eval_steps": 5}, (60, 30)),
        (10_000, {"strength": "off"}, (400, 0)),
        (10_000, {"objective": "reward-model"}, (400, 0)),
        (400, {"test_prompts": 7, "validation_prompts": 9}, (7, 9)),
        (400, {"test_prompts": 0}, (0, 0)),  # the strength is measured beside the report
    ],
)
def test_prompts_are_held_out_by_the_number_of_all(prompts, options, sizes):
    assert runs.held_out_sizes(TrainConfig(data="rows.jsonl", **options), prompts) == sizes
