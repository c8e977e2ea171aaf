"""The exact world: its rows, gains and KL against computations of their own, and policies at a given KL."""

import numpy as np
import pytest
import torch

from studies.exact.world import kl_divergence, make_prompts, optimum
from studies.learned.cells import Cell
from studies.learned.coverage import CoverageCell, CoverageScale, at_kl, measure_cell, summary
from studies.learned.exact import ExactScale, WorldSettings, draw, gains_of, policy_of, problem_of, rows_at
from studies.learned.exact import measure_cell as measure_exact
from studies.learned.grid import (
    CHOOSING_SEED,
    LABELS,
    Scale,
    choosing_cells,
    default_lr,
    reported_cells,
    smollm2_cells,
)

TINY = ExactScale(
    train_prompts=24,
    report_prompts=24,
    training_prompts=8,
    steps=(2, 4),
    lrs=(0.003, 0.01),
    strengths=(0.5, 1.0, 2.0),
    world=WorldSettings(length=4, alphabet=3, features=2),
)
CELL = Cell("exact", "RPO()", 0.01, 0)


def test_the_curve_has_checkpoints_at_strength_1_and_strengths_at_the_end():
    curve = measure_exact(CELL, TINY)
    assert [(point["step"], point["scale"]) for point in curve] == [(2, 1.0), (4, 0.5), (4, 1.0), (4, 2.0)]
    assert curve[0]["tau"] > 0
    assert "tau" not in curve[1]
    assert measure_exact(CELL, TINY) == curve
    kls = [np.mean(point["kls"]) for point in curve[1:]]
    assert kls == sorted(kls)
    assert len(curve[0]["report"]["rewards"]) == 96
    assert len(curve[0]["training"]["rewards"]) == 32


def test_shuffled_rewards_are_those_of_the_training_rows_alone():
    plain, shuffled = (problem_of(Cell("exact", "RPO()", 0.01, 0, flag), TINY) for flag in (False, True))
    assert not torch.equal(plain.rewards, shuffled.rewards)
    assert torch.equal(plain.rewards.sort(dim=1).values, shuffled.rewards.sort(dim=1).values)
    prompts = plain.yardsticks["test"].prompts
    assert torch.equal(draw(plain, prompts, 0)[1], draw(shuffled, prompts, 0)[1])


def test_gains_and_weights_agree_with_sums_over_all_responses():
    """81 responses of 4 tokens of 3: E_policy r − E_reference r, and log-ratios from the two tables."""
    problem = problem_of(CELL, TINY)
    prompts = problem.yardsticks["test"].prompts
    policy = policy_of(torch.randn(2, 4, 1, 3, generator=torch.Generator().manual_seed(0)), prompts)
    tokens = torch.cartesian_prod(*[torch.arange(3)] * 4).expand(24, -1, -1)
    own, reference, reward = (
        table[:, :, 0].gather(2, tokens.transpose(1, 2)).sum(1) for table in (policy, prompts.reference, prompts.reward)
    )
    expected = ((own.exp() - reference.exp()) * reward).sum(1)
    assert gains_of(policy, prompts).tolist() == pytest.approx(expected.tolist())
    rows = rows_at(policy, prompts, tokens, reward)
    assert rows.logratios.tolist() == pytest.approx((own - reference).flatten().tolist())
    weighted = (np.exp(rows.logratios.reshape(24, -1)) * reference.exp().numpy()).sum(1)
    assert weighted.tolist() == pytest.approx([1.0] * 24)


def test_a_policy_is_found_at_a_kl():
    pool = make_prompts(problem_of(CELL, TINY).world, 50, seed=0, part="probe")
    policy = at_kl(lambda size: optimum(pool.reference, size * pool.reward, 1.0)[0], pool.reference, 0.25)
    assert float(kl_divergence(policy, pool.reference).mean()) == pytest.approx(0.25, rel=1e-3)


def test_coverage_counts_data_sets():
    scale = CoverageScale((20,), replicates=3, pool=40, exact=TINY)
    found = measure_cell(CoverageCell(0, 20), scale)
    assert len(found) == 12
    assert all(point["data_sets"] == 3 and 0 <= point["covered_printed"] <= point["printed"] <= 3 for point in found)
    aimed = next(point for point in found if point["policy"] == "optimum" and point["kl"] == 0.5)
    aside = next(point for point in found if point["policy"].startswith("independent") and point["kl"] == 0.5)
    assert aimed["truth"] > abs(aside["truth"])


def test_coverage_by_hand():
    """Truth .5. Data sets: held; interval above it; refused for its share; refused for its mean weight, held."""
    results = [[0.5, 0.4, 0.6, 0.9, 0, 0], [0.7, 0.6, 0.8, 0.9, 0, 0], [0.1, 0, 0.2, 0.1, 1, 1], [0.5, 0, 1, 0.8, 0, 1]]
    found = summary("optimum", 0.1, 0.5, np.array(results))
    names = ("enough", "covered_enough", "above_enough", "below_enough", "printed", "covered_printed", "covered")
    assert [found[name] for name in names] == [3, 2, 1, 0, 2, 1, 2]
    assert found["bias"] == pytest.approx(-0.05)


def test_cells_of_the_grid():
    """6 methods × 3 rates and one shuffled run: per seed 19 of exact, and of small 19 per kind of model."""
    scale = Scale()
    assert len(reported_cells("exact", 5, scale)) == 95
    assert len(reported_cells("small", 2, scale)) == 76
    chosen = choosing_cells("small", 1, scale)
    assert {(cell.world, cell.seed) for cell in chosen} == {("small-t5", CHOOSING_SEED)}
    assert not {*chosen} & {*reported_cells("small", 5, scale)}
    assert {cell.label for cell in chosen} == {*LABELS}
    assert len({cell.name for cell in smollm2_cells(5)}) == 5
    assert default_lr("smollm2", scale) == 5e-4
    assert default_lr("exact", scale) == 0.003
