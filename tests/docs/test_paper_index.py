"""docs/paper_index.md names every numbered thing of the paper once; its links, names and commands are real."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from benchmarks.comparisons import COMPARISONS
from studies.__main__ import STUDIES
from valuefree.cli.commands.from_options import objective_of
from valuefree.cli.options.objective import REWARD_MODEL
from valuefree.cli.parse import parse, parse_options

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "paper_index.md"
TEXT = PAGE.read_text(encoding="utf-8")
THINGS = [
    *(f"eq. {number}" for number in range(1, 27)),
    "algorithm 1",
    *(f"Table {number}" for number in ("I", "II", "III", "IV", "V", "VI", "VII")),
    "Figure 1",
]
LINKS = re.findall(r"\[([^\]]*)\]\(([^)]+)\)", TEXT)
LOCAL = [(name.strip("`"), target) for name, target in LINKS if "://" not in target]
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]
INLINE = re.findall(r"`((?:valuefree|python -m) [^`]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
COMMANDS = list(dict.fromkeys(SHELL + INLINE))


def rows() -> list[list[str]]:
    """Cells of every row of the page's tables, without heads and rules."""
    lines = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("|  |")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_numbered_thing_of_the_paper_has_one_row_in_the_papers_order():
    assert [row[0] for row in rows()] == THINGS


def test_no_cell_of_a_row_is_empty():
    for row in rows():
        assert len(row) == 5, row[0]
        assert all(row), row[0]
        assert "](../src/" in row[2] or "](../studies/" in row[2], row[0]
        assert any(way in row[3] for way in ("`valuefree ", "`python -m ", "](../tests/")), row[0]


@pytest.mark.parametrize("target", sorted({target for _, target in LOCAL}))
def test_every_link_leads_to_a_file(target):
    assert (PAGE.parent / target).is_file()


NAMES = [(name, target) for name, target in LOCAL if name.startswith("valuefree.")]


@pytest.mark.parametrize(("name", "target"), sorted(set(NAMES)), ids=lambda value: value)
def test_every_name_is_there_in_the_file_that_it_links_to(name, target):
    module = target.removeprefix("../src/").removesuffix(".py").replace("/", ".")
    assert name.startswith(module + ".")
    found = importlib.import_module(module)
    for part in name.removeprefix(module + ".").split("."):
        found = getattr(found, part)
    assert getattr(found, "__module__", module) == module, "defined elsewhere"


TESTS = [(name, target) for name, target in LOCAL if name.startswith("test_")]


@pytest.mark.parametrize(("name", "target"), sorted(set(TESTS)), ids=lambda value: value)
def test_every_test_is_in_the_file_that_it_links_to(name, target):
    assert f"\ndef {name}(" in (PAGE.parent / target).read_text(encoding="utf-8")


def test_names_and_tests_were_found():
    assert len(set(NAMES)) > 20
    assert len(set(TESTS)) > 20
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command, monkeypatch):
    monkeypatch.chdir(ROOT)  # recipes are named from here
    first, *words = shlex.split(command)
    if first == "python":
        module, *names = words[1:]
        if module == "pytest":
            return
        if module == "studies":
            parse_options(command, STUDIES[names[0]], names[1:])
            return
        assert module == "benchmarks.run"
        assert names[0] in COMPARISONS
        return
    verb = words[0]
    options = parse(verb, words[1:])
    if verb == "train" and options.objective != REWARD_MODEL:
        assert objective_of(options)
