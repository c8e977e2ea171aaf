"""Cells: each candidate changes what it names and nothing else; noise and shrinkage act within prompts."""

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from transformers import TrainerState

from studies.memorisation import training
from studies.memorisation.candidates import BASE, CANDIDATES, Cell
from studies.memorisation.training import UPPER_HALF, AveragedWeights, adapter_of, measure_cell, noisy, shrunk
from studies.small.models import KINDS
from studies.small.world import reference, rows_of
from tests.studies.small.conftest import TINY
from valuefree.models.adapters import add_adapter


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(training, "SIZES", TINY)
    monkeypatch.setattr(training, "EPOCHS", 1)


@pytest.mark.parametrize("name", list(CANDIDATES))
def test_every_candidate_gives_a_curve(world, name):
    curve = measure_cell(Cell("decoder", 1.0, name, 0), world)
    assert [point["scale"] for point in curve] == list(training.STRENGTHS)
    assert all(0 <= point[rows] <= 1 for point in curve for rows in ("train", "held_out"))
    assert 0 < curve[0]["kl"] < curve[-1]["kl"]


def test_the_same_cell_twice_gives_the_same_numbers(world):
    first, second = (measure_cell(Cell("t5", 1.0, "dropout .1", 0), world) for _ in range(2))
    assert first == second


def test_dropout_acts_though_the_trainer_disables_dropout(world):
    curves = [measure_cell(Cell("decoder", 1.0, name, 0), world) for name in (BASE, "dropout .3")]
    assert curves[0][-1]["kl"] != curves[1][-1]["kl"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_upper_half_has_half_of_the_adapters(world, kind):
    model, _ = reference(world, kind)
    counts = []
    for name in (BASE, "upper half"):
        policy = add_adapter(type(model)(model.config), adapter_of(CANDIDATES[name], kind))
        counts.append([key for key, _ in policy.named_parameters() if "lora_A" in key])
    assert len(counts[1]) * 2 == len(counts[0])
    assert all(".1." in key for key in counts[1])
    assert kind in UPPER_HALF


def test_noise_has_the_spread_of_the_rewards_within_prompts():
    rewards = np.tile([0.0, 0.0, 1.0, 1.0], 500) + np.repeat(np.arange(500), 4)
    columns = {"prompt_id": np.repeat(np.arange(500), 4).tolist(), "reward": rewards.tolist()}
    rows = datasets.Dataset.from_dict(columns)
    added = np.asarray(noisy(rows, 2.0, seed=0)["reward"]) - np.asarray(rows["reward"])
    assert np.std(added) == pytest.approx(2 * np.sqrt(1 / 3), rel=0.05)  # pooled variance of 0, 0, 1, 1 is 1/3
    assert noisy(rows, 0.0, seed=0) is rows


def test_shrinkage_keeps_the_mean_of_a_prompt_and_mixes_linearly(world):
    model, tokenizer = reference(world, "decoder")
    rows = noisy(rows_of(world, "decoder", "on", 0, TINY), 1.0, seed=0)
    mixed = [np.asarray(shrunk(rows, own, model, tokenizer)["reward"]).reshape(-1, 4) for own in (1.0, 0.5, 0.0)]
    for other in mixed[1:]:
        np.testing.assert_allclose(other.mean(axis=1), mixed[0].mean(axis=1))
    np.testing.assert_allclose(mixed[1], (mixed[0] + mixed[2]) / 2)


def test_a_prediction_does_not_read_the_rewards_of_its_own_prompt(world):
    model, tokenizer = reference(world, "decoder")
    rows = rows_of(world, "decoder", "on", 0, TINY)
    changed = [*np.asarray(rows["reward"]) + np.eye(len(rows))[0]]
    other = datasets.Dataset.from_dict({name: rows[name] for name in rows.column_names} | {"reward": changed})
    first, second = (np.asarray(shrunk(given, 0.0, model, tokenizer)["reward"])[:4] for given in (rows, other))
    np.testing.assert_allclose(first - first.mean(), second - second.mean())


def test_weights_are_averaged_over_the_last_half_of_the_steps():
    model = nn.Linear(1, 1, bias=False)
    averaged = AveragedWeights(model, 0.5)
    for step in range(1, 5):
        with torch.no_grad():
            model.weight.fill_(step)
        averaged.on_step_end(None, TrainerState(global_step=step, max_steps=4), None)  # type: ignore[arg-type]
    averaged.apply()
    assert model.weight.item() == pytest.approx(3.5)  # of 3 and 4
