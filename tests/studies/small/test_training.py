"""Cells: every method trains, the same cell twice is the same, a failure is a row, the control keeps to its prompts."""

import json
from dataclasses import replace

import pytest

from studies.harness import cells
from studies.harness.cells import file_of, read_row
from studies.harness.controls import REMOVES
from studies.harness.methods import Method, names_of
from studies.small import methods, training
from studies.small.cells import Cell
from studies.small.grammar import reward
from studies.small.methods import METHODS, settings_of
from studies.small.models import KINDS
from studies.small.scale import QUICK, Scale
from studies.small.training import measure_cell
from studies.small.world import REGIMES, held_out_prompts, prompts_of, rows_of
from tests.studies.small.conftest import TINY
from valuefree.errors import ConfigError
from valuefree.objectives import DPO, KTO, RPO

ONE_STEP = replace(TINY, checkpoints=(1,))


def run_cell(cell, folder, scale, commit):
    return cells.run_cell(measure_cell, cell, (folder, scale), folder, commit)


def cell_of(method, *, kind="decoder", regime="on", seed=0, stage="report", lr=1e-3):
    strengths = METHODS[method].grid
    return Cell(kind, regime, method, lr, strengths[0] if strengths else None, seed, stage)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_trains_a_step(world, kind, method):
    row = run_cell(cell_of(method, kind=kind), world, ONE_STEP, None)
    assert row.error is None
    assert [point["step"] for point in row.curve] == [0, 1]
    assert row.curve[0]["kl"] == 0 < row.curve[1]["kl"]


@pytest.mark.parametrize("stage", ["tune", "report", "control-within"])
def test_the_same_cell_twice_gives_the_same_numbers(world, stage):
    cell = cell_of("sft-weighted", kind="t5", regime="off", stage=stage)
    first, second = (run_cell(cell, world, TINY, "abc") for _ in range(2))
    assert first.error is None
    assert first.curve == second.curve
    assert read_row(cell, world) == second


def test_another_seed_and_the_control_give_others(world):
    others = [cell_of("sft-weighted"), cell_of("sft-weighted", seed=1), cell_of("sft-weighted", stage="control-both")]
    ends = [run_cell(cell, world, TINY, None).curve[-1]["kl"] for cell in others]
    assert len({*ends}) == 3


def test_a_cell_that_raises_is_a_row_with_its_error(world, monkeypatch):
    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setitem(methods.METHODS, "sft-all", Method("sft-all", None, fail))
    cell = cell_of("sft-all", seed=7)
    row = run_cell(cell, world, TINY, None)
    assert (row.error, row.curve) == ("MemoryError: no room", None)
    assert json.loads(file_of(cell, world).read_text())["error"] == "MemoryError: no room"


def test_a_policy_that_diverges_is_a_row_with_its_error(world):
    row = run_cell(cell_of("sft-all", lr=float("inf")), world, ONE_STEP, None)
    assert row.error is not None


def trained_on(cell, world, monkeypatch):
    """The rows that reach the trainer."""
    seen = []
    real = training.trainer_of
    monkeypatch.setattr(training, "trainer_of", lambda *a, **k: (seen.append(a[3]), real(*a, **k))[1])
    assert run_cell(cell, world, ONE_STEP, None).error is None
    return seen[0]


@pytest.mark.parametrize("control", list(REMOVES))
def test_a_control_trains_on_permuted_rewards_and_nothing_else(world, monkeypatch, control):
    true = rows_of(world, "decoder", "off", 0, TINY)
    assert true["reward"][:] == reward(true["prompt"], true["response"])
    shuffled = trained_on(cell_of("sft-best", regime="off", stage=f"control-{control}"), world, monkeypatch)
    assert all(shuffled[name][:] == true[name][:] for name in true.column_names if name != "reward")
    assert shuffled["reward"][:] != true["reward"][:]
    assert sorted(shuffled["reward"]) == sorted(true["reward"])
    groups = [sorted(true["reward"][i : i + TINY.responses]) for i in range(0, len(true), TINY.responses)]
    permuted = [sorted(shuffled["reward"][i : i + TINY.responses]) for i in range(0, len(true), TINY.responses)]
    assert (permuted == groups) == (control == "within")
    assert sorted(permuted) == sorted(groups)


def test_a_control_is_measured_where_it_ends_and_sft_ends_where_it_did(world):
    """SFT on everything reads no rewards: measuring less often and permuting them changes nothing at all."""
    true, shuffled = (run_cell(cell_of("sft-all", stage=s), world, TINY, None) for s in ("report", "control-both"))
    assert [point["step"] for point in true.curve] == [0, 1, 2]
    assert [point["step"] for point in shuffled.curve] == [0, 2]
    assert shuffled.curve[-1] == true.curve[-1]
    assert shuffled.curve[0] == true.curve[0]


def test_each_seed_is_measured_on_prompts_of_its_own_that_nobody_trains_on(world):
    pools = prompts_of(TINY)
    drawn = [held_out_prompts(TINY, seed) for seed in range(3)]
    assert len({tuple(sorted(prompts)) for prompts in drawn}) == 3
    assert {len(set(prompts)) for prompts in drawn} == {TINY.test_prompts}
    used = {*pools["train"], *pools["validation"]}
    assert not used & {prompt for prompts in drawn for prompt in prompts}
    starts = [run_cell(cell_of("sft-all", seed=seed), world, ONE_STEP, None).curve[0]["reward"] for seed in range(3)]
    assert len({*starts}) > 1


@pytest.mark.parametrize(("name", "kind"), [("rpo", RPO), ("kto", KTO), ("dpo", DPO)])
def test_an_untouched_row_is_the_literal_default(name, kind):
    method = METHODS[f"{name}-untouched"]
    assert method.objective(None) == kind()
    assert {strength for _, strength in settings_of(method, Scale())} == {None}
    assert METHODS["rpo-tau-tuned"].objective(0.3) == RPO(tau=0.3)


def test_off_policy_rows_are_half_of_each_policy_and_not_those_of_the_reference(world, monkeypatch):
    on, off = (rows_of(world, "decoder", regime, 3, TINY) for regime in REGIMES)
    assert on["prompt"][:] == off["prompt"][:]
    assert on["response"][:] != off["response"][:]
    loaded = []
    real = training.rows_of.__globals__["load"]
    monkeypatch.setitem(training.rows_of.__globals__, "load", lambda *which: (loaded.append(which[2]), real(*which))[1])
    rows_of(world, "decoder", "off", 4, TINY)
    assert loaded == ["better", "worse"]


@pytest.mark.parametrize("scale", [Scale(), QUICK, TINY])
def test_every_method_tries_as_many_settings(scale):
    for method in METHODS.values():
        settings = settings_of(method, scale)
        assert len(set(settings)) == len(settings) == scale.points, method.name


def test_names_are_checked():
    assert names_of("all", METHODS, "method") == list(METHODS)
    assert names_of("nca, dro,nca", METHODS, "method") == ["nca", "dro"]
    with pytest.raises(ConfigError, match="unknown method 'rpo-papr'; did you mean 'rpo-paper'"):
        names_of("rpo-papr", METHODS, "method")
    with pytest.raises(ConfigError, match="unknown regime"):
        names_of(" ,", REGIMES, "regime")
