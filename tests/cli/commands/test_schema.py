"""The schema of the recipes accepts every example and what the parser accepts, and rejects what it rejects."""

import json
import re
from pathlib import Path

import pytest

from valuefree.cli import main as cli
from valuefree.cli.commands.schema import recipe_schema
from valuefree.cli.options import VERBS
from valuefree.cli.options.registry import declarations
from valuefree.cli.recipe_file import read_recipe
from valuefree.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "examples"
RECIPES = [
    file
    for file in sorted(EXAMPLES.rglob("*.yaml"))
    if "distributed_type" not in file.read_text(encoding="utf-8")  # configurations of accelerate
]
IS = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def faults(schema, value, root=None) -> list[str]:
    """What a validator of draft 2020-12 finds, for the keywords that the schema uses."""
    root = root or schema
    if "$ref" in schema:
        return faults(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    if "anyOf" in schema:
        tried = [faults(each, value, root) for each in schema["anyOf"]]
        return [] if [] in tried else ["none of anyOf"]
    found = wrong_value(schema, value)
    if "items" in schema and isinstance(value, list):
        found += [fault for item in value for fault in faults(schema["items"], item, root)]
    if "properties" in schema:
        found += [f"missing {name}" for name in schema["required"] if name not in value]
        for name, item in value.items():
            if name in schema["properties"]:
                found += faults(schema["properties"][name], item, root)
            elif schema["additionalProperties"] is False:
                found.append(f"unknown {name}")
    return found


def wrong_value(schema, value) -> list[str]:
    """Faults of a value itself, without its members."""
    expected = schema.get("type", list(IS))
    expected = [expected] if isinstance(expected, str) else expected
    found = [] if any(IS[kind](value) for kind in expected) else [f"{value!r} is not {expected}"]
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{value!r} is not in {schema['enum']}")
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        found.append(f"{value!r} is not {schema['pattern']}")
    return found


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_every_example_is_valid_and_says_so_to_the_editor(file):
    text = file.read_text(encoding="utf-8")
    verb = "judge" if file.name.startswith("judge") else "train"
    assert faults(recipe_schema(verb), read_recipe(str(file))) == []
    assert faults(recipe_schema(), read_recipe(str(file))) == []
    (line,) = [line for line in text.splitlines() if "yaml-language-server" in line]
    assert re.match(rf"# yaml-language-server: \$schema=(\.\./)?{verb}\.schema\.json ", line)
    assert f"valuefree schema {verb} > examples/{verb}.schema.json" in line


def test_there_are_examples():
    assert len(RECIPES) == 8


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"data": "x", "learning_rate": 1e-4}, "unknown learning_rate"),
        ({"lr": 1e-4}, "missing data"),
        ({"data": "x", "epochs": "many"}, "'many' is not"),
        ({"data": "x", "batch_size": 1.5}, "1.5 is not"),
        ({"data": "x", "batch_size": True}, "True is not"),
        ({"data": "x", "batch_size": None}, "None is not"),
        ({"data": "x", "on_bad": "skip"}, "'skip' is not in"),
        ({"data": 3}, "3 is not"),
    ],
)
def test_a_wrong_recipe_of_train_is_rejected(recipe, words):
    (fault,) = faults(recipe_schema("train"), recipe)
    assert words in fault


def test_an_unknown_key_makes_a_recipe_one_of_no_verb():
    assert faults(recipe_schema(), {"data": "x", "lr": 1e-4}) == []
    assert faults(recipe_schema(), {"data": "x", "learning_rate": 1e-4})


@pytest.mark.parametrize(
    "recipe",
    [
        {"data": "x", "lr": "1e-4", "level": float("inf"), "tau": None, "on": "best", "epochs": 2},
        {"data": "x", "objective": "reward-model", "preset": None},
    ],
)
def test_what_the_parser_takes_is_valid(recipe):
    assert faults(recipe_schema("train"), recipe) == []


def test_one_run_may_stand_without_a_list():
    assert faults(recipe_schema("report"), {"runs": "outputs/train"}) == []
    assert faults(recipe_schema("report"), {"runs": ["a", 1]})


def test_the_schema_names_draft_defaults_and_the_fields_of_each_objective(capsys):
    cli.run(["schema"])
    every = json.loads(capsys.readouterr().out)
    assert set(every["$defs"]) == set(VERBS)
    cli.run(["schema", "train"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert printed["properties"]["epochs"]["default"] == 1.0
    assert printed["properties"]["objective"]["enum"] == [*declarations(), "reward-model"]
    assert "kto: strength of the pull" in printed["properties"]["beta"]["description"]
    assert "(default: 0.1)" in printed["properties"]["beta"]["description"]


def test_an_unknown_verb_is_an_error():
    with pytest.raises(ConfigError, match="no verb 'trian'"):
        cli.run(["schema", "trian"])
