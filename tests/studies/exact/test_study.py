"""The study: what training reaches, controls, rows of failures, repeatability, tables and the command."""

import csv
import math
from dataclasses import replace

import pytest
import torch

from studies.__main__ import run as run_command
from studies.exact.grid import Scale, Task, anchors, carry_out
from studies.exact.methods import BETAS, BY_NAME, METHODS, TAUS
from studies.exact.policies import Batch
from studies.exact.problems import Regime, make_problem
from studies.exact.summary import edges, summary, verdicts
from studies.exact.tables import control_table, difference, gains, regime_table, unused, used
from studies.exact.training import train
from studies.exact.world import WorldSettings
from valuefree.errors import ConfigError
from valuefree.objectives import DPO, KTO, RPO

WORLD = WorldSettings(length=5, alphabet=3, features=2)
REGIME = Regime("clean", prompts=48)
SCALE = Scale(seeds=2, learning_rates=(0.01, 0.03), points=2, checkpoints=(5, 20), held_out=16)


def task(method: str, regime: Regime = REGIME, **changes) -> Task:
    return Task(regime, method, (7, 8), WORLD, SCALE, **({"control": False} | changes))


def reached(method: str, steps: int = 300, **changes) -> float:
    """J* − J on validation prompts of one world, at τ = 1 and after many steps."""
    batch = Batch([make_problem(WORLD, replace(REGIME, **changes), 3)])
    return float(train(batch, BY_NAME[method], 1.0, [0.03], [steps]).outcomes["validation"][0].gap)


def table_of(rows, *methods) -> str:
    grids = {m: {"knob": BY_NAME[m].strengths, "lr": SCALE.learning_rates, "steps": SCALE.checkpoints} for m in methods}
    return regime_table(rows, rows[0]["regime"], methods, grids)


def test_oracle_and_centred_form_reach_the_optimum_and_eq_19_does_not():
    assert reached("RPO, oracle V*") < 1e-4
    assert reached("RPO centred (level 0)") < 1e-4
    assert reached("RPO paper (eq. 19)") > 0.05


@pytest.mark.parametrize("method", [method.name for method in METHODS])
def test_every_method_trains(method):
    rows = carry_out(task(method))
    assert [row["error"] for row in rows] == [None] * len(rows)
    assert len(rows) == min(2, len(BY_NAME[method].strengths)) * 2 * 2  # points, learning rates, seeds
    assert sum(row["chosen"] for row in rows) == 2
    assert all(math.isfinite(row["gap"]) and row["gap"] > -1e-9 for row in rows)


def test_every_method_has_equally_many_points():
    assert {len(method.strengths) for method in METHODS if method.knob} == {len(TAUS)} == {len(BETAS)}


@pytest.mark.parametrize(("name", "kind"), [("RPO", RPO), ("KTO", KTO), ("DPO", DPO)])
def test_an_untouched_row_is_the_literal_default(name, kind, monkeypatch):
    """Whatever `resolve` decides is what trains: the study has no rule of its own."""
    method = BY_NAME[f"{name}(), untouched"]
    assert method.strengths == (None,)
    assert method.objective(None, on_policy=True) == kind()
    if kind is RPO:
        monkeypatch.setattr(RPO, "resolved", lambda self, rows: replace(self, estimator="mean", level=1.0, tau=0.25))
        rows = carry_out(task(method.name)) + anchors(task(""))[0]
        unit = float(make_problem(WORLD, REGIME, 7).rewards.std(correction=0))
        assert rows[0]["tau"] == pytest.approx(0.25 * unit)
        assert rows[0]["strength"] is None
        assert f"as shipped (τ {(rows[0]['tau'] + rows[1]['tau']) / 2:.2f})" in table_of(rows, method.name)


def test_names_say_whether_a_knob_was_tuned():
    for method in METHODS:
        assert ("untouched" in method.name) == (method.knob is None) == ("()" in method.name), method.name
    assert BY_NAME["RPO, tau tuned"].objective(0.3, on_policy=True) == RPO(tau=0.3)


def test_a_seed_does_not_depend_on_which_others_are_run_beside_it():
    alone = train(Batch([make_problem(WORLD, REGIME, 8)]), BY_NAME["DRO-V"], 1.0, [0.03], [10])
    together = Batch([make_problem(WORLD, REGIME, seed) for seed in (7, 8)])
    both = train(together, BY_NAME["DRO-V"], 1.0, [0.01, 0.03], [10])
    ours, theirs = alone.outcomes["test"][0].gap[0, 0], both.outcomes["test"][0].gap[1, 1]
    assert float(ours) == pytest.approx(float(theirs), rel=1e-4)


