"""The pages on the objectives: every command parses, every knob and every logged metric stands on its page."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from valuefree.cli.commands.from_options import objective_of
from valuefree.cli.options.objective import REWARD_MODEL, knobs_of, objectives_that_read
from valuefree.cli.options.registry import declarations
from valuefree.cli.parse import parse
from valuefree.objectives import ObjectiveInputs, TrainingRows

DOCS = Path(__file__).parents[2] / "docs" / "objectives"
PAGES = sorted(DOCS.glob("*.md"))


def page_of(objective: str) -> str:
    name = "pairwise" if objective in objectives_that_read("pair_id") else objective.replace("-", "_")
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_parses(page):
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    commands = [line.split() for block in blocks for line in block.splitlines()]
    assert commands or page.stem == "README"
    for command in commands:
        assert command[0] == "valuefree"
        options = parse(command[1], command[2:])
        if command[1] == "train" and options.objective != REWARD_MODEL:
            assert objective_of(options)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_python_example_is_python_and_imports_what_there_is(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        compile(block, page.name, "exec")
        exec("\n".join(line for line in block.splitlines() if line.startswith("from ")), {})


def test_the_index_names_every_page_and_every_objective():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in PAGES if page.stem != "README" and f"({page.name})" not in index]
    assert not pages, f"docs/objectives/README.md has no link to {', '.join(pages)}"
    every = (*declarations(), REWARD_MODEL)
    names = [name for name in every if f"`{name}`" not in index and f"--objective {name}`" not in index]
    assert not names, f"docs/objectives/README.md does not name {', '.join(names)}"


ROWS = 4


def logged(objective) -> set[str]:
    """Names of the metrics of one batch: two prompts of two responses."""
    values = torch.tensor([1.0, -1.0, 0.5, -0.5], dtype=torch.float64)
    rows = TrainingRows(values, values, torch.tensor([0, 0, 1, 1]))
    objective = objective.resolve(rows)
    inputs = ObjectiveInputs(
        policy_logps=-values.abs(),
        tokens=torch.full((ROWS,), 3),
        rewards=values,
        prompt_of=rows.prompt_of,
        group_size=torch.full((ROWS,), 2),
        reference_logps=values - 2,
        values=values,
        value_outputs=values,
        step_inputs={"kl_estimate": torch.tensor(0.1)},
        columns=objective.precompute(rows),
    )
    return set(objective(inputs).metrics)


@pytest.mark.parametrize("name", declarations())
def test_every_logged_metric_is_on_its_page(name):
    text = page_of(name) + (DOCS / "README.md").read_text(encoding="utf-8")
    objective = declarations()[name].load()()
    found = logged(objective)
    if name == "rpo":
        found |= logged(replace(objective, estimator="learned"))
    assert all(f"`{metric}`" in text for metric in found), found


@pytest.mark.parametrize("name", [name for name, item in declarations().items() if item.presets])
def test_every_preset_stands_on_its_page(name):
    missing = [preset for preset in declarations()[name].presets if f"`{preset}`" not in page_of(name)]
    assert not missing, f"the page of `{name}` in docs/objectives/ does not name its presets {', '.join(missing)}"


def table(heading: str) -> dict[str, list[str]]:
    """Rows of the first table under a heading of the index, by what `--objective` is called in them."""
    text = (DOCS / "README.md").read_text(encoding="utf-8").partition(heading)[2]
    lines = text[text.index("\n|") :].strip().split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {name: row for row in rows for name in re.findall(r"`(?:--objective )?([a-z-]+)`", row[1])}


def test_the_table_of_what_objectives_need_is_that_of_the_classes():
    rows = table("# Objectives")
    assert set(rows) == {*declarations(), REWARD_MODEL}, (
        "the first table of docs/objectives/README.md needs one row per objective; these are missing or too many: "
        f"{', '.join(sorted(set(rows) ^ {*declarations(), REWARD_MODEL}))}"
    )
    for name, item in declarations().items():
        needs = item.load()().requires
        _, _, scores, groups, pairs, network, _ = rows[name]
        assert (scores.startswith("yes"), network.startswith("yes")) == (
            "reference_logps" in needs,
            "value_outputs" in needs,
        )
        assert "mismatched" not in scores or "kl_estimate" in needs
        assert (pairs != "no") == (name in objectives_that_read("pair_id"))
        if name != "sft":  # whose fields decide
            assert (groups != "no") == ("groups" in needs)


def test_the_table_of_fields_is_that_of_the_dataclasses():
    rows = table("## Fields")
    for name in (*declarations(), REWARD_MODEL):
        assert name in rows, f"docs/objectives/README.md: the table under Fields has no row for `{name}`"
        expected = ", ".join(f"`{field}` ({knob.shown})" for field, knob in knobs_of(name).items())
        assert rows[name][2] == expected, f"write into docs/objectives/README.md: {expected}"
        presets = ", ".join(f"`{preset}`" for preset in declarations()[name].presets) if name != REWARD_MODEL else ""
        assert rows[name][3] == (presets or "–")
