"""The row that tunes itself: which prompts it chooses by, what it chooses, and what the report says of it."""

import json
from dataclasses import replace

import datasets
import pytest

from studies.harness.cells import read_row, run_cell
from studies.options import StudyPaperConfig
from studies.paper import self_tuning
from studies.paper.cells import Cell
from studies.paper.methods import METHODS
from studies.paper.page import report_of
from studies.paper.run import Plan
from studies.paper.scales import SCALES
from studies.paper.self_tuning import SelfTuning, rates_of, rows_origin, selection_size, split_selection
from studies.paper.training import measure_cell
from studies.paper.world import Setup, make_world, train_rows
from tests.studies.paper.small import OPTIONS, SMALL
from valuefree.demo.data import feedback
from valuefree.evaluation.held_out.strength_choice import SCALES as SCALES_TRIED
from valuefree.evaluation.held_out.strength_choice import StrengthChoice
from valuefree.training.learning_rate import ADAPTER_RATES, FULL_RATES

NAME = "RPO() self-tuned"
SCALE = replace(SMALL, batch=16, warmup_steps=1)
CHOSEN = {"selection_prompts": 20, "learning_rate": 1e-3, "at_edge": True, "scale": 0.5, "reason": "a better ranking"}


@pytest.fixture(scope="module")
def setup(tmp_path_factory) -> Setup:
    made = Setup(tmp_path_factory.mktemp("tuned"), "data")
    make_world(made, SCALE)
    return made


# -------------------------------------------------------------------------------------------------- selection prompts


def test_an_eighth_of_the_prompts_selects_within_bounds():
    assert [selection_size(prompts) for prompts in (100, 160, 400, 1600, 64_000)] == [20, 20, 50, 200, 200]


def test_selection_prompts_are_not_trained_on_and_depend_on_the_seed():
    rows = feedback()
    parts = [split_selection(rows, seed=seed) for seed in (0, 0, 1)]
    for train, selection in parts:
        assert set(train["prompt"]).isdisjoint(selection["prompt"])
        assert sorted([*train["prompt"], *selection["prompt"]]) == sorted(rows["prompt"])
        assert len(selection.unique("prompt_id")) == 240 // 8
    chosen = [set(selection["prompt"]) for _, selection in parts]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_rates_and_origin_are_those_of_the_scale():
    assert rates_of(SCALES["tiny"]) == FULL_RATES
    assert rates_of(SCALES["smol"]) == ADAPTER_RATES
    assert "temperature 0.7 with top-k 50" in rows_origin(SCALES["tiny"])
    assert rows_origin(SCALES["small"]).startswith("other models wrote the rows")


def test_only_this_method_chooses_its_settings():
    assert [name for name, method in METHODS.items() if method.tuned] == [NAME]
    assert METHODS[NAME].make(1.0) == METHODS["RPO() auto"].make(1.0)


# ----------------------------------------------------------------------------------------------------------- a run


def test_a_run_trains_on_the_other_prompts_at_the_rate_and_strength_it_chose(setup, monkeypatch):
    """Of 12 prompts 4 select. The strength is set to 1e-6, so the policy is the reference, and its KL is zero."""
    scored: list[datasets.Dataset] = []
    prepare = self_tuning.LoggedResponses.prepare

    def noted(dataset, scorer):
        scored.append(dataset)
        return prepare(dataset, scorer)

    def weakest(rows, *, sampled, seed):
        assert set(rows) == set(SCALES_TRIED)
        assert (sampled, seed) == (rows_origin(SCALE), 1)
        return StrengthChoice(1e-6, "a test", ())

    monkeypatch.setattr(self_tuning, "FEWEST", 4)
    monkeypatch.setattr(self_tuning, "FULL_RATES", (1e-4, 1e-3))
    monkeypatch.setattr(self_tuning.LoggedResponses, "prepare", noted)
    monkeypatch.setattr(self_tuning, "choose_strength", weakest)
    cell = Cell("tiny", NAME, None, 1, shuffled=True)
    row = run_cell(measure_cell, cell, (setup, {"tiny": SCALE}), setup.folder, None)
    assert row.error is None
    chosen = row.end["chosen"]
    assert (chosen["selection_prompts"], chosen["scale"]) == (4, 1e-6)
    assert chosen["learning_rate"] in (1e-4, 1e-3)
    assert [trial["rate"] for trial in chosen["trials"][:2]] == [1e-4, 1e-3]
    rates = [entry["learning_rate"] for entry in row.end["history"] if "learning_rate" in entry]
    assert max(rates) == pytest.approx(chosen["learning_rate"])
    train, selection = split_selection(train_rows(setup, SCALE, 1, shuffled=True), seed=1)
    assert scored[0]["reward"][:] == selection["reward"][:], "the control chooses by shuffled rewards"
    assert row.end["steps"] == len(train) // SCALE.batch == 2
    assert abs(row.end["kl"]["value"]) < 1e-3
    assert read_row(cell, setup.folder).end["chosen"] == json.loads(json.dumps(chosen))


