"""Options that load code or send a key: the command line sets them, a recipe only with --allow-code."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from valuefree.cli.commands.strength import _options_of
from valuefree.cli.options import VERBS, options_of
from valuefree.cli.options.groups import flag, key_of
from valuefree.cli.parse import parse
from valuefree.errors import ConfigError

# verb, the arguments that it needs, a line of a recipe, the same as flags
CODE = [
    ("train", ["x.jsonl"], "trust_remote_code: true", ["--trust-remote-code"]),
    ("train", ["x.jsonl"], "reward_function: subprocess:getoutput", ["--reward-function", "subprocess:getoutput"]),
    ("train", ["x.jsonl"], "attn_implementation: someone/kernel", ["--attn-implementation", "someone/kernel"]),
    ("inspect", ["x.jsonl"], "trust_remote_code: true", ["--trust-remote-code"]),
    ("evaluate", ["x.jsonl"], "reward_function: os:system", ["--reward-function", "os:system"]),
    ("sample", ["x.jsonl"], "score: os:system", ["--score", "os:system"]),
    ("judge", ["a.jsonl", "b.jsonl"], "judge: subprocess:getoutput", ["--judge", "subprocess:getoutput"]),
    ("judge", ["a.jsonl", "b.jsonl"], "reward_function: os:system", ["--reward-function", "os:system"]),
    ("judge", ["a.jsonl", "b.jsonl"], "judge: m\ntrust_remote_code: true", ["--judge", "m", "--trust-remote-code"]),
    ("merge", ["a", "--out", "b"], "trust_remote_code: true", ["--trust-remote-code"]),
    ("export", ["a", "--gguf", "b.gguf"], "trust_remote_code: true", ["--trust-remote-code"]),
]


@pytest.mark.parametrize(("verb", "given", "line", "flags"), CODE, ids=str)
def test_code_is_taken_from_the_command_line_or_with_allow_code(tmp_path, verb, given, line, flags):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(line)
    key, value = line.splitlines()[-1].split(": ", 1)
    shown = f"{key}: {value.title() if value == 'true' else value}"
    with pytest.raises(ConfigError, match=re.escape(f"the recipe {recipe} sets {shown}.")) as raised:
        parse(verb, [*given, "--config", str(recipe)])
    assert f"give {' '.join(flags[-2:] if value != 'true' else flags[-1:])} there, or --allow-code" in str(raised.value)
    allowed = parse(verb, [*given, "--config", str(recipe), "--allow-code"])
    assert allowed == parse(verb, [*given, *flags]) == parse(verb, [*given, *flags, "--config", str(recipe)])


def test_a_recipe_names_reward_models_models_of_servers_and_attention_without_permission(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("reward_function: owner/reward-model\nattn_implementation: sdpa\ntrust_remote_code: false\n")
    assert parse("train", ["x.jsonl", "--config", str(recipe)]).reward_function == "owner/reward-model"
    recipe.write_text("judge: llama3:latest\nserver: http://localhost:11434/v1\n")
    assert parse("judge", ["a.jsonl", "b.jsonl", "--config", str(recipe)]).judge == "llama3:latest"


def test_a_recipe_does_not_allow_itself(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    for verb, first in (("train", "x.jsonl"), ("strength", "run")):
        recipe.write_text("allow_code: true\n")
        with pytest.raises(ConfigError, match=r"unknown key 'allow_code'|sets allow_code: True"):
            parse(verb, [first, "--config", str(recipe)])


@pytest.mark.parametrize("line", [{"trust_remote_code": True}, {"attn_implementation": "someone/kernel"}])
def test_the_settings_of_a_run_folder_load_code_only_with_allow_code(tmp_path, line):
    config = {"data": "x.jsonl", "reward_function": "os:system"} | line  # strength calls no reward function
    (tmp_path / "manifest.json").write_text(json.dumps({"command": "train", "config": config}))
    with pytest.raises(ConfigError, match=f"sets {next(iter(line))}, so its model runs code of its own"):
        _options_of(tmp_path, allow_code=False)
    assert _options_of(tmp_path, allow_code=True).data == "x.jsonl"


def test_the_page_lists_every_such_option():
    guarded = {key_of(item.name) for verb in VERBS for item in fields(options_of(verb)) if "guarded" in item.metadata}
    page = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(--[a-z-]+)", page, flags=re.MULTILINE))
    assert listed == {flag(name) for name in guarded - {"allow_code"}}
