"""The presets ``paper-code``: what the paper's program computed, derived here in numpy; no default equals them."""

import math

import datasets
import numpy as np
import pytest
import torch

from conftest import make_llama
from training.test_trainer import arguments
from valuefree.models.value_network import network_of
from valuefree.objectives import DRO, KTO, RPO
from valuefree.training.trainer import PolicyTrainer


@pytest.fixture
def run_of(tmp_path, rows, tokenizer):
    """A trainer, all 17 rows as one batch (row 16 repeats row 0 with another reward), and their token means of ρ."""
    again = datasets.Dataset.from_list([{**rows[0], "reward": -3.0}])
    data = datasets.concatenate_datasets([rows, again])
    reference = make_llama(tokenizer, seed=7)

    def made(objective):
        args = arguments(tmp_path, per_device_train_batch_size=17)
        own = {"processing_class": tokenizer, "reference_model": reference}
        run = PolicyTrainer(make_llama(tokenizer), objective, args, data, **own)
        (inputs,) = list(run.get_train_dataloader())
        with torch.no_grad():
            found = run._logps(run.model, run._collator.batch(run.train_dataset.table, range(17)))
        scores = run.train_dataset.reference
        rho = (found.total.double().numpy() - scores.logps) / scores.tokens
        return run, inputs, rho, np.array(data["reward"]), np.array(data["prompt_id"])

    return made


def test_rpo_takes_token_means_everywhere_and_counts_duplicates(run_of):
    """½(ρ̄ − (r − V̂)/τ)², V̂ = τ log Σ_j exp(ℓ̄_j + r_j/τ) over all rows of the prompt, the repeated one too."""
    tau = 0.7
    run, inputs, rho, rewards, prompts = run_of(RPO.preset("paper-code", tau=tau))
    r = (rewards - rewards.mean()) / rewards.std()
    scores = run.train_dataset.reference
    inside = np.exp(scores.logps / scores.tokens + r / tau)
    values = np.array([tau * math.log(inside[prompts == prompt].sum()) for prompt in prompts])
    expected = 0.5 * (rho - (r - values) / tau) ** 2
    assert run.compute_loss(run.model, inputs).item() == pytest.approx(expected.mean(), rel=1e-5)


def test_kto_has_the_matched_baseline_of_token_means_and_no_clamp(run_of):
    """β 1, z₀ = mean ρ̄ of the batch, desirable where r ≥ the mean: the mean of 1 − σ(±(ρ̄ − z₀))."""
    run, inputs, rho, rewards, _ = run_of(KTO.preset("paper-code"))
    sign = np.where(rewards >= rewards.mean(), 1, -1)
    expected = 1 - 1 / (1 + np.exp(-sign * (rho - rho.mean())))
    assert run.compute_loss(run.model, inputs).item() == pytest.approx(expected.mean(), rel=1e-5)


def test_dro_has_a_head_on_the_policys_states_and_token_means(run_of):
    """½(r − V − τρ̄)² with V two layers on the mean of the policy's states of the prompt."""
    tau = 0.7
    run, inputs, rho, rewards, _ = run_of(DRO.preset("paper-code", tau=tau))
    torch.manual_seed(0)
    first, last = network_of(run.model).head[0], network_of(run.model).head[2]
    torch.nn.init.normal_(last.weight)
    r = (rewards - rewards.mean()) / rewards.std()
    table, values = run.train_dataset.table, []
    for row in range(17):
        ids = torch.tensor([table[row]["prompt_ids"]])
        with torch.no_grad():
            mean = run.model.model(input_ids=ids).last_hidden_state[0].numpy().mean(0)
        weights = [tensor.detach().numpy() for tensor in (first.weight, first.bias, last.weight, last.bias)]
        values.append((weights[2] @ np.maximum(weights[0] @ mean + weights[1], 0) + weights[3]).item())
    expected = 0.5 * (r - np.array(values) - tau * rho) ** 2
    assert run.compute_loss(run.model, inputs).item() == pytest.approx(expected.mean(), rel=1e-5)
    assert run.objective.learning_rates(1.0) == {"policy": 1.0, "value": 1.0}


def test_the_papers_code_is_never_the_default():
    for objective in (RPO, KTO, DRO):
        assert objective() != objective.preset("paper-code")
        assert not objective().length_normalize
