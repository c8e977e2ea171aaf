"""Methods of other papers: presets of RPO against their own formulas, and AsymRE, TOPR and GRPO worked by hand."""

import math

import pytest
import torch

from valuefree.errors import ConfigError
from valuefree.objectives import (
    GRPO,
    RPO,
    TOPR,
    AsymRE,
    ObjectiveInputs,
    TrainingRows,
    asymre_loss,
    grpo_loss,
    topr_loss,
)
from valuefree.objectives.grpo import group_scores
from valuefree.partition import PartitionSettings, fit_partition

RHO = (0.3, -0.2, 0.5, 0.1, -0.4)
REWARDS = (1.0, 0.0, 2.0, -1.0, 0.5)
PROMPT_OF = (0, 0, 0, 1, 1)
TAU = 0.5


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def losses_of(objective, *, samples=None) -> torch.Tensor:
    """Losses of the five rows, whose reference log-probability is −3; samples: rewards and prompts of the reference."""
    rewards, prompt_of = double(*REWARDS), torch.tensor(PROMPT_OF)
    drawn = {} if samples is None else {"reference_rewards": samples[0], "reference_prompt_of": samples[1]}
    found = fit_partition(rewards, double(*[-3.0] * 5), prompt_of, PartitionSettings(**objective.partition()), **drawn)
    inputs = ObjectiveInputs(
        policy_logps=double(*RHO) - 3.0,
        reference_logps=double(*[-3.0] * 5),
        tokens=torch.ones(5),
        rewards=found.rewards_R,
        values=found.values_P[prompt_of],
        prompt_of=prompt_of,
        group_size=torch.tensor([3, 3, 3, 2, 2]),
    )
    return objective(inputs).losses


def test_una_regresses_on_the_reward_itself():
    """(τρ − r)² / 2τ² (arXiv 2408.15339)."""
    expected = (TAU * double(*RHO) - double(*REWARDS)).square() / (2 * TAU**2)
    torch.testing.assert_close(losses_of(RPO.preset("una", tau=TAU)), expected)


def test_rebel_sums_over_a_prompt_to_the_pairwise_regression():
    """Σ_{i<j} (ρ_i − ρ_j − (r_i − r_j)/τ)² / 2n over the pairs of a prompt (arXiv 2404.16767)."""
    delta = double(*RHO) - double(*REWARDS) / TAU
    pairs = {0: [(0, 1), (0, 2), (1, 2)], 1: [(3, 4)]}
    losses = losses_of(RPO.preset("rebel", tau=TAU))
    for prompt, n in ((0, 3), (1, 2)):
        expected = sum((delta[i] - delta[j]).square() for i, j in pairs[prompt]) / (2 * n)
        torch.testing.assert_close(losses[torch.tensor(PROMPT_OF) == prompt].sum(), expected)


def test_pmd_mean_takes_the_mean_of_the_group():
    """½(ρ − (r − r̄)/τ)², with means 1 and −¼ (arXiv 2602.05933)."""
    centred = double(0.0, -1.0, 1.0, -0.75, 0.75)
    expected = 0.5 * (double(*RHO) - centred / TAU).square()
    torch.testing.assert_close(losses_of(RPO.preset("pmd-mean", tau=TAU)), expected)


def test_a_star_po_has_a_temperature_of_its_own_for_v():
    """V̂ = log mean e^r over the reference samples, at temperature 1, beside τ = ½ (arXiv 2505.20686)."""
    samples = double(0.0, math.log(3), 1.0, 1.0), torch.tensor([0, 0, 1, 1])
    values = double(*[math.log(2)] * 3, 1.0, 1.0)
    expected = 0.5 * (double(*RHO) - (double(*REWARDS) - values) / TAU).square()
    torch.testing.assert_close(losses_of(RPO.preset("a-star-po", tau=TAU), samples=samples), expected)


def test_qrpo_replaces_rewards_by_their_quantiles_among_reference_samples():
    """q = share of the samples that are below or equal; Z of a uniform quantile on 0, ½, 1 (arXiv 2507.08068)."""
    samples = double(0.5, 1.5, -2.0, 1.0), torch.tensor([0, 0, 1, 1])
    quantiles = double(0.5, 0.0, 1.0, 0.5, 0.5)
    value = TAU * math.log((1 + math.exp(0.5 / TAU) + math.exp(1 / TAU)) / 3)
    expected = 0.5 * (double(*RHO) - (quantiles - value) / TAU).square()
    torch.testing.assert_close(losses_of(RPO.preset("qrpo", tau=TAU), samples=samples), expected)


def test_a_temperature_of_v_is_for_monte_carlo():
    with pytest.raises(ConfigError, match="value_tau is read by estimator='monte_carlo' alone"):
        RPO(estimator="mean", value_tau=1.0)


def test_asymre_by_hand():
    """Rewards 0, 1, 2 and offset ½: V = ½, advantages −½, ½, 1½; times −log π of −1, −2, −4."""
    rows = TrainingRows(double(0, 1, 2), double(0, 1, 2), torch.tensor([0, 1, 1]))
    advantages = AsymRE(offset=0.5).precompute(rows)["advantage"]
    assert advantages.tolist() == [-0.5, 0.5, 1.5]
    assert asymre_loss(double(-1, -2, -4), advantages).tolist() == [-0.5, 1.0, 6.0]


def test_topr_by_hand():
    """A good response counts whole; a bad one by min(1, e^ρ), which has no gradient: ρ = log ½ and log 2."""
    policy = double(-1.0, -1.0 - math.log(2), -1.0 + math.log(2)).requires_grad_()
    losses = topr_loss(policy, double(-1, -1, -1), double(2, -1, -1))
    assert losses.tolist() == pytest.approx([2.0, -0.5 * (1 + math.log(2)), -(1 - math.log(2))])
    (gradient,) = torch.autograd.grad(losses.sum(), policy)
    assert gradient.tolist() == pytest.approx([-2.0, 0.5, 1.0])
    rows = TrainingRows(double(0, 1, 5), double(0, 1, 5), torch.tensor([0, 0, 1]))
    assert TOPR().precompute(rows)["advantage"].tolist() == [-2.0, -1.0, 3.0]


def test_grpo_by_hand():
    """ε = 0.2 and ratios ½, 2, ½, 2: the change in the direction of the advantage is cut off at 0.8 and 1.2."""
    logratios = double(-math.log(2), math.log(2), -math.log(2), math.log(2)).requires_grad_()
    losses = grpo_loss(logratios, double(1, 1, -1, -1), clip=0.2)
    assert losses.tolist() == pytest.approx([-0.5, -1.2, 0.8, 2.0])
    (gradient,) = torch.autograd.grad(losses.sum(), logratios)
    assert gradient.tolist() == pytest.approx([-0.5, 0.0, 0.0, 2.0])


def test_scores_within_a_group():
    """(0, 2): mean 1, deviation √2; equal rewards and a lone response give 0."""
    scores = group_scores(double(0, 2, 0.1, 0.1, 0.1, 7), torch.tensor([0, 0, 1, 1, 1, 2]))
    assert scores.tolist() == pytest.approx([-1 / math.sqrt(2), 1 / math.sqrt(2), 0, 0, 0, 0])


def test_grpo_needs_two_unlike_responses_to_a_prompt():
    rows = TrainingRows(double(0, 1), double(0, 1), torch.tensor([0, 1]))
    with pytest.raises(ConfigError, match="no prompt has two responses with different rewards"):
        GRPO().precompute(rows)
