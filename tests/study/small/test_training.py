"""Cells: every method trains, the same cell twice is the same, a failure is a row, the control keeps to its prompts."""

import json
from dataclasses import replace

import pytest

from study.small.conftest import TINY
from valuefree.demo.data import shuffle_rewards
from valuefree.errors import ConfigError
from valuefree.study.small import methods, training
from valuefree.study.small.cells import Cell, Row
from valuefree.study.small.grammar import reward
from valuefree.study.small.methods import METHODS, Method, chosen
from valuefree.study.small.models import KINDS
from valuefree.study.small.scale import QUICK, Scale
from valuefree.study.small.training import run_cell
from valuefree.study.small.world import REGIMES, rows_of

ONE_STEP = replace(TINY, checkpoints=(1,))


def cell_of(method, *, kind="decoder", regime="on", seed=0, stage="report", lr=1e-3):
    strengths = METHODS[method].strengths
    return Cell(kind, regime, method, lr, strengths[0] if strengths else None, seed, stage)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_trains_a_step(world, kind, method):
    row = run_cell(cell_of(method, kind=kind), world, ONE_STEP, None)
    assert row.error is None
    assert [point["step"] for point in row.curve] == [0, 1]
    assert row.curve[0]["kl"] == 0 < row.curve[1]["kl"]


@pytest.mark.parametrize("stage", ["tune", "report", "control"])
def test_the_same_cell_twice_gives_the_same_numbers(world, stage):
    cell = cell_of("sft-weighted", kind="t5", regime="off", stage=stage)
    first, second = (run_cell(cell, world, TINY, "abc") for _ in range(2))
    assert first.error is None
    assert first.curve == second.curve
    assert Row.read(cell.file(world)) == second


def test_another_seed_and_the_control_give_others(world):
    cells = [cell_of("sft-weighted"), cell_of("sft-weighted", seed=1), cell_of("sft-weighted", stage="control")]
    ends = [run_cell(cell, world, TINY, None).curve[-1]["kl"] for cell in cells]
    assert len({*ends}) == 3


def test_a_cell_that_raises_is_a_row_with_its_error(world, monkeypatch):
    def fail(_):
        raise MemoryError("no room")

    monkeypatch.setitem(methods.METHODS, "sft-all", Method("sft-all", fail))
    cell = cell_of("sft-all", seed=7)
    row = run_cell(cell, world, TINY, None)
    assert (row.error, row.curve) == ("MemoryError: no room", None)
    assert json.loads(cell.file(world).read_text())["error"] == "MemoryError: no room"


def test_a_policy_that_diverges_is_a_row_with_its_error(world):
    row = run_cell(cell_of("sft-all", lr=float("inf")), world, ONE_STEP, None)
    assert row.error is not None


@pytest.mark.parametrize("regime", REGIMES)
def test_the_control_permutes_rewards_within_prompts_alone(world, regime):
    rows = rows_of(world, "t5", regime, 0, TINY)
    assert rows["reward"] == reward(rows["prompt"], rows["response"])
    shuffled = shuffle_rewards(rows, seed=0)
    assert shuffled["response"][:] == rows["response"][:]
    size = TINY.responses
    groups = [(rows["reward"][i : i + size], shuffled["reward"][i : i + size]) for i in range(0, len(rows), size)]
    assert all(sorted(before) == sorted(after) for before, after in groups)
    assert any(before != after for before, after in groups)
    assert all(len({*rows["prompt_id"][i : i + size]}) == 1 for i in range(0, len(rows), size))


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
        settings = method.settings(scale)
        assert len(set(settings)) == len(settings) == scale.points, method.name


def test_names_are_checked():
    assert chosen("all", list(METHODS), "method") == list(METHODS)
    assert chosen("rpo, dpo,rpo", list(METHODS), "method") == ["rpo", "dpo"]
    with pytest.raises(ConfigError, match="unknown method 'rpo-papr'; did you mean 'rpo-paper'"):
        chosen("rpo-papr", list(METHODS), "method")
    with pytest.raises(ConfigError, match="unknown regime"):
        chosen(" ,", REGIMES, "regime")
