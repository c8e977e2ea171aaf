"""The claims: what is known by hand, data and orders as described, tables and verdicts that follow the rows."""

import math
import subprocess
import sys

import pytest
import torch

from studies.exact.methods import Method
from studies.exact.policies import Batch
from studies.exact.problems import Optimum, Problem, Regime
from studies.exact.training import Runs, train
from studies.exact.world import (
    Prompts,
    World,
    WorldSettings,
    make_prompts,
    make_world,
    optimum,
    score,
    tilted,
)
from studies.paper.claims import carry_out, claim_figures, claim_findings, claim_tables, trials_of
from studies.paper.claims.experiments import (
    _mini_batches,
    loss_unit,
    sensitivity,
    steps_to_reach,
    tuned,
    variation,
)
from studies.paper.claims.methods import METHODS
from studies.paper.claims.plan import (
    COVERAGE,
    DRAWN,
    DRO_FROZEN,
    DRO_LEARNS,
    EQ_19,
    MISSING,
    NOISY,
    RPO_GIVEN,
    RPO_LEVEL_1,
    SENSITIVITY,
    STABILITY,
    TUNING,
    Scale,
    Setting,
    Trial,
)
from studies.paper.claims.problems import make_claim_problem, with_reference, without_best
from studies.paper.claims.results import combined, difference
from studies.paper.verdicts import above_zero, below_zero, shown, side
from valuefree.objectives import DRO, RPO

QUICK = Scale(
    seeds=2,
    prompts=48,
    held_out=48,
    learning_rates=(0.03, 0.1),
    checkpoints=(20, 60),
    counts=(1, 4, 16),
    offsets=(-1.0, 0.0, 1.0),
    spreads=(1.0,),
    tilts=(-1.0, 0.0, 1.0),
    conditions=(DRAWN, NOISY, MISSING),
    stability=(NOISY,),
    steps=60,
    batch=12,
    orders=2,
)
SMALL = Setting(world="short", prompts=24, held_out=16)
SCALE = Scale(seeds=2, learning_rates=(0.01, 0.03), checkpoints=(5, 20), batch=6, orders=2, steps=12)


def batch_of(**changes) -> Batch:
    return Batch([make_claim_problem(Setting(**{"world": "short", "prompts": 24, "held_out": 16} | changes), 3)])


# ------------------------------------------------------------------------------------------------------ by hand


def one_response() -> Batch:
    """Four equally likely responses of two coins, rewards zero, and the one response (0, 0) in the data."""
    zeros = torch.zeros(2, 2, 1, 2, dtype=torch.float64)
    world = World(WorldSettings(length=2, alphabet=2, features=2), zeros, zeros, zeros, torch.zeros(2).double())
    table = torch.full((1, 2, 1, 2), math.log(0.5), dtype=torch.float64)
    flat = torch.zeros_like(table)
    prompts = Prompts(torch.tensor([[1.0, 0.0]]).double(), table, flat, flat, torch.zeros(1).double())
    tokens, rewards = torch.zeros(1, 1, 2, dtype=torch.int64), torch.zeros(1, 1).double()
    problem = Problem(0, world, Regime("one", responses=1, prompts=1), prompts, tokens, rewards, rewards)
    problem.yardsticks = {part: Optimum.at(world, prompts, 1.0) for part in ("validation", "test")}
    return Batch([problem])


@pytest.mark.parametrize("method", [RPO_GIVEN, DRO_FROZEN])
def test_a_shift_of_the_value_costs_what_it_does_by_hand(method):
    """V* = 0. V = −ln 2.25 asks for log π = log ¼ + ln 2.25, so π(0, 0) = 9/16, ¾ for either coin by symmetry.

    J* − J = KL(π‖uniform) = 2·(¾ ln 1.5 + ¼ ln ½) = .261624.
    """
    batch = one_response()
    given = [torch.full((1,), -math.log(2.25), dtype=torch.float64)]
    run = train(batch, METHODS[method], 1.0, [0.03], [400], given=given)
    assert float(run.outcomes["test"][0].gap) == pytest.approx(
        2 * (0.75 * math.log(1.5) - 0.25 * math.log(2)), abs=1e-4
    )
    assert float(run.data_logratio[0]) == pytest.approx(math.log(2.25), abs=1e-3)
    assert float(run.values) == pytest.approx(-math.log(2.25))


