"""Checkpoints by the clock: when they are written, and that a run resumed from one is the undisturbed run."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerControl

from conftest import make_llama
from valuefree.objectives import RPO
from valuefree.runs.checkpoints import checkpoints_in, step_of
from valuefree.training.callbacks import MetricsFile, SaveByTime
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

WALL_CLOCK = (
    *("train_runtime", "train_samples_per_second", "train_steps_per_second"),
    *("responses_per_second", "tokens_per_second", "peak_memory_gb"),
)


class Clock:
    """Seconds; each step takes 240."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_checkpoint_every_ten_minutes_and_after_the_last_step():
    """Steps of 4 minutes: minutes 12, 24 and 36 are steps 3, 6, 9; another cause saves at step 7."""
    clock, state, saved = Clock(), SimpleNamespace(global_step=0, max_steps=13), []
    callback = SaveByTime(10, clock)
    clock.now = 10_000.0  # loading and scoring do not count
    callback.on_train_begin(None, state, None)
    for step in range(1, 14):
        state.global_step, clock.now, control = step, clock.now + 240, TrainerControl()
        callback.on_step_end(None, state, control)
        if control.should_save or step == 7:
            saved.append(step)
            callback.on_save(None, state, control)
    assert saved == [3, 6, 7, 10, 13]


def trained(folder, tokenizer, rows, clock, *, resume=None):
    arguments = PolicyTrainingArguments(
        output_dir=str(folder / "checkpoints"), learning_rate=1e-3, max_steps=5, logging_steps=2, save_strategy="no",
        use_cpu=True, report_to=[], per_device_train_batch_size=8, lr_scheduler_type="linear",
    )  # fmt: skip

    class Ticking(SaveByTime):
        def on_step_end(self, *args, **kwargs):
            clock.now += 240
            super().on_step_end(*args, **kwargs)

    callbacks = [MetricsFile(folder), Ticking(10, clock)]
    trainer = PolicyTrainer(
        make_llama(tokenizer), RPO(target_std=1.0), arguments, rows, processing_class=tokenizer, callbacks=callbacks,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return trainer, [{k: v for k, v in json.loads(line).items() if k not in WALL_CLOCK} for line in lines]


def test_a_run_resumed_from_a_timed_checkpoint_is_the_undisturbed_run(tokenizer, rows, tmp_path):
    """Of 5 steps, a checkpoint after 3, in the middle of a log interval, and one after the last."""
    whole, metrics = trained(tmp_path / "whole", tokenizer, rows, Clock())
    found = checkpoints_in(tmp_path / "whole" / "checkpoints")
    assert [step_of(path) for path in found] == [5, 3]
    (tmp_path / "cut").mkdir()
    resumed, again = trained(tmp_path / "cut", tokenizer, rows, Clock(), resume=str(found[1]))
    assert again == metrics
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize("minutes", [0.5, 10])
def test_minutes_are_of_sixty_seconds(minutes):
    assert SaveByTime(minutes).seconds == 60 * minutes
