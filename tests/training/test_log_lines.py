"""A line per log, in place of a dictionary."""

from types import SimpleNamespace

import pytest

from valuefree.training.log_lines import LogLines, line


@pytest.mark.parametrize(
    ("logs", "said"),
    [
        (
            {"loss": 54.94, "grad_norm": 264.4, "logratio_reward_correlation": 0.0906, "responses_per_second": 354.2},
            "loss 54.94   correlation of log-ratio and reward +0.09   354 responses/s",
        ),
        ({"loss": 6.697, "responses_per_second": 30.0}, "loss 6.697   30 responses/s"),
        ({"loss": 0.7, "accuracy": 0.625, "margin": 0.1}, "loss 0.7   pairs ordered correctly 62%"),
        (
            {"eval_loss": 0.5, "eval_ranking_accuracy": 0.59, "eval_runtime": 1.0},
            "evaluation: loss 0.5   ranked as the feedback does 59%",
        ),
        ({"train_runtime": 0.77, "train_loss": 53.6}, ""),
        ({}, ""),
    ],
)
def test_the_numbers_that_matter_and_no_others(logs, said):
    assert line(logs) == said


def test_the_metric_that_chooses_the_checkpoint_is_shown():
    assert line({"eval_loss": 1.0, "eval_rouge1": 0.25}, best="eval_rouge1") == "evaluation: loss 1   rouge1 0.25"


def test_a_line_starts_with_step_and_total(caplog):
    caplog.set_level("INFO")
    args = SimpleNamespace(metric_for_best_model=None)
    state = SimpleNamespace(is_world_process_zero=True, global_step=7, max_steps=120)
    LogLines().on_log(args, state, None, logs={"loss": 2.0})
    LogLines().on_log(args, state, None, logs={"train_runtime": 2.0})
    assert caplog.messages == ["step   7/120   loss 2"]
