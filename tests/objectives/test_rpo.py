"""The RPO loss: hand-worked values, the decomposition, gradients, and a tabular policy trained to the closed form."""

import math

import pytest
import torch

from shape_checks import unchecked
from valuefree.errors import ConfigError
from valuefree.objectives import RPO, ObjectiveInputs, TrainingRows, rpo_loss
from valuefree.objectives.rpo import TARGET_STD
from valuefree.partition import PartitionSettings, partition_values, rank_rewards

REWARDS = torch.tensor([1.0, -1.0], dtype=torch.float64)
REFERENCE = torch.log(torch.tensor([0.5, 0.2], dtype=torch.float64))
RHO = torch.tensor([0.2, -0.1], dtype=torch.float64)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def loss_at(value: float, **knobs) -> torch.Tensor:
    return rpo_loss(REFERENCE + RHO, REFERENCE, REWARDS, torch.full((2,), value, dtype=torch.float64), tau=1.0, **knobs)


@pytest.mark.parametrize(("value", "expected"), [(0.359572503680, 0.445124817885), (0.433780830483, 0.478271945971)])
def test_mean_loss_of_two_observed_responses(value, expected):
    assert loss_at(value).mean().item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("value", [0.359572503680, 0.433780830483, 12.0])
def test_level_zero_leaves_the_within_part_free_of_the_value(value):
    # c = ρ − r = (−.8, .9), c̄ = .05: ½·.85² = .361250
    prompt_of = torch.zeros(2, dtype=torch.int64)
    assert loss_at(value, prompt_of=prompt_of, level=0.0).mean().item() == pytest.approx(0.361250, abs=1e-12)


def test_within_and_level_by_hand_at_level_one():
    """δ = (1, −2, 4), δ̄ = 1, n = 3, κ = 1: ½[(δ−1)² + ¼·1] = (.125, 4.625, 4.625)."""
    zero = torch.zeros(3, dtype=torch.float64)
    loss = rpo_loss(double(1, -2, 4), zero, zero, zero, tau=1.0, prompt_of=torch.tensor([7, 7, 7]), level=1.0)
    assert loss.tolist() == pytest.approx([0.125, 4.625, 4.625])


def test_group_size_of_the_data_set_sets_the_weight():
    """δ̄ = 1 in sight of two rows of a group of seven: κ/(n + κ) = 1/8."""
    zero = torch.zeros(2, dtype=torch.float64)
    loss = rpo_loss(
        double(0, 2),
        zero,
        zero,
        zero,
        tau=1.0,
        prompt_of=torch.tensor([0, 0]),
        group_size=torch.tensor([7, 7]),
        level=1.0,
    )
    assert loss.tolist() == pytest.approx([0.5 * (1 + 1 / 8)] * 2)


