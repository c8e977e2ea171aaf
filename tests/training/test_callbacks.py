"""The warning about a rising loss: beyond chance and by a tenth, once a run, and never for a loss that falls."""

import logging
from types import SimpleNamespace

import pytest
from transformers import TrainingArguments

from conftest import make_llama
from valuefree.objectives import RPO
from valuefree.training.callbacks import RisingLoss
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments


def warned(*lines: tuple[int, float, float]) -> str | None:
    """Lines of (last step, loss, standard error)."""
    callback, state = RisingLoss(), SimpleNamespace(global_step=0)
    callback.on_train_begin(TrainingArguments(), state, None)
    for step, loss, error in lines:
        state.global_step = step
        callback.on_log(TrainingArguments(), state, None, logs={"loss": loss, "loss_standard_error": error})
    return callback.warning


@pytest.mark.parametrize(
    "lines",
    [
        [(10, 0.8, 0.1), (20, 0.5, 0.1)],  # it falls
        [(10, 0.8, 0.3), (20, 1.9, 0.3)],  # 1.1 is less than 3·√.18 = 1.27
        [(10, 0.8, 0.001), (20, 0.87, 0.001)],  # beyond chance, but by less than a tenth
        [(10, 0.8, 0.1)],
        [(1, 4.6, 0.5), (8, 60.0, 5.0), (16, 46.0, 5.0), (24, 50.0, 5.0)],  # the first batch is no measure
        [(8, 0.8, 0.1), (9, 5.0, 2.0), (16, 0.7, 0.1)],  # nor is a single one later
    ],
)
def test_no_warning(lines):
    assert warned(*lines) is None


def test_a_loss_that_rises_is_named_with_its_steps():
    sentence = warned((10, 0.8, 0.1), (20, 0.7, 0.1), (30, 2.18, 0.2))
    assert "rose from 0.8 (up to step 10) to 2.18 (up to step 30)" in sentence
    assert "Lower the learning rate" in sentence


def test_lines_are_taken_together_by_their_steps():
    """(1·8 + 7·16)/8 = 15 in the first window; errors √(8² + (7·0)²)/8 = 1; the second has 30 ± 1 after 4 + 4 steps."""
    sentence = warned((1, 8.0, 8.0), (8, 16.0, 0.0), (12, 20.0, 1.0), (16, 40.0, 1.0))
    assert "rose from 15 (up to step 8) to 30 (up to step 16)" in sentence


def run(tmp_path, rows, tokenizer, lr, warmup_steps=24, logging_steps=2):
    arguments = PolicyTrainingArguments(
        output_dir=str(tmp_path), learning_rate=lr, max_steps=24, logging_steps=logging_steps, save_strategy="no",
        use_cpu=True, report_to=[], per_device_train_batch_size=16, lr_scheduler_type="constant_with_warmup",
        warmup_steps=warmup_steps,
    )  # fmt: skip
    trainer = PolicyTrainer(make_llama(tokenizer), RPO(target_std=1.0), arguments, rows, processing_class=tokenizer)
    trainer.train()
    return trainer


def test_a_run_that_diverges_is_warned_about_and_one_that_learns_is_not(tmp_path, rows, tokenizer, caplog):
    with caplog.at_level(logging.WARNING, logger="valuefree"):
        assert run(tmp_path, rows, tokenizer, 1e-4).rising_loss.warning is None
        assert not any("loss" in message for message in caplog.messages)
        trainer = run(tmp_path, rows, tokenizer, 1.0)
    assert trainer.rising_loss.warning in caplog.messages
    assert all(line["loss_standard_error"] > 0 for line in trainer.state.log_history if "loss" in line)


@pytest.mark.parametrize(("warmup_steps", "warned"), [(0, False), (11, False), (12, True), (50, True)])
def test_a_run_whose_half_is_warm_up_is_warned_about(tmp_path, rows, tokenizer, caplog, warmup_steps, warned):
    trainer = run(tmp_path, rows, tokenizer, 1e-4, warmup_steps=warmup_steps)
    said = f"{min(warmup_steps, 24)} of 24 steps are warm-up"
    assert (trainer.short_run.warning is not None) is (said in caplog.text) is warned


def test_the_last_step_is_logged(tmp_path, rows, tokenizer):
    trainer = run(tmp_path, rows, tokenizer, 1e-4, logging_steps=10)
    assert [line["step"] for line in trainer.state.log_history if "loss" in line][-3:] == [10, 20, 24]
