"""DRO-V: hand-worked values, gradients on policy and value, and its proportion to RPO's."""

import pytest
import torch

from valuefree.errors import ConfigError
from valuefree.objectives import DRO, ObjectiveInputs, dro_loss, rpo_loss


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_value_and_gradients_by_hand():
    """r 1, V ¼, τ ½, ρ ½: residual 1 − ¼ − ¼ = ½; loss ⅛; on ρ −τ·½ = −¼; on V −½."""
    rho, value = double(0.5).requires_grad_(), double(0.25).requires_grad_()
    loss = dro_loss(rho, double(0.0), double(1.0), value, tau=0.5)
    loss.sum().backward()
    assert (loss.item(), rho.grad.item(), value.grad.item()) == pytest.approx((0.125, -0.25, -0.5))


@pytest.mark.parametrize("tau", [0.2, 1.0, 3.0])
def test_gradients_of_rpo_dro_and_rescaled_dro_are_as_1_tau_squared_tau(tau):
    """With the same V: δ = ρ − (r − V)/τ against −τ(r − V − τρ) = τ²δ; DRO-V's authors multiply that by 1/τ."""
    data = [torch.randn(7, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in range(4)]

    def gradient(loss) -> torch.Tensor:
        policy = data[0].clone().requires_grad_()
        loss(policy, *data[1:], tau=tau).sum().backward()
        return policy.grad

    rpo, dro = gradient(rpo_loss), gradient(dro_loss)
    torch.testing.assert_close(dro, tau**2 * rpo)
    rate = DRO(tau=tau).learning_rates(1.0)
    torch.testing.assert_close(rate["policy"] * dro, tau * rpo)


def test_learning_rates_of_both_networks():
    assert DRO(tau=0.5).learning_rates(0.1) == {"policy": 0.2, "value": 0.1}
    assert DRO(tau=0.5, rescale=False, value_lr=0.3).learning_rates(0.1) == {"policy": 0.1, "value": 0.3}


def test_preset_of_the_papers_code_shares_the_encoder_and_takes_token_means():
    """ρ 3 over 2 tokens is 1.5 per token; r 1, V 0, τ 1: ½·(1 − 1.5)² = 0.125."""
    objective = DRO.preset("paper-code")
    assert objective.value_network() == {"shared_encoder": True}
    zero = double(0.0)
    index = torch.tensor([0])
    given = ObjectiveInputs(double(3.0), torch.tensor([2]), double(1.0), index, index + 1, zero, value_outputs=zero)
    assert objective(given).losses.item() == pytest.approx(0.125)
    assert DRO() == DRO(shared_encoder=False, length_normalize=False, rescale=True)


def test_contradictions_are_errors():
    with pytest.raises(ConfigError, match="value_lr and shared_encoder"):
        DRO(value_lr=1.0, shared_encoder=True)
    with pytest.raises(ConfigError, match="tau"):
        DRO(tau=0.0)