def random_problem(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    prompt_of = torch.tensor([0, 1, 0, 2, 1, 0, 2, 2, 2])
    policy, reference, rewards = (torch.randn(9, generator=generator, dtype=torch.float64) for _ in range(3))
    values = torch.randn(3, generator=generator, dtype=torch.float64)[prompt_of]
    return policy, reference, rewards, values, prompt_of


def test_infinite_level_sums_to_eq_21_over_each_prompt():
    *data, prompt_of = random_problem()
    plain = rpo_loss(*data, tau=0.7)
    level = rpo_loss(*data, tau=0.7, prompt_of=prompt_of, level=1e15)
    for prompt in range(3):
        torch.testing.assert_close(plain[prompt_of == prompt].sum(), level[prompt_of == prompt].sum())


def test_centred_form_is_the_pairwise_regression():
    """Σ½(c_i − c̄)² = Σ_{i<j} (c_i − c_j)²/(2n)."""
    policy, reference, rewards, values, prompt_of = random_problem()
    c = (policy - reference - rewards)[prompt_of == 2]
    pairs = sum((c[i] - c[j]) ** 2 for i in range(len(c)) for j in range(i)) / (2 * len(c))
    loss = rpo_loss(policy, reference, rewards, values, tau=1.0, prompt_of=prompt_of, level=0.0)
    torch.testing.assert_close(loss[prompt_of == 2].sum(), pairs)


def test_level_weight_is_the_profile_of_a_prior_on_the_value():
    """min over v of Σ½(δ_i + v)² + κ/2·v² equals the sum of the loss at level κ (v in nats)."""
    delta, kappa = double(1, -2, 4, 0.5), 1.7
    v = -delta.sum() / (len(delta) + kappa)
    profiled = 0.5 * (delta + v).square().sum() + kappa / 2 * v**2
    zero = torch.zeros_like(delta)
    loss = rpo_loss(delta, zero, zero, zero, tau=1.0, prompt_of=torch.zeros(4, dtype=torch.int64), level=kappa)
    torch.testing.assert_close(loss.sum(), profiled)


def gradient(level: float, keep: torch.Tensor | None = None) -> torch.Tensor:
    """Gradient of the summed loss on the policy's log-probabilities; rows not in `keep` carry none."""
    policy, reference, rewards, values, prompt_of = random_problem()
    leaf = policy.clone().requires_grad_()
    seen = leaf if keep is None else torch.where(keep, leaf, leaf.detach())
    loss = rpo_loss(seen, reference, rewards, values, tau=0.7, prompt_of=prompt_of, level=level)
    (loss if keep is None else loss[keep]).sum().backward()
    return leaf.grad


@pytest.mark.parametrize("level", [0.0, 1.0, 30.0])
def test_gradient_is_the_residual_less_the_weighted_mean(level):
    policy, reference, rewards, values, prompt_of = random_problem()
    delta = policy - reference - (rewards - values) / 0.7
    n = torch.bincount(prompt_of)[prompt_of]
    mean = torch.zeros(3, dtype=torch.float64).index_add(0, prompt_of, delta)[prompt_of] / n
    torch.testing.assert_close(gradient(level), delta - n / (n + level) * mean)


def test_gradient_is_the_same_when_a_group_is_cut_over_micro_batches():
    keep = torch.tensor([True, False, True, True, False, False, True, False, True])
    cut = gradient(1.0, keep) + gradient(1.0, ~keep)
    torch.testing.assert_close(cut, gradient(1.0))


def test_tabular_gradient_is_eq_26_and_sums_to_zero():
    """∂L/∂z_y = w_y δ_y − π(y) Σ w δ, with w = 1/2 on the two observed of three outcomes."""
    logits = double(0.3, -0.2, 0.1).requires_grad_()
    logps = torch.log_softmax(logits, 0)
    observed = torch.tensor([0, 2])
    value = double(0.3, 0.3)
    rpo_loss(logps[observed], REFERENCE, REWARDS, value, tau=1.0).mean().backward()
    delta = torch.zeros(3, dtype=torch.float64)
    delta[observed] = logps.detach()[observed] - REFERENCE - (REWARDS - value)
    expected = 0.5 * delta - logps.detach().exp() * (0.5 * delta).sum()
    torch.testing.assert_close(logits.grad, expected, atol=1e-8, rtol=0)
    assert logits.grad.sum().item() == pytest.approx(0, abs=1e-12)


def trained(observed: list[int], steps: int, level: float = math.inf) -> torch.Tensor:
    """Log-probabilities of a tabular policy of three outcomes after gradient descent on the observed ones."""
    reference = torch.log(double(0.5, 0.3, 0.2))
    rewards = double(1, 0, -1)
    values = partition_values(rewards[observed], reference[observed], [0] * len(observed), tau=1.0)
    logits = reference.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([logits], max_iter=steps, tolerance_grad=1e-14, tolerance_change=1e-16)

    def closure():
        optimiser.zero_grad()
        logps = torch.log_softmax(logits, 0)[observed]
        data = (logps, reference[observed], rewards[observed], values.expand(len(observed)))
        prompt_of = torch.zeros(len(observed), dtype=torch.int64)
        loss = rpo_loss(*data, tau=1.0, prompt_of=prompt_of, level=level).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    return torch.log_softmax(logits, 0).detach()


@pytest.mark.parametrize("level", [math.inf, 1.0, 0.0])
def test_full_observation_trains_to_the_closed_form(level):
    optimum = double(0.78439876, 0.17313851, 0.04246273)
    logps = trained([0, 1, 2], 200, level)
    assert (optimum * (optimum.log() - logps)).sum().item() < 1e-6
    kl_to_reference = (logps.exp() * (logps - torch.log(double(0.5, 0.3, 0.2)))).sum().item()
    assert kl_to_reference == pytest.approx(0.192245447506, abs=1e-5)


def test_partial_observation_trains_to_the_optimum_restricted_to_it():
    logps = trained([0, 2], 500)
    optimum = double(0.9486459, 0.0513541)
    assert logps[1].exp().item() < 1e-3  # the infimum lies at the boundary
    assert (logps[[0, 2]].exp() - optimum).abs().max().item() < 2e-3


def test_gradient_is_zero_at_the_closed_form_optimum():
    logits = torch.log(double(0.5, 0.3, 0.2)) + double(1, 0, -1)
    logits.requires_grad_()
    reference = torch.log(double(0.5, 0.3, 0.2))
    value = torch.full((3,), 0.549690582760, dtype=torch.float64)
    rpo_loss(torch.log_softmax(logits, 0), reference, double(1, 0, -1), value, tau=1.0).sum().backward()
    assert logits.grad.abs().max().item() < 1e-10


def test_scaling_reward_and_temperature_together_changes_nothing():
    policy, reference, rewards, values, prompt_of = random_problem()
    one = rpo_loss(policy, reference, rewards, values, tau=0.7, prompt_of=prompt_of, level=1.0)
    three = rpo_loss(policy, reference, 3 * rewards, 3 * values, tau=2.1, prompt_of=prompt_of, level=1.0)
    torch.testing.assert_close(one, three)


def test_no_gradient_through_the_value():
    values = double(0.3, 0.3).requires_grad_()
    policy = (REFERENCE + RHO).requires_grad_()
    rpo_loss(policy, REFERENCE, REWARDS, values, tau=1.0).sum().backward()
    assert values.grad is None


def test_a_column_where_a_row_is_meant_is_an_error():
    with unchecked(), pytest.raises(ValueError, match=r"values \(2, 1\)"):
        rpo_loss(REFERENCE, REFERENCE, REWARDS, REWARDS[:, None], tau=1.0)


def test_finite_level_without_prompts_is_an_error():
    with pytest.raises(ValueError, match="needs prompt_of"):
        rpo_loss(REFERENCE, REFERENCE, REWARDS, REWARDS, tau=1.0, level=1.0)


@pytest.mark.parametrize("knobs", [{"tau": 0.0}, {"tau": math.nan}, {"level": -1.0}])
def test_impossible_knobs_are_errors(knobs):
    with pytest.raises(ConfigError):
        RPO(**knobs)


def test_coverage_with_token_means_is_an_error():
    with pytest.raises(ConfigError, match="length_normalize"):
        RPO(estimator="coverage", length_normalize=True)


def test_presets():
    assert RPO.preset("paper") == RPO(tau=1.0, estimator="reference", level=math.inf)
    code = RPO.preset("paper-code", tau=5.0)
    assert (code.tau, code.length_normalize, code.merge_duplicates) == (5.0, True, False)
    with unchecked(), pytest.raises(ConfigError, match="choose from"):
        RPO.preset("papper")


def decided(**knobs) -> RPO:
    """As the trainer decides it on nine rows."""
    _, _, rewards, _, prompt_of = random_problem()
    return RPO(**knobs).resolve(TrainingRows(rewards, rewards, prompt_of))


def test_every_partition_setting_of_rpo_is_one_that_the_partition_knows():
    assert PartitionSettings(**decided().partition()).estimator == "informed"
    assert PartitionSettings(**decided(length_normalize=True, tau=1.0).partition()).estimator == "mean"


def test_what_is_left_to_the_data_cannot_be_asked_for_before_it_is_decided():
    with pytest.raises(ConfigError, match=r"call resolve\(rows\)"):
        RPO().partition()
    assert decided(tau=0.5) == RPO(tau=0.5, estimator="informed", level=1.0)


def test_temperature_gives_the_targets_their_standard_deviation():
    """Rewards (1, 3 | 10, 10, 16): squares within 2 and 24 over 5 − 2 free ones: σ² = 26/3, τ = σ/target_std."""
    rewards, prompt_of = double(1, 3, 10, 10, 16), torch.tensor([0, 0, 1, 1, 1])
    rows = TrainingRows(rewards, rewards, prompt_of)
    assert RPO(target_std=3.0).resolve(rows).tau == pytest.approx(math.sqrt(26 / 3) / 3)
    assert RPO().resolve(rows) == RPO(target_std=TARGET_STD).resolve(rows)
    assert RPO().resolve(rows).resolve(rows) == RPO().resolve(rows)


def test_temperature_of_singletons_comes_from_the_spread_of_all_rewards():
    rewards, objective = double(-1, 1, 1, -1), RPO(target_std=2.0)
    assert objective.resolve(TrainingRows(rewards, rewards, torch.arange(4))).tau == pytest.approx(0.5)
    assert objective.resolve(TrainingRows(rewards * 0, rewards, torch.arange(4))).tau == pytest.approx(0.5)


def test_temperature_of_quantiles_does_not_depend_on_the_unit_of_the_rewards():
    """Ranks of n = 40 responses are uniform: their standard deviation over τ is target_std, whatever the rewards."""
    rewards, prompt_of = torch.randn(80, generator=torch.Generator().manual_seed(0)).double(), torch.arange(80) // 40
    knobs = {"estimator": "quantile", "target_std": 3.0}
    small, large = (RPO(**knobs).resolve(TrainingRows(r, r, prompt_of)) for r in (rewards, 1e6 * rewards))
    assert small.tau == large.tau
    targets = rank_rewards(rewards, prompt_of) / small.tau
    assert float(targets[:40].std()) == pytest.approx(3.0, rel=0.02)


def test_token_means_have_no_default_temperature():
    with pytest.raises(ConfigError, match="Give tau, or target_std in nats per token"):
        RPO(length_normalize=True)
    assert RPO(length_normalize=True, target_std=0.1).target_std == 0.1


def test_the_temperature_is_given_once():
    with pytest.raises(ConfigError, match=r"tau=0.5 and target_std=3 both set the temperature"):
        RPO(tau=0.5, target_std=3.0)
    with pytest.raises(ConfigError, match="target_std is 0"):
        RPO(target_std=0.0)


def inputs(**changes) -> ObjectiveInputs:
    policy, reference, rewards, values, prompt_of = random_problem()
    given = {
        "policy_logps": policy,
        "reference_logps": reference,
        "rewards": rewards,
        "values": values,
        "prompt_of": prompt_of,
        "group_size": torch.bincount(prompt_of)[prompt_of],
        "tokens": torch.arange(1, 10),
    }
    return ObjectiveInputs(**(given | changes))


def test_logged_parts_add_up_to_the_loss():
    for level in (0.0, 1.0, math.inf):
        output = decided(level=level)(inputs())
        parts = output.metrics["loss_within"] + output.metrics["loss_level"]
        torch.testing.assert_close(parts.sum(), output.losses.sum())


def test_length_normalisation_divides_both_scores_by_the_tokens():
    given = inputs()
    normalised = decided(length_normalize=True, tau=0.5)(given)
    means = {"policy_logps": given.policy_logps / given.tokens, "reference_logps": given.reference_logps / given.tokens}
    torch.testing.assert_close(normalised.losses, decided(tau=0.5)(inputs(**means)).losses)
