"""NCA: hand-worked values, and its optimum, which is RPO's Monte Carlo target."""

import math

import pytest
import torch

from valuefree.objectives import nca_loss
from valuefree.partition import partition_values


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_two_responses_by_hand():
    """r/τ = (log 3, 0): softmax (¾, ¼); at ρ = 0 every log σ is −log 2: (¾ + ½)·log 2 and (¼ + ½)·log 2."""
    zero, one = double(0, 0), torch.zeros(2, dtype=torch.int64)
    losses = nca_loss(zero, zero, 0.5 * double(math.log(3), 0), one, tau=0.5)
    assert losses.tolist() == pytest.approx([1.25 * math.log(2), 0.75 * math.log(2)])


def test_the_gradient_is_bounded():
    """softmax·σ(−ρ) ≤ 1 and σ(ρ)/n ≤ 1, of opposite signs, however large ρ and r are."""
    rho = double(-1e4, 1e4, 3.0).requires_grad_()
    zero = torch.zeros(3, dtype=torch.float64)
    nca_loss(rho, zero, double(1e6, -1e6, 0), torch.zeros(3, dtype=torch.int64), tau=0.1).sum().backward()
    assert rho.grad.tolist() == pytest.approx([-1.0, 1 / 3, 1 / 3 / (1 + math.exp(-3))])


def test_its_optimum_is_the_target_under_monte_carlo():
    """ρ* = (r − V̂)/τ with V̂ = τ log (1/n) Σ e^{r/τ}, found by gradient descent on groups of 3 and 2."""
    prompt_of = torch.tensor([0, 0, 1, 0, 1])
    rewards, tau = double(0.3, -0.4, 0.2, 0.9, 0.7), 0.5
    zero = torch.zeros(5, dtype=torch.float64)
    rho = zero.clone().requires_grad_()
    for _ in range(4000):
        (gradient,) = torch.autograd.grad(nca_loss(rho, zero, rewards, prompt_of, tau=tau).sum(), rho)
        rho = (rho - 3.0 * gradient).detach().requires_grad_()
    values = partition_values(rewards, zero, prompt_of, tau=tau, estimator="monte_carlo")
    torch.testing.assert_close(rho.detach(), (rewards - values[prompt_of]) / tau, atol=1e-9, rtol=0)