def test_a_task_twice_gives_the_same_rows():
    first, second = ([row | {"seconds": 0} for row in carry_out(task("KTO"))] for _ in range(2))
    assert first == second


def test_a_control_permutes_the_rewards_and_nothing_else():
    true, shuffled = (make_problem(WORLD, REGIME, 5, control=control) for control in (None, "within"))
    assert not torch.equal(true.rewards, shuffled.rewards)
    assert torch.equal(true.rewards.sort(dim=1).values, shuffled.rewards.sort(dim=1).values)
    assert torch.equal(true.tokens, shuffled.tokens)
    assert torch.equal(true.sampled, shuffled.sampled)


def test_without_true_rewards_the_centred_form_gains_nothing_and_without_the_means_all():
    """The centred form compares a prompt's responses alone."""
    centred = "RPO centred (level 0)"
    rows = carry_out(task(centred, control=True)) + anchors(task(""))[0]
    true, within, between, both = (
        gains(rows, "clean", centred, control=c) for c in (None, "within", "between", "both")
    )
    assert true.value > 0.1
    assert max(abs(within.value), abs(both.value)) < 0.5 * true.value
    assert between.value > 0.7 * true.value
    found = used(rows, "clean", centred, "within")
    assert found.value == pytest.approx(true.value - within.value)


def test_sft_on_everything_does_not_use_the_rewards():
    rows = carry_out(task("SFT all", control=True)) + anchors(task(""))[0]
    for control in ("within", "between", "both"):
        assert unused(rows, "clean", ["SFT all"], control) == ["SFT all"]
    assert control_table(rows, "clean", ["SFT all"]).count("| +0.000 |") == 3


def test_with_one_response_the_exchange_between_prompts_is_run():
    rows = carry_out(task("RPO V=0, level inf", replace(REGIME, responses=1), control=True))
    assert {row["control"] for row in rows} == {None, "between"}


def by_hand(method, gap, reward=(0.0, 0.0, 0.0), control=None, **changes):
    """Three seeds in regime r."""
    row = {"regime": "r", "error": None, "chosen": True, "gap_end": 0.5, "method": method, "control": control}
    return [
        row | {"seed": s, "gap": g, "reward": r} | changes for s, (g, r) in enumerate(zip(gap, reward, strict=True))
    ]


def test_a_gain_that_falls_when_rewards_are_permuted_has_used_them():
    """From .58 to .36: more than half survives, and yet the difference is clear. From .58 to .57 it is not."""
    gap = (0.1, 0.1, 0.1)
    rows = by_hand("π_ref", gap)
    rows += by_hand("best", gap, (0.58, 0.57, 0.59)) + by_hand("best", gap, (0.36, 0.36, 0.37), "both")
    rows += by_hand("all", gap, (0.58, 0.57, 0.59)) + by_hand("all", gap, (0.57, 0.58, 0.57), "both")
    rows += by_hand("RPO(), untouched", gap, (0.9, 0.9, 0.9)) + by_hand("RPO(), untouched", gap, control="both")
    assert unused(rows, "r", ["best", "all"], "both") == ["all"]
    text = summary(
        rows, ["r"], ["RPO(), untouched", "best", "all"], dict.fromkeys(["best", "all"], "SFT") | DEFAULT_RPO
    )
    assert "Did not detectably use the rewards: all." in text


DEFAULT_RPO = {"RPO(), untouched": "RPO"}


def test_methods_and_variants_are_counted_apart():
    rows = by_hand("RPO(), untouched", (0.3, 0.301, 0.302))
    rows += by_hand("RPO b", (0.2, 0.2, 0.2)) + by_hand("RPO c", (0.4, 0.4, 0.4)) + by_hand("RPO d", (0.2, 0.3, 0.4))
    rows += by_hand("DPO x", (0.4, 0.4, 0.4)) + by_hand("DPO y", (0.5, 0.5, 0.5))
    rows += by_hand("SFT x", (0.4, 0.4, 0.4)) + by_hand("SFT y", (0.1, 0.1, 0.1))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    text = summary(rows, ["r"], methods, {method: method[:3] for method in methods})
    assert "Of 2 other methods (4 rows) it is better than every row of 1 (DPO), worse than these rows: SFT y;" in text
    assert "Of 3 other variants of RPO it is better than 1 and worse than 1 (RPO b)." in text


