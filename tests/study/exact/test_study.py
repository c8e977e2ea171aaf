"""The study: what training reaches, controls, rows of failures, repeatability, tables and the command."""

import csv
import math
from dataclasses import replace

import pytest
import torch

from valuefree.cli import run as command
from valuefree.errors import ConfigError
from valuefree.study.exact.grid import Scale, Task, anchors, carry_out
from valuefree.study.exact.methods import BETAS, BY_NAME, METHODS, TAUS
from valuefree.study.exact.policies import Batch
from valuefree.study.exact.problems import Regime, make_problem
from valuefree.study.exact.tables import difference, gains, regime_table, survivors, verdicts
from valuefree.study.exact.training import train
from valuefree.study.exact.world import WorldSettings

WORLD = WorldSettings(length=5, alphabet=3, features=2)
REGIME = Regime("clean", prompts=48)
SCALE = Scale(seeds=2, learning_rates=(0.01, 0.03), points=2, checkpoints=(5, 20), held_out=16)


def task(method: str, regime: Regime = REGIME, **changes) -> Task:
    return Task(regime, method, (7, 8), WORLD, SCALE, **({"control": False} | changes))


def reached(method: str, steps: int = 300, **changes) -> float:
    """J* − J on validation prompts of one world, at τ = 1 and after many steps."""
    batch = Batch([make_problem(WORLD, replace(REGIME, **changes), 3)])
    return float(train(batch, BY_NAME[method], 1.0, [0.03], [steps]).outcomes["validation"][0].gap)


def test_oracle_and_centred_form_reach_the_optimum_and_eq_19_does_not():
    assert reached("RPO, oracle V*") < 1e-4
    assert reached("RPO centred (level 0)") < 1e-4
    assert reached("RPO paper (eq. 19)") > 0.05


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_every_method_trains(method):
    rows = carry_out(task(method))
    assert [row["error"] for row in rows] == [None] * len(rows)
    assert len(rows) == 2 * 2 * 2  # points, learning rates, seeds
    assert sum(row["chosen"] for row in rows) == 2
    assert all(math.isfinite(row["gap"]) and row["gap"] > -1e-9 for row in rows)


def test_every_method_has_equally_many_points():
    assert {len(method.strengths) for method in METHODS} == {len(TAUS)} == {len(BETAS)}


def test_a_seed_does_not_depend_on_which_others_are_run_beside_it():
    alone = train(Batch([make_problem(WORLD, REGIME, 8)]), BY_NAME["DRO-V"], 1.0, [0.03], [10])
    together = Batch([make_problem(WORLD, REGIME, seed) for seed in (7, 8)])
    both = train(together, BY_NAME["DRO-V"], 1.0, [0.01, 0.03], [10])
    ours, theirs = alone.outcomes["test"][0].gap[0, 0], both.outcomes["test"][0].gap[1, 1]
    assert float(ours) == pytest.approx(float(theirs), rel=1e-4)


def test_a_task_twice_gives_the_same_rows():
    first, second = ([row | {"seconds": 0} for row in carry_out(task("KTO"))] for _ in range(2))
    assert first == second


def test_shuffling_permutes_rewards_within_prompts():
    true, shuffled = (make_problem(WORLD, REGIME, 5, shuffle=flag).rewards for flag in (False, True))
    assert not torch.equal(true, shuffled)
    assert torch.equal(true.sort(dim=1).values, shuffled.sort(dim=1).values)


def test_without_true_rewards_the_centred_form_gains_nothing():
    rows = carry_out(task("RPO centred (level 0)", control=True)) + anchors(task(""))[0]
    true, shuffled = (gains(rows, "clean", "RPO centred (level 0)", control=control) for control in (False, True))
    assert true.value > 0.1
    assert abs(shuffled.value) < 0.5 * true.value
    assert survivors(rows, "clean", ["RPO centred (level 0)"]) == []


