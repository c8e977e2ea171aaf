"""A step that is not finite stops the run or is left out; checkpoints are whole; a resumed run logs the same rows."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from conftest import make_llama, make_t5
from training.test_trainer import StopAt, trainer, weights
from valuefree.errors import ConfigError, DivergenceError
from valuefree.runs.checkpoints import fault_of, newest_whole
from valuefree.training.callbacks import MetricsFile
from valuefree.training.divergence import MOST_IN_A_ROW, LossMeter
from valuefree.training.trainer import PolicyTrainer

CLOCK = {"responses_per_second", "tokens_per_second", "peak_memory_gb"}


class Broken(TrainerCallback):
    """Make the gradients or the loss of some steps not finite; keep the weights before each step."""

    def __init__(self, steps, monkeypatch, how="loss"):
        self.before: dict[int, dict] = {}
        loss = PolicyTrainer.compute_loss

        def compute(trainer, model, inputs, *args, **kwargs):
            found = loss(trainer, model, inputs, *args, **kwargs)
            if not model.training or trainer.state.global_step + 1 not in steps:
                return found
            return found * math.nan if how == "loss" else found + Explode.apply(found)

        monkeypatch.setattr(PolicyTrainer, "compute_loss", compute)

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        self.before[state.global_step + 1] = weights(model)


class Explode(torch.autograd.Function):
    """A finite loss of zero with a gradient that is not finite."""

    @staticmethod
    def forward(context, loss):
        return torch.zeros_like(loss)

    @staticmethod
    def backward(context, gradient):
        return gradient * math.inf


def same(one: dict, two: dict) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("how", ["loss", "gradient"])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_step_that_is_not_finite_stops_the_run_with_its_prompts(tmp_path, rows, tokenizer, monkeypatch, how, clip):
    broken = Broken({2}, monkeypatch, how)
    settings = {"per_device_train_batch_size": 16, "optim": "adamw_torch", "max_grad_norm": clip}
    run = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, callbacks=[broken], **settings)
    with pytest.raises(DivergenceError, match="step 2 has loss") as stopped:
        run.train()
    assert same(weights(run.model), broken.before[2])
    for prompt_id, text in {(row["prompt_id"], row["prompt"]) for row in rows}:
        assert f"prompt {prompt_id}: {text[:80]!r}\n" in str(stopped.value)
    assert all(math.isfinite(row["loss"]) for row in run.state.log_history)
    checkpoint = run.save_last_good()
    assert checkpoint == tmp_path / "checkpoint-1"
    assert fault_of(checkpoint) is None


def test_a_skipped_step_changes_nothing_and_counts_in_no_mean(tmp_path, rows, tokenizer, monkeypatch):
    broken = Broken({2}, monkeypatch)
    settings = {"optim": "adamw_torch", "max_steps": 3, "weight_decay": 0.1, "on_divergence": "skip"}
    every = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, logging_steps=1, callbacks=[broken], **settings)
    every.train()
    assert same(broken.before[2], broken.before[3])
    assert not same(broken.before[3], weights(every.model))
    first, second, third = every.state.log_history[:3]
    assert {"loss", "grad_norm", "logratio"} & set(second) == set()
    assert second["skipped_steps"] == third["skipped_steps"] == 1
    together = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, logging_steps=3, **settings)
    output = together.train()
    mean = (first["loss"] + third["loss"]) / 2
    assert together.state.log_history[0]["loss"] == pytest.approx(mean, rel=1e-6)
    assert output.training_loss == together.state.log_history[-1]["train_loss"] == pytest.approx(mean, rel=1e-6)
    assert "1 of 3 steps" in together.meter.warning


def test_many_skipped_steps_in_a_row_stop_the_run(tmp_path, rows, tokenizer, monkeypatch):
    Broken(set(range(2, 100)), monkeypatch)
    settings = {"max_steps": 50, "on_divergence": "skip"}
    run = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, **settings)
    with pytest.raises(DivergenceError, match=f"step {2 + MOST_IN_A_ROW} has loss nan"):
        run.train()


def test_unknown_handling_of_divergence_is_an_error(tmp_path, rows, tokenizer):
    with pytest.raises(ConfigError, match="on_divergence is 'ignore'; choose from stop, skip"):
        trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, on_divergence="ignore")


def test_the_meter_takes_the_mean_over_steps():
    """(1 + 2)/2 in the first line, 6 in the second; (1 + 2 + 6)/3 = 3 in all."""
    meter, device = LossMeter(), torch.device("cpu")
    meter.add(1.0)
    meter.skip()
    meter.add(2.0)
    assert meter.in_a_row == 0
    assert meter.mean_since_log(device, 1) == 1.5
    meter.add(6.0)
    assert meter.mean_since_log(device, 1) == 6.0
    assert meter.mean_since_log(device, 1) is None
    assert meter.mean(device, 1) == 3.0


def test_weights_that_are_not_finite_are_not_saved(tmp_path, rows, tokenizer):
    run = trainer(tmp_path, make_t5(tokenizer), rows, tokenizer)
    with torch.no_grad():
        run.model.shared.weight[3, 5] = math.inf
    with pytest.raises(DivergenceError, match="some weights are not finite"):
        run.save_model(str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()
    assert run.save_last_good() is None


def test_a_checkpoint_that_cannot_be_finished_leaves_the_earlier_one(tmp_path, rows, tokenizer, monkeypatch):
    run = trainer(tmp_path / "run", make_llama(tokenizer), rows, tokenizer, save_strategy="steps", save_steps=1)

    def full(self, folder):
        if self.state.global_step == 2:
            raise OSError(28, "No space left on device")
        return PolicyTrainer.__mro__[2]._save_rng_state(self, folder)

    monkeypatch.setattr(PolicyTrainer, "_save_rng_state", full)
    with pytest.raises(OSError, match="No space left"):
        run.train()
    assert [path.name for path in (tmp_path / "run").iterdir() if path.is_dir()] == ["checkpoint-1"]
    assert newest_whole(tmp_path / "run") == (tmp_path / "run" / "checkpoint-1", {})


def test_two_checkpoints_are_kept_and_the_best_one_is_found(tmp_path, rows, tokenizer):
    """Rates of zero after a step of harm: step 1 is best of all that are evaluated."""
    settings = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1, "max_steps": 4}
    settings |= {"save_total_limit": 2, "load_best_model_at_end": True, "learning_rate": 0.5, "optim": "adamw_torch"}
    run = trainer(tmp_path / "run", make_llama(tokenizer), rows, tokenizer, eval_dataset=rows, **settings)
    run.train()
    best = Path(run.state.best_model_checkpoint)
    assert best == tmp_path / "run" / f"checkpoint-{run.state.best_global_step}"
    assert {path.name for path in (tmp_path / "run").iterdir()} == {best.name, "checkpoint-4"}
    assert all(fault_of(path) is None for path in (tmp_path / "run").iterdir())
    state = json.loads((tmp_path / "run" / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(best)
    (best / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"the best checkpoint cannot be loaded.*model.safetensors is not as it was"):
        run._load_best_model()


def lines(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCK and "train_" not in name} for row in found]


@pytest.mark.parametrize("stop", [3, 4, 7])
def test_a_resumed_run_logs_what_an_undisturbed_one_does(tmp_path, rows, tokenizer, stop):
    """Lines at steps 1, 4 and 7; a stop between two lines, at a line, and at the end, amid the fourth pass."""
    settings = {"max_steps": 7, "logging_steps": 4, "logging_first_step": True, "learning_rate": 0.01}
    whole = trainer(
        tmp_path / "a", make_llama(tokenizer), rows, tokenizer, callbacks=[MetricsFile(tmp_path / "a")], **settings
    )
    trained = whole.train()
    callbacks = [MetricsFile(tmp_path / "b"), StopAt(stop)]
    trainer(tmp_path / "b", make_llama(tokenizer), rows, tokenizer, callbacks=callbacks, **settings).train()
    with (tmp_path / "b" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # as a kill leaves it
    again = trainer(tmp_path / "b", make_llama(tokenizer), rows, tokenizer, callbacks=callbacks[:1], **settings)
    resumed = again.train(resume_from_checkpoint=True)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    assert same(weights(whole.model), weights(again.model))
    assert [row["step"] for row in lines(tmp_path / "b")] == [1, 4, 7, 7]
    assert resumed.training_loss == resumed.metrics["train_loss"] == trained.training_loss
    assert trained.training_loss == pytest.approx(trained.metrics["train_loss"])


def test_a_resumed_run_takes_the_rate_and_the_intervals_of_its_arguments(tmp_path, rows, tokenizer):
    """Linear decay over 8 steps: step 5 has 4/8 of the peak rate, whichever that was before."""
    settings = {"max_steps": 8, "lr_scheduler_type": "linear", "learning_rate": 0.01, "logging_steps": 8}
    first = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, callbacks=[StopAt(4)], **settings)
    first.train()
    settings |= {"learning_rate": 0.08, "logging_steps": 1}
    second = trainer(tmp_path, make_llama(tokenizer), rows, tokenizer, **settings)
    second.train(resume_from_checkpoint=True)
    rates = {row["step"]: row["learning_rate"] for row in second.state.log_history if "learning_rate" in row}
    # The rate of a line is that of the step which it ends.
    assert rates == pytest.approx({5: 0.04, 6: 0.03, 7: 0.02, 8: 0.01})


def test_resume_true_takes_the_newest_whole_checkpoint(tmp_path, rows, tokenizer):
    settings = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1, "learning_rate": 0.01}
    whole = trainer(tmp_path / "run", make_llama(tokenizer), rows, tokenizer, **settings)
    whole.train()
    (tmp_path / "run" / "checkpoint-3" / "scheduler.pt").unlink()
    again = trainer(tmp_path / "run", make_llama(tokenizer), rows, tokenizer, **settings)
    again.train(resume_from_checkpoint=True)
    assert same(weights(whole.model), weights(again.model))
    assert fault_of(tmp_path / "run" / "checkpoint-3") is None
    for path in (tmp_path / "run").iterdir():
        (path / "optimizer.pt").unlink()
    with pytest.raises(ConfigError, match=r"no whole checkpoint in .*optimizer.pt is missing"):
        copy.copy(again).train(resume_from_checkpoint=True)