def test_with_the_same_value_the_gradients_are_proportional():
    """RPO : DRO : DRO rescaled = 1 : τ² : τ, and one direction, with τ in the unit that the objective sees."""
    batch = batch_of()
    given = [Optimum.at(p.world, p.train, 1.0).values + 0.7 for p in batch.problems]
    rpo, dro = (Runs(batch, METHODS[name], 1.0, [0.01], given=given) for name in (RPO_GIVEN, DRO_FROZEN))
    for runs in (rpo, dro):
        runs.step()
    tau = dro.rows[0].objective.tau
    assert tau != pytest.approx(1.0, abs=0.05)
    torch.testing.assert_close(dro.gradients(), tau**2 * rpo.gradients(), rtol=1e-3, atol=1e-5)
    cosine = torch.cosine_similarity(rpo.gradients().flatten(), dro.gradients().flatten(), dim=0)
    assert float(cosine) == pytest.approx(1.0, abs=1e-6)
    rescaled = DRO(tau=tau).learning_rates(1.0)["policy"] * dro.gradients()
    torch.testing.assert_close(rescaled, tau * rpo.gradients(), rtol=1e-3, atol=1e-5)


def test_with_the_same_value_rpo_and_dro_end_alike():
    batch = batch_of()
    given = [Optimum.at(p.world, p.train, 1.0).values + 0.7 for p in batch.problems]
    rpo, dro = (
        train(batch, METHODS[name], 1.0, [0.03], [100], given=given).outcomes["test"][0].gap
        for name in (RPO_GIVEN, DRO_FROZEN)
    )
    assert float(rpo) > 0.01
    torch.testing.assert_close(rpo, dro, atol=1e-3, rtol=0)


def test_a_value_that_learns_forgets_a_constant_error_and_a_frozen_one_does_not():
    batch = batch_of()
    true = [Optimum.at(p.world, p.train, 1.0).values for p in batch.problems]
    given = [value - 1.0 for value in true]
    frozen, learns = (train(batch, METHODS[m], 1.0, [0.03], [300], given=given) for m in (DRO_FROZEN, DRO_LEARNS))
    torch.testing.assert_close(frozen.values[0, 0], given[0])
    assert (learns.values[0, 0] - true[0]).abs().max() < 0.05


def test_eq_19_is_off_by_the_coverage_of_the_distinct_responses():
    """V̂ − V* = τ log π*(observed set), a response drawn twice counted once."""
    batch = batch_of(responses=16)
    problem = batch.problems[0]
    values = Runs(batch, METHODS[EQ_19], 1.0, [0.01]).values()[0, 0]
    best, true = optimum(problem.train.reference, problem.train.reward, 1.0)
    found = score(best, problem.tokens).exp()
    for p in range(len(values)):
        seen = {tuple(tokens): float(found[p, i]) for i, tokens in enumerate(problem.tokens[p].tolist())}
        assert len(seen) < 16
        error = values[p] - true[p] - problem.train.offset[p]
        assert float(error) == pytest.approx(math.log(sum(seen.values())), abs=1e-6)


def test_coefficients_of_variation_by_hand():
    """Two steps, two orders, one world: [[1, 3], [3, 5]]. Over steps √2/2 and √2/4, over orders √2/2 and √2/4."""
    values = torch.tensor([[1.0, 3.0], [3.0, 5.0]])[:, None, :, None]
    found = variation("loss", values)
    root = math.sqrt(2)
    assert float(found["loss_cv_steps"]) == pytest.approx((root / 2 + root / 4) / 2)
    assert float(found["loss_cv_orders"]) == pytest.approx((root / 2 + root / 4) / 2)
    assert float(found["loss_mean"]) == 3.0
    assert float(found["loss_sd_steps"]) == pytest.approx(root)
    assert float(found["loss_sd_orders"]) == pytest.approx(root)
    assert float(variation("loss", 7 * values)["loss_cv_steps"]) == pytest.approx(float(found["loss_cv_steps"]))


def test_steps_to_reach_by_hand():
    """From 1 to 0 inside .1; the second run leaves the band again, the third rises from 0 to 1."""
    gaps = torch.tensor([[0.5, 0.05, 0.2], [0.09, 0.3, 0.95], [0.0, 0.0, 1.0]])
    assert steps_to_reach(gaps, torch.tensor([1.0, 1.0, 0.0]), 5).tolist() == [10, 15, 10]


