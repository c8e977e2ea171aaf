"""KTO: hand-worked values, what is desirable, and the two baselines."""

import pytest
import torch

from valuefree.errors import ConfigError
from valuefree.objectives import KTO, ObjectiveInputs, TrainingRows, kto_loss

ZERO = torch.zeros(2, dtype=torch.float64)
LIKED = torch.tensor([True, False])


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_both_kinds_by_hand():
    """β 2, ρ 1, z₀ ½: β(ρ − z₀) = 1; λ_D(1 − σ(1)) = 3·0.268941 and λ_U(1 − σ(−1)) = 0.731059."""
    losses = kto_loss(double(1, 1), ZERO, LIKED, double(0.5)[0], beta=2.0, desirable_weight=3.0)
    assert losses.tolist() == pytest.approx([3 * 0.2689414214, 0.7310585786])


def given(rho: torch.Tensor, **changes) -> ObjectiveInputs:
    index = torch.zeros(len(rho), dtype=torch.int64)
    return ObjectiveInputs(rho, index + 2, rho, index, index + 1, torch.zeros_like(rho), **changes)


def test_a_mismatched_baseline_is_clamped_at_zero_and_takes_no_gradient():
    rho = double(1, 1).requires_grad_()
    negative = rho.sum() - 5
    output = KTO(beta=2.0)(given(rho, step_inputs={"kl_estimate": negative}, columns={"desirable": LIKED}))
    assert output.metrics["kl_estimate"].tolist() == [0.0, 0.0]
    expected = kto_loss(rho, ZERO, LIKED, double(0.0)[0], beta=2.0)
    torch.testing.assert_close(output.losses, expected)
    output.losses.sum().backward()
    # dσ(2)/dρ = 2·σ(2)(1 − σ(2)) = 0.20998717; a thumbs-up pulls up, a thumbs-down pushes down.
    assert rho.grad.tolist() == pytest.approx([-0.2099871708, 0.2099871708])


def rows(rewards: list[float], **columns) -> TrainingRows:
    values = double(*rewards)
    return TrainingRows(values, values, torch.arange(len(values)), columns)


def test_desirable_is_above_the_mean_of_the_training_rows_for_other_rows_too():
    objective = KTO().resolve(rows([0.0, 1.0, 2.0]))
    assert objective.threshold == 1.0
    assert objective.precompute(rows([1.0, 1.5, 7.0]))["desirable"].tolist() == [False, True, True]
    assert KTO(threshold=1.5).resolve(rows([0.0, 1.0, 2.0])).threshold == 1.5


def test_the_log_says_how_many_rows_are_desirable_and_why(caplog):
    caplog.set_level("INFO")
    KTO().resolve(rows([0.0, 1.0, 2.0]))
    KTO(kl_estimate="matched").resolve(rows([0.0, 1.0, 2.0]))
    KTO().resolve(rows([0.0, 1.0, 2.0], desirable=torch.tensor([1, 0, 1])))
    assert caplog.messages == [
        "KTO: 1 of 3 rows are desirable, those with a reward above 1 (--threshold)",
        "KTO: 2 of 3 rows are desirable, those with a reward of at least 1 (--threshold)",
        "KTO: 2 of 3 rows are desirable, by the column 'desirable'",
    ]


def test_a_column_of_the_data_comes_before_the_rewards():
    marked = rows([0.0, 1.0, 2.0], desirable=torch.tensor([1, 0, 1]))
    assert KTO().resolve(marked).precompute(marked)["desirable"].tolist() == [True, False, True]


@pytest.mark.parametrize(("rewards", "kind"), [([1.0, 1.0], "no"), ([3.0, 4.0], "all")])
def test_rows_of_one_kind_are_an_error_in_training_alone(rewards, kind):
    objective = KTO(threshold=2.0)
    with pytest.raises(ConfigError, match=f"threshold 2 makes {kind} rows desirable"):
        objective.resolve(rows(rewards))
    assert len(objective.precompute(rows(rewards))["desirable"]) == 2


@pytest.mark.parametrize(("marks", "kind"), [([True, True], "all"), ([False, False], "no")])
def test_a_column_of_one_kind_is_an_error_in_training_alone(marks, kind):
    marked = rows([0.0, 1.0], desirable=torch.tensor(marks))
    with pytest.raises(ConfigError, match=f"column 'desirable' marks {kind} rows desirable"):
        KTO().resolve(marked)
    assert KTO().precompute(marked)["desirable"].tolist() == marks


def test_preset_of_the_papers_code():
    """Token means (4, 0)/2 = (2, 0), z₀ their mean 1, β 1: 1 − σ(1) both for the liked and, −1 below z₀, the other.

    A reward at the mean is desirable.
    """
    objective = KTO.preset("paper-code")
    assert "kl_estimate" not in objective.requires
    output = objective(given(double(4, 0), columns={"desirable": LIKED}))
    assert output.metrics["kl_estimate"].tolist() == [1.0, 1.0]
    assert output.losses.tolist() == pytest.approx([0.2689414214, 0.2689414214])
    negative = objective(given(double(-4, 0), columns={"desirable": LIKED}))
    assert negative.metrics["kl_estimate"].tolist() == [-1.0, -1.0]  # not clamped
    data = rows([0.0, 1.0, 2.0])
    assert objective.resolve(data).precompute(data)["desirable"].tolist() == [False, True, True]
    assert (KTO().beta, KTO().kl_estimate, KTO().length_normalize) == (0.1, "mismatched", False)
    with pytest.raises(ConfigError, match="goes with kl_estimate='matched'"):
        KTO(length_normalize=True)
