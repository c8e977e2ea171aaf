"""The command line: parsing, recipes, errors that name the nearest, dry runs."""

import inspect
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from valuefree.cli import main as cli
from valuefree.cli.commands.from_options import OBJECTIVES, decoding_of, objective_of
from valuefree.cli.options import KNOBS, PARTITIONED, PRESETS, VERBS
from valuefree.cli.options.demo import DemoConfig
from valuefree.cli.options.objective import REWARD_MODEL
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.parse import from_mapping, make_parser, parse
from valuefree.errors import ConfigError
from valuefree.objectives import KTO, Objective


def rows_file(folder, count=12):
    file = folder / "rows.jsonl"
    rows = [
        {"prompt": f"Describe the sea {i // 3}", "response": "the sea is wide " * (1 + i % 3), "reward": i % 3}
        for i in range(count)
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


def test_flags_override_the_recipe_and_the_recipe_the_defaults(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: rows.jsonl\nlr: 1e-4\nepochs: 3\nthumbs: true\nlevel: .inf\n")
    options = parse("train", ["--config", str(recipe), "--epochs", "2"])
    assert isinstance(options, TrainConfig)
    assert (options.data, options.lr, options.epochs, options.thumbs) == ("rows.jsonl", 1e-4, 2.0, True)
    assert options.level == float("inf")
    assert options.model == "google/flan-t5-small"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.jsonl", "--tua", "1"], "did you mean '--tau'"),
        (["x.jsonl", "--tau", "warm"], "invalid float"),
        (["x.jsonl", "--on-bad", "ignore"], "invalid choice"),
        ([], "missing: data"),
        (["x.jsonl", "--preset", "paper", "--level", "1"], "preset paper fixes level"),
        (["x.jsonl", "--objective", "sft", "--level", "1"], "sft does not read level; it has on, tau"),
        (["x.jsonl", "--objective", "dpo", "--tau", "1", "--on", "all"], "does not read tau, on; it has beta, pairs"),
        (["x.jsonl", "--beta", "1"], "rpo does not read beta; it has tau, target_std, estimator"),
        (["x.jsonl", "--objective", "reward-model", "--beta", "1"], "it has pairs"),
        (["x.jsonl", "--objective", "reward-model", "--top-k", "1"], "does not read top_k"),
        (["x.jsonl", "--objective", "dro", "--preset", "paper"], "dro has no preset paper; it has paper-code"),
        (["x.jsonl", "--objective", "nca", "--preset", "paper"], "nca has no preset paper; it has none"),
        (["x.jsonl", "--objective", "kto", "--preset", "paper-code", "--beta", "1"], "preset paper-code fixes beta"),
        (["x.jsonl", "--objective", "dpo", "--chosen", "c"], "chosen and rejected go together"),
        (["x.jsonl", "--chosen", "c", "--rejected", "r"], "read by dpo, ipo, slic and reward-model, not by rpo"),
        (
            ["x.jsonl", "--objective", "dpo", "--chosen", "c", "--rejected", "r", "--pairs", "all", "--thumbs"],
            "nothing reads thumbs, pairs",
        ),
        (["x.jsonl", "--desirable", "liked"], "read by objective kto alone"),
        (["x.jsonl", "--objective", "kto", "--desirable", "d", "--threshold", "0"], "in place of threshold"),
        (["x.jsonl", "--objective", "kto", "--reference-samples", "s.jsonl"], "read by rpo, not by kto"),
        (["x.jsonl", "--patience", "2"], "needs eval_steps"),
        (["x.jsonl", "--reward-function", "m:f", "--test-prompts", "0"], "needs test_prompts"),
    ],
)
def test_wrong_arguments_say_what_is_meant(arguments, words):
    with pytest.raises(ConfigError, match=words):
        parse("train", arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give one of the two"),
        (["p.txt", "--responses", "r.jsonl"], "give one of the two"),
        (["p.txt", "--samples", "0"], "expected at least 1"),
        (["p.txt", "--response", "r"], "column of the file of --responses"),
        (["--responses", "r.jsonl"], "needs --score"),
        (["--responses", "r.jsonl", "--score", "m:f", "--top-k", "5", "--seed", "1"], "nothing reads top_k, seed"),
    ],
)
def test_wrong_arguments_of_sample(arguments, words):
    with pytest.raises(ConfigError, match=words):
        parse("sample", arguments)


def test_samples_are_exact_unless_asked_otherwise():
    decoding = decoding_of(parse("sample", ["p.txt"]), 0)
    assert decoding.exact(seed=0) == decoding
    assert decoding_of(parse("sample", ["p.txt", "--top-p", "0.9"]), 0).top_p == 0.9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lerning_rate: 1", "unknown key 'lerning_rate'"),
        ("epoch: 1", "did you mean 'epochs'"),
        ("data: x\nepochs: many", "epochs is 'many'; expected a number"),
        ("data: x\nbatch_size: 1.5", "batch_size is 1.5; expected int"),
        ("data: x\non_bad: skip", "choose from raise, drop"),
        ("- a\n- b", "expected keys and values"),
        ("a: [", "could not read the recipe"),
    ],
)
def test_wrong_recipes_say_what_is_meant(tmp_path, text, words):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    with pytest.raises(ConfigError, match=words):
        parse("train", ["--config", str(recipe)])


def test_only_an_objective_with_a_partition_is_inspected():
    with pytest.raises(ConfigError, match="kto has no partition to inspect; rpo has one"):
        parse("inspect", ["x.jsonl", "--objective", "kto"])


