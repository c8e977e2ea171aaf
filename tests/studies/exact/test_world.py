"""The recursions against enumeration of every sequence, and samples against their tables."""

import itertools

import pytest
import torch

from studies.exact.problems import Optimum
from studies.exact.world import (
    WorldSettings,
    expectation,
    kl_divergence,
    make_prompts,
    make_world,
    optimum,
    rewards_of,
    sample,
    score,
    tilted,
)
from valuefree.errors import ConfigError

TINY = {"length": 3, "alphabet": 3, "features": 2}
TAU = 0.7


def problem(structure: str, reward: str = "additive"):
    world = make_world(WorldSettings(structure=structure, reward=reward, **TINY), seed=4)
    return world, make_prompts(world, 5, seed=4, part="test")


def every_sequence(prompts: int) -> torch.Tensor:
    """All 27 responses, for each prompt: (P, 27, 3)."""
    found = torch.tensor(list(itertools.product(range(3), repeat=3)))
    return found.expand(prompts, -1, -1)


@pytest.mark.parametrize("structure", ["factorised", "markov"])
def test_optimum_is_the_tilted_reference_normalised_over_all_sequences(structure):
    _, prompts = problem(structure)
    responses = every_sequence(5)
    log_reference, rewards = score(prompts.reference, responses), score(prompts.reward, responses)
    log_z = torch.logsumexp(log_reference + rewards / TAU, dim=1)
    best, values = optimum(prompts.reference, prompts.reward, TAU)
    torch.testing.assert_close(values, TAU * log_z)
    torch.testing.assert_close(score(best, responses), log_reference + rewards / TAU - log_z[:, None])


@pytest.mark.parametrize("structure", ["factorised", "markov"])
def test_expectations_and_kl_equal_sums_over_all_sequences(structure):
    _, prompts = problem(structure)
    responses = every_sequence(5)
    policy = tilted(prompts, 1.3)
    probabilities = score(policy, responses).exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(
        expectation(policy, prompts.reward), (probabilities * score(prompts.reward, responses)).sum(1)
    )
    ratios = score(policy, responses) - score(prompts.reference, responses)
    torch.testing.assert_close(kl_divergence(policy, prompts.reference), (probabilities * ratios).sum(1))


@pytest.mark.parametrize("structure", ["factorised", "markov"])
def test_gap_is_tau_times_the_kl_to_the_optimum(structure):
    """J* − J(π) = V* − E_π r + τ·KL(π‖π_ref) = τ·KL(π‖π*)."""
    _, prompts = problem(structure)
    policy = tilted(prompts, -0.8)
    best, values = optimum(prompts.reference, prompts.reward, TAU)
    gap = values - expectation(policy, prompts.reward) + TAU * kl_divergence(policy, prompts.reference)
    torch.testing.assert_close(gap, TAU * kl_divergence(policy, best))
    assert bool((gap > 0).all())


@pytest.mark.parametrize("structure", ["factorised", "markov"])
def test_samples_follow_their_table(structure):
    _, prompts = problem(structure)
    tokens = sample(prompts.reference, 20_000, torch.Generator().manual_seed(0))
    code = (tokens * torch.tensor([9, 3, 1])).sum(-1)
    seen = torch.stack([torch.bincount(row, minlength=27) for row in code]) / 20_000
    expected = score(prompts.reference, every_sequence(5)).exp()
    assert (seen - expected).abs().max() < 5 * (0.25 / 20_000) ** 0.5


def test_rewards_spread_by_one_within_prompts_of_the_reference():
    world = make_world(WorldSettings(), seed=1)
    prompts = make_prompts(world, 200, seed=1, part="train")
    rewards = rewards_of(world, prompts, sample(prompts.reference, 64, torch.Generator().manual_seed(0)))
    assert rewards.var(1).mean().sqrt().item() == pytest.approx(1.0, abs=0.1)


def test_sampled_partition_of_a_saturating_reward_agrees_with_enumeration():
    """V* = τ log Σ_y π_ref(y) e^{r(y)/τ} over all 27 responses, within five standard errors."""
    world, prompts = problem("markov", "saturating")
    responses = every_sequence(5)
    exact = TAU * torch.logsumexp(
        score(prompts.reference, responses) + rewards_of(world, prompts, responses) / TAU, dim=1
    )
    yardstick = Optimum.at(world, prompts, TAU)
    assert yardstick.error > 0
    assert (yardstick.values - exact).abs().mean().item() < 5 * yardstick.error * 5**0.5


def test_parts_of_a_seed_have_different_prompts_and_seeds_different_worlds():
    world = make_world(WorldSettings(**TINY), seed=0)
    train, test = (make_prompts(world, 4, seed=0, part=part).features for part in ("train", "test"))
    assert not torch.equal(train, test)
    assert not torch.equal(world.reward, make_world(WorldSettings(**TINY), seed=1).reward)
    assert torch.equal(world.reward, make_world(WorldSettings(**TINY), seed=0).reward)


def test_a_world_needs_two_of_everything():
    with pytest.raises(ConfigError, match="alphabet is 1"):
        WorldSettings(alphabet=1)
