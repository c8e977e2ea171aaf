"""Cells of the frontier: labels are the objectives they write, ranking by hand, a whole run with a tiny model."""

import pytest
from peft import LoraConfig

from conftest import make_llama
from studies.__main__ import run as run_command
from studies.frontier import cells, run
from studies.frontier.cells import REFERENCE, Cell
from studies.harness.training import objective_of
from valuefree.errors import ConfigError
from valuefree.objectives import DPO, KTO, RPO


@pytest.mark.parametrize(
    ("label", "objective"),
    [
        ("RPO()", RPO()),
        ("RPO(target_std=3)", RPO(target_std=3)),
        ("KTO(beta=0.3)", KTO(beta=0.3)),
        ("DPO(pairs='all')", DPO(pairs="all")),
    ],
)
def test_a_label_is_the_objective_it_writes(label, objective):
    assert objective_of(label) == objective


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("RPO", "is not an objective"),
        ("RPO(", "is not an objective"),
        ("PPO()", "unknown objective 'PPO'"),
        ("RPO(speed=3)", "speed"),
        ("KTO(beta=open('x'))", "malformed"),
        ("KTO(beta=-1)", "beta is -1"),
    ],
)
def test_another_label_is_refused(label, message):
    with pytest.raises(ConfigError, match=message):
        objective_of(label)


@pytest.fixture
def tiny(monkeypatch, tokenizer):
    def load_policy(options, train, folder):
        return make_llama(tokenizer), tokenizer, LoraConfig(target_modules="all-linear", r=2)

    def options_of(seed):
        return cells.DemoConfig(seed=seed, train_prompts=4, test_prompts=3, samples_per_prompt=1)

    monkeypatch.setattr(cells, "load_policy", load_policy)
    monkeypatch.setattr(cells, "options_of", options_of)


def test_a_cell_is_measured_in_mid_run_and_at_the_end(tiny, tmp_path):
    curve = cells.measure_cell(Cell("RPO()", 0), tmp_path)
    (reference,) = cells.measure_cell(Cell(REFERENCE, 0), tmp_path)
    assert [point["step"] for point in curve] == [1, 2]
    assert all(len(point["rewards"]) == len(reference["prompts"]) == 3 for point in curve)
    assert curve[-1]["objective"]["tau"] > 0
    assert curve[-1]["losses"]
    assert all(0 <= point["ranking_accuracy"] <= 1 for point in curve)


def test_the_command_runs_what_is_missing_and_writes_the_page(tiny, tmp_path, monkeypatch, capsys):
    """In one process here: the pool is the studies' own."""

    class Alone:
        def __init__(self, count):
            self.count = 1

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def run(self, tasks):
            return ((number, function(*given)) for number, (function, given) in enumerate(tasks))

    monkeypatch.setattr(run, "Workers", Alone)
    arguments = [
        "frontier",
        "--objectives",
        "RPO()",
        "KTO()",
        "--seeds",
        "2",
        "--shuffled",
        "RPO()",
        "--out",
        str(tmp_path),
    ]
    run_command(arguments)
    assert "8 of 8 cells" in capsys.readouterr().out
    page = (tmp_path / "frontier.md").read_text()
    assert (tmp_path / "frontier" / "frontier.svg").exists()
    assert all(
        text in page
        for text in ("| RPO(), rewards shuffled |", "- RPO() against KTO():", "8 runs of one thread each took")
    )
    run_command(arguments)
    out = capsys.readouterr().out
    assert "of 8 cells" not in out  # nothing was left to run
    assert "runs: 8, of which failed: 0" in out
