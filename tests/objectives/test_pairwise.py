"""DPO, IPO, SLiC: hand-worked values, pairs within a prompt, and pairs cut over micro-batches."""

import math

import pytest
import torch

from valuefree.errors import ConfigError
from valuefree.objectives import (
    DPO,
    IPO,
    ObjectiveInputs,
    SLiC,
    TrainingRows,
    dpo_loss,
    ipo_loss,
    pairs_within,
    slic_loss,
)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_losses_by_hand():
    """DPO at βΔ = log 3: −log ¾. IPO at β ½, Δ 3: (3 − 1)² = 4. SLiC at β ½, Δ ½: 1 − ¼; none above the margin."""
    assert dpo_loss(double(math.log(3)), double(-math.log(3)), beta=0.5).item() == pytest.approx(math.log(4 / 3))
    assert ipo_loss(double(2), double(-1), beta=0.5).item() == pytest.approx(4.0)
    assert slic_loss(double(0.5, 5), double(0, 0), beta=0.5).tolist() == pytest.approx([0.75, 0.0])


REWARDS = double(1, 3, 5, 2, 3, 5)  # prompts 0: (1, 3, 2), 1: (5, 5), 2: (3)
PROMPTS = torch.tensor([0, 0, 1, 0, 2, 1])


@pytest.mark.parametrize(
    ("pairing", "expected"),
    [("best_worst", {(1, 0)}), ("all", {(1, 0), (1, 3), (3, 0)}), ("adjacent", {(1, 3), (3, 0)})],
)
def test_pairs_within_prompts_and_none_of_equals(pairing, expected):
    chosen, rejected = pairs_within(REWARDS, PROMPTS, pairing)
    assert set(zip(chosen.tolist(), rejected.tolist(), strict=True)) == expected


def test_of_equals_the_first_is_best_and_the_last_is_worst():
    chosen, rejected = pairs_within(double(0, 2, 2, 0), torch.zeros(4, dtype=torch.int64), "best_worst")
    assert (chosen.tolist(), rejected.tolist()) == ([1], [3])


def rows(rewards=REWARDS, prompts=PROMPTS, **columns) -> TrainingRows:
    return TrainingRows(rewards, rewards, prompts, columns)


def test_rows_without_a_pair_are_left_out_and_rows_sum_to_pairs():
    objective = DPO(pairs="all")
    assert objective.select(rows()).tolist() == [True, True, False, True, False, False]
    assert objective.precompute(rows())["pairs"].tolist() == [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    with pytest.raises(ConfigError, match="DPO finds no pair in 2 rows"):
        objective.select(rows(double(1, 2), torch.tensor([0, 1])))


def test_pairs_of_the_user_come_before_those_of_the_prompts():
    pair_id = torch.tensor([8, 9, 7, 9, 6, 7])  # rows 1 and 3; 2 and 5 are equal; 0 and 4 stand alone
    objective = DPO(pairs="all")
    assert objective.select(rows(pair_id=pair_id)).tolist() == [False, True, False, True, False, False]
    with pytest.raises(ConfigError, match="1 pairs of pair_id join responses to unlike prompts"):
        objective.select(rows(pair_id=torch.tensor([1, 2, 1, 3, 4, 5])))


def test_the_log_counts_pairs_and_says_which():
    """Prompt 0 has three rewards, prompt 1 two, prompt 2 one response: 1 + 1 pairs, and 3 + 1 of every two."""
    data = rows(double(2, 1, 0, 5, 4, 3), torch.tensor([0, 0, 0, 1, 1, 2]))
    said = {pairs: DPO(pairs=pairs).selection(data, DPO(pairs=pairs).select(data)) for pairs in ("best_worst", "all")}
    assert said == {
        "best_worst": "2 pairs: the best response to each prompt against the worst; 2 of 6 rows are in no pair and are "
        "not used",
        "all": "4 pairs: every two responses to a prompt with different rewards; 1 of 6 rows are in no pair and are "
        "not used",
    }


def test_pairs_of_one_text_twice_are_left_out_and_counted(caplog):
    """Prompt 0: rows 0 and 1 are one text with rewards 2 and 1, so best against worst is 0 against 1: no pair."""
    rewards, prompts = double(2, 1, 3, 0), torch.tensor([0, 0, 1, 1])
    texts = torch.tensor([5, 5, 6, 7])
    objective = DPO()
    assert objective.select(rows(rewards, prompts, response=texts)).tolist() == [False, False, True, True]
    assert "1 pair left out: both responses are the same text" in caplog.text
    assert "trains on 1 pair: too few" in caplog.text
    assert objective.precompute(rows(rewards, prompts, response=texts))["pairs"].tolist() == [0, 0, 0.5, 0.5]
    with pytest.raises(ConfigError, match="no prompt has two different responses"):
        objective.select(rows(double(2, 1), prompts[:2], response=texts[:2]))


def test_more_than_a_few_pairs_are_no_warning(caplog):
    rewards, prompts = double(*[1, 0] * 11), torch.arange(11).repeat_interleave(2)
    DPO().select(rows(rewards, prompts))
    assert caplog.text == ""


def given(
    rho: torch.Tensor, order: list[int], values: dict[str, torch.Tensor], rewards: torch.Tensor
) -> ObjectiveInputs:
    prompts = torch.zeros(len(order), dtype=torch.int64)
    return ObjectiveInputs(
        rho,
        torch.tensor([2, 3, 4, 5])[order],
        rewards[order],
        prompts,
        prompts + 4,
        torch.zeros_like(rho),
        columns={name: value[order] for name, value in values.items()},
    )


@pytest.mark.parametrize(
    "objective", [DPO(pairs="all"), DPO(pairs="adjacent"), IPO(pairs="all"), SLiC(pairs="adjacent")]
)
@pytest.mark.parametrize("rewards", [double(3, 1, 2, 4), double(2, 1, 1, 0)], ids=["unlike", "ties"])
def test_a_prompt_cut_over_two_micro_batches_has_the_gradient_of_the_whole(objective, rewards):
    """Each half sees all four rows, its own with gradient and first; rows stand in another order in each."""
    prompts = torch.zeros(4, dtype=torch.int64)
    values = objective.precompute(rows(rewards, prompts))
    start = double(0.3, -0.2, 0.5, 0.1)
    whole = start.clone().requires_grad_()
    losses = objective(given(whole, [0, 1, 2, 3], values, rewards)).losses
    losses.sum().backward()
    gradient, total = torch.zeros(4, dtype=torch.float64), 0.0
    for own, rest in (([2, 0], [1, 3]), ([3, 1], [2, 0])):
        part = start[own].clone().requires_grad_()
        output = objective(given(torch.cat([part, start[rest]]), own + rest, values, rewards))
        output.losses[:2].sum().backward()
        gradient[own] += part.grad
        total += float(output.losses[:2].detach().sum())
    torch.testing.assert_close(gradient, whole.grad)
    assert total == pytest.approx(float(losses.detach().sum()))
    assert float(values["pairs"].sum()) == len(pairs_within(rewards, prompts, objective.pairs)[0])