def test_choices_come_in_their_order(setup):
    tuning = SelfTuning(feedback(), SCALE, seed=0)
    with pytest.raises(ValueError, match="needs find_rate first"):
        tuning.find_strength(None, None)


def test_a_folder_without_the_row_goes_on_with_it(tmp_path):
    before = Plan.of(StudyPaperConfig(**OPTIONS, out=str(tmp_path)), [SMALL])
    before.setup.claim(SMALL)
    noted = (before.setup.place(SMALL) / "study.json").read_bytes()
    plan = Plan.of(StudyPaperConfig(**OPTIONS | {"methods": f"RPO;KTO;{NAME}"}, out=str(tmp_path)), [SMALL])
    plan.setup.claim(SMALL)
    assert (plan.setup.place(SMALL) / "study.json").read_bytes() == noted
    added = set(plan.cells) - set(before.cells)
    assert {cell.method for cell in added} == {NAME}
    assert set(before.cells) < set(plan.cells)


# ---------------------------------------------------------------------------------------------------------- its report


def test_the_report_says_what_each_run_chose(make):
    made = make(methods=["SFT", "RPO", "RPO() auto", NAME], seeds=1)
    made.cell("SFT", 0, None, rewards=[0.0] * 8)
    made.cell("RPO", 0, 1.0, rewards=[1.0] * 8, kl=1.0)
    made.cell("RPO() auto", 0, None, rewards=[1.0] * 8, kl=1.0)
    made.cell(NAME, 0, None, rewards=[3.0] * 8, kl=2.5, chosen=CHOSEN)
    made.cell(NAME, 0, None, rewards=[0.5] * 8, kl=0.5, chosen=CHOSEN | {"at_edge": False}, shuffled=True)
    report = report_of(made.folder)
    (table,) = [t for section in report.sections for t in section.tables if t.title == f"What {NAME} chose, tiny T5"]
    assert table.rows == [
        ["true", "0", "20", "0.001 (last of those tried)", "0.5: a better ranking", "2.50", "3.000"],
        ["shuffled", "0", "20", "0.001", "0.5: a better ranking", "0.50", "0.500"],
    ]
    assert "1e-05, 3e-05, 0.0001, 0.0003, 0.001" in table.note
    assert any(line.startswith(f"{NAME} less RPO() auto: +2.000") for line in report.verdict)
    assert any(line.startswith(f"{NAME}: gain in held-out reward +3.000") for line in report.verdict)
    (setting,) = report.sections[0].items
    assert f"All methods but {NAME} have these settings, and none of them is tuned." in setting


def test_without_the_row_the_report_names_no_exception(make):
    made = make(methods=["SFT", "RPO"], seeds=1)
    made.cell("SFT", 0, None, rewards=[0.0] * 8)
    made.cell("RPO", 0, 1.0, rewards=[1.0] * 8, kl=1.0)
    report = report_of(made.folder)
    assert "All methods have these settings, and none of them is tuned." in report.sections[0].items[0]
    assert not [t for section in report.sections for t in section.tables if NAME in t.title]