def test_a_choice_at_an_edge_of_its_grid_is_named():
    grid = {"knob": (0.3, 1.0, 3.0), "lr": (0.01, 0.03), "steps": (10, 20)}
    rows = by_hand("KTO", (0.1, 0.1, 0.1), strength=3.0, lr=0.03, step=10, kl=0.1, kl_end=0.1, logratio=0.0, tau=None)
    rows += by_hand("NCA", (0.1, 0.1, 0.1), strength=1.0, lr=0.01, step=20, kl=0.1, kl_end=0.1, logratio=0.0, tau=None)
    rows += by_hand("π_ref", (0.5, 0.5, 0.5))
    text = edges(rows, ["r"], ["KTO", "NCA"], {"KTO": grid, "NCA": grid})
    assert "- r, highest knob: KTO (3)" in text
    assert "- r, highest steps: NCA (20)" in text
    assert "NCA (1)" not in text
    table = regime_table(rows, "r", ["KTO", "NCA"], {"KTO": grid, "NCA": grid})
    assert "| 3*, 0.03*, 10* |" in table
    assert "| 1, 0.01*, 20* |" in table


def test_a_method_that_cannot_run_is_a_row_with_its_reason():
    rows = carry_out(task("DPO best-worst", replace(REGIME, responses=1)))
    assert [row["gap"] for row in rows] == [None, None]
    assert "no pair" in rows[0]["error"]
    assert "no pair" in table_of(rows, "DPO best-worst")


def test_differences_are_paired_by_seed():
    """(.3 − .1, .5 − .2): mean .25, Student's t at one degree of freedom 12.706 × .05."""
    row = {"regime": "r", "error": None, "control": None, "chosen": True, "reward": 0.0}
    rows = [row | {"method": m, "seed": s, "gap": g} for m, s, g in [("a", 0, 0.3), ("a", 1, 0.5), ("b", 0, 0.1)]]
    assert difference(rows, "r", "a", "b") is None  # seed 1 is missing on one side
    rows.append(row | {"method": "b", "seed": 1, "gap": 0.2})
    found = difference(rows, "r", "a", "b")
    assert found.value == pytest.approx(0.25)
    assert found.interval == pytest.approx((0.25 - 12.7062 * 0.05, 0.25 + 12.7062 * 0.05), abs=1e-3)


@pytest.mark.parametrize(
    ("gaps", "answers"),
    [
        ((0.301, 0.302, 0.303), ("NO", "NO")),
        ((0.101, 0.102, 0.103), ("yes", "yes")),
        ((0.22, 0.221, 0.222), ("NO", "yes")),
        ((0.1, 0.2, 0.35), ("undecided", "undecided")),  # .017 above on the mean, anywhere by the interval
    ],
)
def test_an_aim_is_judged_by_the_interval(gaps, answers):
    rows = by_hand("RPO(), untouched", gaps) + by_hand("DRO-V", (0.2,) * 3) + by_hand("KTO", (0.2,) * 3)
    head, _, line = (text.split(" | ") for text in verdicts(rows, ["r"]).splitlines())
    cells = dict(zip(head, line, strict=True))
    assert cells["below KTO"].startswith(answers[0])
    assert cells["not 0.05 above DRO-V"].startswith(answers[1])


def test_the_command_writes_rows_figures_and_page(tmp_path, capsys):
    flags = "--methods RPO(),_untouched;SFT_all --seeds 2 --prompts 16 --length 4 --alphabet 3 --features 2"
    flags += " --noise 0,1 --quick"
    words = [word.replace("_", " ") for word in flags.split()]
    run_command(["exact", *words, "--workers", "1", "--out", str(tmp_path)])
    rows = list(csv.DictReader((tmp_path / "rows.csv").open(encoding="utf-8")))
    assert {row["regime"] for row in rows} == {"n = 4, noise 0, tilt 0", "n = 4, noise 1, tilt 0"}
    page = (tmp_path / "exact.md").read_text(encoding="utf-8")
    assert "| RPO(), untouched |" in page
    assert "as shipped" in page
    assert "did not come" not in page
    assert "Student's 95 % intervals" in page
    assert (tmp_path / "exact" / "frontier.svg").stat().st_size > 1000
    assert (tmp_path / "exact" / "kl.png").exists()
    assert "page:" in capsys.readouterr().out


def test_unknown_methods_and_axes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="RPO mean, level 1"):
        run_command(["exact", "--methods", "RPO mean, level", "--out", str(tmp_path)])
    with pytest.raises(ConfigError, match="numbers by comma"):
        run_command(["exact", "--noise", "much", "--out", str(tmp_path)])


@pytest.mark.parametrize("options", [{"structure": "markov"}, {"reward": "saturating"}])
def test_other_worlds_train_too(options):
    world = replace(WORLD, **options)
    batch = Batch([make_problem(world, REGIME, 2)])
    gap = train(batch, BY_NAME["RPO centred (level 0)"], 1.0, [0.03], [100]).outcomes["test"][0].gap
    start = train(batch, BY_NAME["RPO centred (level 0)"], 1.0, [0.03], [1]).outcomes["test"][0].gap
    assert float(gap) < 0.5 * float(start)
