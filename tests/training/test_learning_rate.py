"""The search for the learning rate: its budget, its choice, and that it leaves no trace."""

import logging

import pytest
import torch
from peft import LoraConfig

from conftest import make_llama
from training.test_trainer import trainer, weights
from valuefree.demo.data import feedback, take_prompts
from valuefree.errors import ConfigError, DataError
from valuefree.training.learning_rate import rounds, search_learning_rate

RATES = (1e-4, 1e-3, 1e-2)


@pytest.fixture
def made(tokenizer, tmp_path):
    rows = take_prompts(feedback(), 8)
    return trainer(
        tmp_path, make_llama(tokenizer), rows, tokenizer, max_steps=40, optim="adamw_torch", warmup_steps=4,
        peft_config=LoraConfig(r=2, target_modules="all-linear"),
    )  # fmt: skip


def moved(model) -> float:
    return float(sum(w.detach().abs().sum() for name, w in model.named_parameters() if "lora_B" in name))


def test_half_of_the_rates_go_on_to_twice_the_steps():
    assert rounds((1, 2, 3, 4, 5), 160) == [(5, 20), (2, 40)]
    assert rounds((1, 2), 8) == [(2, 4), (1, 4)]


def test_the_rate_with_the_best_measure_is_chosen(made):
    assert search_learning_rate(made, RATES, moved).rate == 1e-2
    found = search_learning_rate(made, RATES, lambda model: -moved(model))
    assert found.rate == 1e-4
    assert found.at_edge
    assert [(trial.rate, trial.steps) for trial in found.trials] == [(1e-4, 5), (1e-3, 5), (1e-2, 5), (1e-4, 10)]
    assert "at the end of those tried" in str(found)


def test_the_run_is_as_if_there_had_been_no_search(made, tokenizer, tmp_path, caplog):
    before, arguments, callbacks = weights(made.model), made.args.to_dict(), list(made.callback_handler.callbacks)
    with caplog.at_level(logging.INFO, logger="valuefree"):
        search_learning_rate(made, RATES, moved)
    assert "3 rates × 5 steps, then 1 rate × 10 steps; 25 steps, 0.6 times those of the run" in caplog.text
    for name, weight in weights(made.model).items():
        assert torch.equal(weight, before[name]), name
    assert made.args.to_dict() == arguments
    assert made.callback_handler.callbacks == callbacks
    assert made.state.global_step == 0
    assert made.state.log_history == []
    made.train()
    after = weights(made.model)
    rows = take_prompts(feedback(), 8)
    torch.manual_seed(0)
    other = trainer(
        tmp_path / "other", make_llama(tokenizer), rows, tokenizer, max_steps=40, optim="adamw_torch", warmup_steps=4,
        peft_config=LoraConfig(r=2, target_modules="all-linear"),
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in other.model.named_parameters():
            weight.copy_(before[name])
    other.train()
    for name, weight in weights(other.model).items():
        torch.testing.assert_close(weight, after[name])


def test_a_rate_that_diverges_loses(made):
    def measure(model):
        if moved(model) > 1.0:
            raise DataError("log-probabilities are not finite.")
        return moved(model)

    found = search_learning_rate(made, RATES, measure)
    assert found.rate < 1e-2
    assert min(trial.score for trial in found.trials) == float("-inf")
    with pytest.raises(ConfigError, match="finite"):
        search_learning_rate(made, RATES, lambda model: float("nan"))
    with pytest.raises(ConfigError, match="at least 2"):
        search_learning_rate(made, (1e-3,), moved)
