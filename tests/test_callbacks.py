"""The warning about a rising loss: beyond chance and by a tenth, once a run, and never for a loss that falls."""

import logging
from types import SimpleNamespace

import pytest
from transformers import TrainingArguments

from conftest import make_llama
from valuefree.callbacks import RisingLoss
from valuefree.objectives import RPO
from valuefree.trainer import PolicyTrainer, PolicyTrainingArguments


def warned(*lines: tuple[float, float]) -> str | None:
    callback, state = RisingLoss(), SimpleNamespace(global_step=0)
    for loss, error in lines:
        state.global_step += 10
        callback.on_log(TrainingArguments(), state, None, logs={"loss": loss, "loss_standard_error": error})
    return callback.warning


@pytest.mark.parametrize(
    "lines",
    [
        [(0.8, 0.1), (0.5, 0.1)],  # it falls
        [(0.8, 0.3), (1.9, 0.3)],  # 1.1 is less than 3·√.18 = 1.27
        [(0.8, 0.001), (0.87, 0.001)],  # beyond chance, but by less than a tenth
        [(0.8, 0.1)],
    ],
)
def test_no_warning(lines):
    assert warned(*lines) is None


def test_a_loss_that_rises_is_named_with_its_steps():
    sentence = warned((0.8, 0.1), (0.7, 0.1), (2.18, 0.2))
    assert "rose from 0.8 (step 10) to 2.18 (step 30)" in sentence
    assert "Lower the learning rate" in sentence


def run(tmp_path, rows, tokenizer, lr):
    arguments = PolicyTrainingArguments(
        output_dir=str(tmp_path), learning_rate=lr, max_steps=12, logging_steps=2, save_strategy="no", use_cpu=True,
        report_to=[], per_device_train_batch_size=16, lr_scheduler_type="constant",
    )  # fmt: skip
    trainer = PolicyTrainer(make_llama(tokenizer), RPO(), arguments, rows, processing_class=tokenizer)
    trainer.train()
    return trainer


def test_a_run_that_diverges_is_warned_about_and_one_that_learns_is_not(tmp_path, rows, tokenizer, caplog):
    with caplog.at_level(logging.WARNING, logger="valuefree"):
        assert run(tmp_path, rows, tokenizer, 1e-4).rising_loss.warning is None
        assert not caplog.records
        trainer = run(tmp_path, rows, tokenizer, 0.3)
    assert trainer.rising_loss.warning in caplog.messages
    assert all(line["loss_standard_error"] > 0 for line in trainer.state.log_history if "loss" in line)