def test_losses_of_dro_are_given_in_the_unit_of_rpo():
    assert loss_unit(DRO(tau=2.0)) == 0.25
    assert loss_unit(RPO(tau=2.0)) == 1.0


# --------------------------------------------------------------------------------------------------- data, batches


def test_a_batch_of_all_prompts_in_another_order_is_the_whole_step(monkeypatch):
    """In float64: Adam turns the rounding of a gradient near zero into a step of any size up to the learning rate."""
    for module in ("policies", "training"):
        monkeypatch.setattr(f"studies.exact.{module}.DTYPE", torch.float64)
    whole, parts = (Runs(batch_of(), METHODS["DRO-V"], 1.0, [0.01, 0.03]) for _ in range(2))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))[None]
    for _ in range(3):
        (_, own), (_, theirs) = whole.step(), parts.step(order)
        torch.testing.assert_close(own, theirs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(whole.weights, parts.weights, rtol=1e-6, atol=1e-9)


def test_every_prompt_is_seen_once_per_epoch_and_orders_differ():
    trial = Trial("stability", EQ_19, SCALE, SMALL)
    batches = list(_mini_batches(trial))
    assert len(batches) == 12
    first = torch.cat(batches[:4], dim=1)  # 4 batches of 6 prompts
    assert first.shape == (4, 24)  # 2 worlds, 2 orders
    assert all(sorted(order) == list(range(24)) for order in first.tolist())
    assert len({tuple(order) for order in first.tolist()}) == 4


def test_a_tilted_reference_is_the_reference_times_the_exponential_of_the_reward():
    world = make_world(WorldSettings(length=3, alphabet=4), 5)
    prompts, other = (make_prompts(w, 6, seed=5, part="train") for w in (world, with_reference(world, -0.5)))
    torch.testing.assert_close(other.reference, optimum(prompts.reference, -0.5 * prompts.reward, 1.0)[0])
    torch.testing.assert_close(other.reward, prompts.reward)
    assert not torch.allclose(other.reference, tilted(prompts, -0.5))


def test_the_best_quarter_is_left_out():
    world = make_world(WorldSettings(length=12, alphabet=6), 5)
    prompts = make_prompts(world, 32, seed=5, part="train")
    generator = torch.Generator().manual_seed(0)
    every, most = (score(prompts.reward, without_best(prompts, 64, share, generator)) for share in (0.0, 0.25))
    cut = torch.quantile(every, 0.75, dim=1, keepdim=True)
    assert float((every > cut).double().mean()) == pytest.approx(0.25, abs=0.02)
    assert float((most > cut).double().mean()) < 0.06
    assert float(most.mean()) < float(every.mean()) - 0.3


def test_responses_alike_come_from_a_sharper_reference():
    alike, drawn = (len(batch_of(sharpness=s, responses=16).problems[0].response_of.unique()) for s in (3.0, 1.0))
    assert alike < drawn


def test_sensitivity_at_zero_is_one_run_and_held_settings_are_those_of_zero():
    trial = Trial(
        "sensitivity", RPO_GIVEN, Scale(seeds=2, offsets=(0.0, 1.0), spreads=(1.0,), checkpoints=(5, 20)), SMALL
    )
    rows = sensitivity(trial)
    assert len(rows) == 3 * 2 * 2  # δ, held or not, seeds
    held = {(row["lr"], row["step"]) for row in rows if row["held"]}
    assert len(held) == 1
    zero = [row["gap"] for row in rows if row["delta"] == 0]
    assert zero[:2] == zero[2:]
    off = [row for row in rows if row["delta"] == 1.0]
    assert all(row["value_bias"] == pytest.approx(1.0) for row in off if row["kind"] == "constant")
    assert min(row["gap"] for row in off if row["held"]) > max(zero)


def test_the_tuned_setting_has_the_best_mean_gap_on_validation_prompts():
    run = train(batch_of(), METHODS["RPO, V*"], 1.0, [0.001, 0.1], [5, 40])
    assert tuned(run) == (1, 1)
    gaps = [float(outcome.gap.min()) for outcome in run.outcomes["validation"]]
    assert gaps[1] < gaps[0]


def test_every_method_of_a_plan_is_known():
    assert {*STABILITY, *SENSITIVITY, *TUNING, *COVERAGE} <= set(METHODS)
    assert all(isinstance(method, Method) and name == method.name for name, method in METHODS.items())


# -------------------------------------------------------------------------------------------- tables and findings


def rows_of(experiment: str, method: str, gaps: list[float], **values) -> list[dict]:
    base = {"experiment": experiment, "method": method, "condition": "", "lr": 0.1, "step": 1, "value_bias": -1.0}
    base |= {"gap_reference": 0.5, "logratio": 0.0, "reward": 0.0, "reward_gained": 0.0, "world": "long"}
    return [base | values | {"seed": seed, "gap": gap} for seed, gap in enumerate(gaps)]


def test_differences_are_paired_and_need_the_same_seeds():
    """(.3 − .1, .5 − .2): mean .25, Student's t at one degree of freedom 12.706 × .05."""
    ours, theirs = rows_of("tuning", "a", [0.3, 0.5]), rows_of("tuning", "b", [0.1, 0.2])
    found = difference(ours, theirs)
    assert found.value == pytest.approx(0.25)
    assert found.interval == pytest.approx((0.25 - 12.7062 * 0.05, 0.25 + 12.7062 * 0.05), abs=1e-3)
    assert side(found) == 0
    assert difference(ours, theirs[:1]) is None
    assert combined((1.0, []), (-1.0, [])) is None
    assert shown(None) == "–"


def test_verdicts_are_made_from_intervals():
    low, high, wide, tiny = (
        difference(rows_of("x", "a", gaps), rows_of("x", "b", [0.0] * 3))
        for gaps in ([-0.30, -0.31, -0.32], [0.30, 0.31, 0.32], [-1.0, 0.5, 1.0], [-0.001, -0.0011, -0.0012])
    )
    assert [below_zero(e, 0.02) for e in (low, high, wide, tiny)] == [
        "supported", "contradicted", "undecided", "contradicted",
    ]  # fmt: skip
    assert [above_zero(e, 0.02) for e in (low, high, wide, tiny)] == [
        "contradicted", "supported", "undecided", "contradicted",
    ]  # fmt: skip
    assert below_zero(tiny) == "supported"
    assert below_zero(None) == "undecided"


def verdict(rows: list[dict], part: str) -> str:
    (found,) = [finding for finding in claim_findings(rows) if part in finding.claim]
    return found.verdict


def sensitivity_rows(harm: dict[str, float]) -> list[dict]:
    rows = []
    for method, size in harm.items():
        for kind, delta in [("constant", 0.0), ("constant", 1.0), ("random", 1.0)]:
            gaps = [0.1 + size * delta + 0.001 * seed * size * delta for seed in range(3)]
            rows += rows_of("sensitivity", method, gaps, kind=kind, delta=delta, held=True)
    return rows


@pytest.mark.parametrize(
    ("rpo", "dro", "expected"), [(0.2, 0.5, "supported"), (0.5, 0.2, "contradicted"), (0.2, 0.2, "contradicted")]
)
def test_robustness_follows_the_rows(rpo, dro, expected):
    rows = sensitivity_rows({RPO_GIVEN: rpo, DRO_FROZEN: dro, DRO_LEARNS: dro, RPO_LEVEL_1: rpo})
    assert verdict(rows, "by its loss") == expected
    assert verdict(rows, "the same for every prompt") == expected
    assert verdict(rows, "another for every prompt") == expected


@pytest.mark.parametrize(("untuned", "expected"), [(0.1, "supported"), (0.9, "contradicted")])
def test_deployment_follows_the_rows(untuned, expected):
    values = dict(zip(TUNING, [0.5, 0.2, 0.2, 0.3, untuned, 0.2, 0.2, 0.2], strict=True))
    rows = []
    for number, (name, gap) in enumerate(values.items()):
        seeds = [gap, gap + 0.01 + 0.001 * number, gap + 0.02 - 0.001 * number]
        rows += rows_of("tuning", name, seeds)
    assert verdict(rows, "practical deployment") == expected
    (finding,) = [finding for finding in claim_findings(rows) if "deployment" in finding.claim]
    assert "worst with DRO-V, V's lr 0.001 (0.510 [" in finding.text


@pytest.mark.parametrize(("eq_19", "expected"), [(0.2, "supported"), (0.9, "contradicted")])
def test_coupling_and_stability_follow_the_rows(eq_19, expected):
    measures = ("loss_cv_steps", "loss_cv_orders", "gradient_cv_steps", "gradient_cv_orders", "gap_spread")
    measures += ("steps_to_reach", "loss_mean", "loss_sd_steps", "loss_sd_orders")
    measures += ("gradient_mean", "gradient_sd_steps", "gradient_sd_orders")
    rows = []
    for method in STABILITY:
        size = eq_19 if method == EQ_19 else 0.5 if method == "DRO-V" else 0.1
        for row in rows_of("stability", method, [size, size, size], condition="noise 1", chosen=True):
            varied = dict.fromkeys(measures, size * (1 + 0.01 * row["seed"]))
            numbers = {"policy_parameters": 9, "value_parameters": 4 if method == "DRO-V" else 0}
            rows.append(row | varied | numbers | {"gap": size + 0.01 * row["seed"] * (method == EQ_19), "every": 5})
    found = [finding for finding in claim_findings(rows) if "stable" in finding.claim or "coupling" in finding.claim]
    assert len(found) == 7
    assert {finding.verdict for finding in found} == {expected}
    assert verdict(rows, "explicit V") == "supported"
    louder = [row | {"loss_sd_steps": 9 - row["loss_sd_steps"]} for row in rows]
    assert verdict(louder, "loss varies less over steps") == "undecided"
    slower = [row | {"chosen": False, "lr": 0.2} for row in rows]
    assert verdict(rows + slower, "fewer steps") == expected
    other = [row | {"steps_to_reach": 9 - row["steps_to_reach"]} for row in slower]
    assert verdict(rows + other, "fewer steps") == "undecided"
    changed = [row | {"value_parameters": 4} for row in rows]
    assert verdict(changed, "explicit V") == "contradicted"


@pytest.mark.parametrize(("harmed", "expected"), [(0.9, "supported"), (0.2, "contradicted")])
def test_limitations_follow_the_rows(harmed, expected):
    rows = []
    for method in COVERAGE:
        for condition, count, gap in [
            ("as drawn", 1, harmed), ("as drawn", 4, 0.3), ("as drawn", 16, 0.3),
            ("top quarter missing", 4, harmed if method == EQ_19 else 0.3), ("noise 1", 4, harmed),
        ]:  # fmt: skip
            gaps = [gap, gap + 0.01, gap + 0.02]
            rows += rows_of("coverage", method, gaps, condition=condition, responses=count)
        for tilt, gap in [(-1.0, harmed), (1.0, 0.3)]:
            rows += rows_of("reference", method, [gap, gap + 0.01, gap + 0.02], reference=tilt)
    rows = [row | {"gap": row["gap"] + 0.001 * row["seed"] * (abs(row["gap"] - 0.31) > 0.05)} for row in rows]
    for part in ("few responses", "high-reward outputs", "noisy rewards", "extrapolates", "poorly aligned"):
        assert verdict(rows, part) == expected
    with pytest.raises(ValueError, match="not enough values"):
        verdict(rows, "limited variation")  # not run
    constant = [row | {"value_bias": -1.0 - 0.01 * row["seed"]} for row in rows]
    assert verdict(constant, "underestimates") == "supported"
    assert verdict([row | {"value_bias": -row["value_bias"]} for row in constant], "underestimates") == "contradicted"


def test_without_rows_nothing_is_decided():
    findings = claim_findings([])
    assert {finding.verdict for finding in findings} == {"undecided"}
    assert claim_tables([]) == []
    assert claim_figures([]) == []


@pytest.mark.slow
def test_the_quick_run_gives_every_table_figure_and_finding():
    rows = []
    for trial in trials_of(QUICK):
        found = carry_out(trial)
        assert found, trial.name
        rows += found
    assert all(math.isfinite(row["gap"]) and row["gap"] > -1e-9 for row in rows)
    tables = claim_tables(rows)
    assert len(tables) == 5 + 3 * 2
    assert all(len(line) == len(table.head) for table in tables for line in table.rows)
    assert {plot.name for plot in claim_figures(rows)} == {
        f"claims_{name}" for name in ("stability", "sensitivity", "coverage", "reference")
    }
    assert verdict(rows, "by its loss") == "contradicted"
    assert len(claim_findings(rows)) == 12 + 5 * 2 + 2


def test_the_public_names_need_no_torch():
    code = "import sys, studies.paper.claims as c; c.trials_of(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