def test_a_method_whose_gain_survives_the_shuffle_is_named():
    row = {"regime": "r", "error": None, "gap": 0.1, "chosen": True}
    rows = [row | {"method": "π_ref", "seed": seed, "control": False, "reward": 0.0} for seed in (0, 1)]
    rows += [row | {"method": "m", "seed": seed, "control": False, "reward": 0.4 + 0.01 * seed} for seed in (0, 1)]
    rows += [row | {"method": "m", "seed": seed, "control": True, "reward": 0.3 + 0.001 * seed} for seed in (0, 1)]
    assert survivors(rows, "r", ["m"]) == ["m"]


def test_a_method_that_cannot_run_is_a_row_with_its_reason():
    rows = carry_out(task("DPO best-worst", replace(REGIME, responses=1)))
    assert [row["gap"] for row in rows] == [None, None]
    assert "no pair" in rows[0]["error"]
    assert "no pair" in regime_table(rows, "clean", ["DPO best-worst"])


def test_differences_are_paired_by_seed():
    """(.3 − .1, .5 − .2): mean .25, Student's t at one degree of freedom 12.706 × .05."""
    row = {"regime": "r", "error": None, "control": False, "chosen": True, "reward": 0.0}
    rows = [row | {"method": m, "seed": s, "gap": g} for m, s, g in [("a", 0, 0.3), ("a", 1, 0.5), ("b", 0, 0.1)]]
    assert difference(rows, "r", "a", "b") is None  # seed 1 is missing on one side
    rows.append(row | {"method": "b", "seed": 1, "gap": 0.2})
    found = difference(rows, "r", "a", "b")
    assert found.value == pytest.approx(0.25)
    assert found.interval == pytest.approx((0.25 - 12.7062 * 0.05, 0.25 + 12.7062 * 0.05), abs=1e-3)


def test_a_loss_of_the_default_is_printed_as_a_loss():
    row = {"regime": "r", "error": None, "control": False, "chosen": True, "reward": 0.0}
    rows = [row | {"method": "RPO()", "seed": s, "gap": 0.30 + 0.001 * s} for s in range(3)]
    rows += [row | {"method": "DRO-V", "seed": s, "gap": 0.20} for s in range(3)]
    assert "NO (**+0.101" in verdicts(rows, ["r"])


def test_the_command_writes_rows_figures_and_page(tmp_path, capsys):
    flags = "--methods RPO();SFT_all --seeds 2 --prompts 16 --length 4 --alphabet 3 --features 2 --noise 0,1 --quick"
    words = [word.replace("_", " ") for word in flags.split()]
    command(["study", "exact", *words, "--workers", "1", "--out", str(tmp_path)])
    rows = list(csv.DictReader((tmp_path / "rows.csv").open(encoding="utf-8")))
    assert {row["regime"] for row in rows} == {"n = 4, noise 0, tilt 0", "n = 4, noise 1, tilt 0"}
    page = (tmp_path / "exact.md").read_text(encoding="utf-8")
    assert "| RPO() |" in page
    assert "Student's 95 % intervals" in page
    assert (tmp_path / "exact" / "frontier.svg").stat().st_size > 1000
    assert (tmp_path / "exact" / "kl.png").exists()
    assert "page:" in capsys.readouterr().out


def test_unknown_methods_and_axes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="RPO mean, level 1"):
        command(["study", "exact", "--methods", "RPO mean, level", "--out", str(tmp_path)])
    with pytest.raises(ConfigError, match="numbers by comma"):
        command(["study", "exact", "--noise", "much", "--out", str(tmp_path)])


@pytest.mark.parametrize("options", [{"structure": "markov"}, {"reward": "saturating"}])
def test_other_worlds_train_too(options):
    world = replace(WORLD, **options)
    batch = Batch([make_problem(world, REGIME, 2)])
    gap = train(batch, BY_NAME["RPO centred (level 0)"], 1.0, [0.03], [100]).outcomes["test"][0].gap
    start = train(batch, BY_NAME["RPO centred (level 0)"], 1.0, [0.03], [1]).outcomes["test"][0].gap
    assert float(gap) < 0.5 * float(start)