def test_the_key_on_of_a_recipe_is_no_truth_value(tmp_path):
    (tmp_path / "recipe.yaml").write_text("data: x\nobjective: sft\non: best\n")
    assert parse("train", ["--config", str(tmp_path / "recipe.yaml")]).knobs() == {"on": "best"}


def test_the_knobs_on_the_command_line_are_the_fields_of_the_objectives():
    assert set(KNOBS) == {*OBJECTIVES, REWARD_MODEL}
    for name, kind in OBJECTIVES.items():
        assert set(KNOBS[name]) == {item.name for item in fields(kind)}, name
        assert (name in PARTITIONED) == (kind().partition.__func__ is not Objective.partition)
    annotations = {item.name: item for item in fields(TrainConfig)}
    assert all(annotations[knob].default is None for knobs in KNOBS.values() for knob in knobs)


def test_the_presets_on_the_command_line_are_those_of_the_objectives():
    assert set(PRESETS) == {name for name, kind in OBJECTIVES.items() if hasattr(kind, "preset")}
    for name, presets in PRESETS.items():
        kind = OBJECTIVES[name]
        (allowed,) = {presets[preset] for preset in presets}
        assert allowed == tuple(inspect.signature(kind.preset).parameters)[1:]
        assert set(presets) == set(get_args(get_type_hints(kind.preset)["name"]))
        for preset in presets:
            assert objective_of(TrainConfig(data="x", objective=name, preset=preset)) == kind.preset(preset)


def test_a_knob_reaches_its_objective():
    options = parse("train", ["x", "--objective", "kto", "--beta", "0.3", "--baseline", "matched"])
    assert objective_of(options) == KTO(beta=0.3, baseline="matched")
    assert objective_of(parse("train", ["x", "--objective", "ipo", "--no-length-normalize"])).length_normalize is False


def test_every_option_of_every_verb_has_a_help_text_and_its_default():
    for verb in VERBS:
        text = make_parser("", VERBS[verb]).format_help()
        for action in make_parser("", VERBS[verb])._actions:
            assert action.help, f"{verb} {action.dest}"
        assert "default" in text


def test_from_mapping_keeps_what_to_dict_gives():
    options = DemoConfig(seed=3)
    assert from_mapping(DemoConfig, options.to_dict()) == options


def test_unknown_verb_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        cli.run(["trian"])


def test_usage_and_version(capsys):
    cli.run([])
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)
    cli.run(["--version"])
    assert capsys.readouterr().out.strip() == "0.1.0"


@pytest.mark.parametrize("verb", ["train", "score"])
def test_dry_run_reads_the_data_and_stops(tmp_path, capsys, verb):
    out = tmp_path / "out"
    held_out = ["--test-prompts", "1"] if verb == "train" else []
    cli.run([verb, str(rows_file(tmp_path)), "--dry-run", *held_out, "--out", str(out)])
    printed = capsys.readouterr().out
    assert "12 responses to 4 prompts" in printed
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--test-prompts", "4"], r"test_prompts is 4 of 4 prompts; .*Choose fewer \(--test-prompts"),
        (["--test-prompts", "1", "--reward-function", "nowhere:f"], "nowhere"),
    ],
)
def test_a_dry_run_of_train_finds_what_the_run_would_stop_at(tmp_path, more, words):
    with pytest.raises(ConfigError, match=words):
        cli.run(["train", str(rows_file(tmp_path)), "--dry-run", *more])


def test_dry_runs_of_the_others(tmp_path, capsys):
    rows = str(rows_file(tmp_path))
    cli.run(["generate", rows, "--dry-run"])
    cli.run(["evaluate", rows, "--dry-run", "--reward-function", "m:f"])
    cli.run(["demo", "--dry-run"])
    cli.run(["sample", rows, "--dry-run", "--samples", "3"])
    cli.run(["sample", "--responses", rows, "--score", "m:f", "--dry-run"])
    cli.run(["train", rows, "--objective", "reward-model", "--test-prompts", "1", "--dry-run"])
    printed = capsys.readouterr().out
    assert "4 prompts, 3 responses each: 12\n" in printed
    assert "12 responses\n" in printed
    assert "objective: reward-model\n" in printed
    assert printed.count("4 prompts\n") == 2
    assert '"shuffle_rewards": false' in printed


def test_an_error_of_ours_is_one_message_and_an_exit_code(tmp_path, monkeypatch, capsys):
    for arguments, code in ((["train", "--nope"], 2), (["train", str(tmp_path / "none.jsonl"), "--dry-run"], 1)):
        monkeypatch.setattr(sys, "argv", ["valuefree", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == code
        error = capsys.readouterr().err
        assert error.startswith("valuefree: ")
        assert "Traceback" not in error


EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda file: file.name)
def test_every_example_is_a_recipe_that_its_verb_takes(recipe):
    verb = recipe.name.split("_")[0]
    assert f"valuefree {verb} --config examples/{recipe.name}" in recipe.read_text(encoding="utf-8")
    options = parse(verb, ["--config", str(recipe)])
    assert type(options) is VERBS[verb]


def test_the_readme_names_verbs_and_flags_that_exist():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    command = next(line for line in readme.splitlines() if line.startswith("valuefree train"))
    options = parse("train", command.split()[2:])
    assert (options.data, options.model, options.out) == ("feedback.jsonl", "google/flan-t5-small", "run")
