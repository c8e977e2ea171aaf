"""The command line: parsing, recipes, errors that name the nearest, dry runs."""

import argparse
import json
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

import pytest

from valuefree.cli import main as cli
from valuefree.cli.commands.from_options import decoding_of, objective_of
from valuefree.cli.commands.schema import recipe_schema
from valuefree.cli.options import VERBS, options_of
from valuefree.cli.options.demo import DemoConfig
from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.cli.options.generate import GenerateConfig
from valuefree.cli.options.groups import GROUPS, DecodingOptions
from valuefree.cli.options.objective import REWARD_MODEL, knobs_of, partitioned
from valuefree.cli.options.registry import declarations
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.parse import from_mapping, make_parser, parse
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.metrics import bertscore, toxicity
from valuefree.objectives import KTO
from valuefree.partition import ESTIMATORS
from valuefree.training.reference_scores import default_cache_dir


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
        (
            ["x.jsonl", "--objective", "reward-model", "--top-k", "1"],
            "nothing reads --top-k: objective reward-model trains no policy",
        ),
        (["x.jsonl", "--objective", "dro", "--preset", "paper"], "dro has no preset paper; it has paper-code"),
        (["x.jsonl", "--objective", "nca", "--preset", "paper"], "nca has no preset paper; it has none"),
        (["x.jsonl", "--objective", "kto", "--preset", "paper-code", "--beta", "1"], "preset paper-code fixes beta"),
        (["x.jsonl", "--objective", "dpo", "--chosen", "c"], "chosen and rejected go together"),
        (["x.jsonl", "--chosen", "c", "--rejected", "r"], "read by dpo, ipo, slic and reward-model, not by rpo"),
        (
            ["x.jsonl", "--objective", "dpo", "--chosen", "c", "--rejected", "r", "--pairs", "all", "--thumbs"],
            "nothing reads --pairs, --thumbs",
        ),
        (["x.jsonl", "--desirable", "liked"], "read by objective kto alone"),
        (["x.jsonl", "--objective", "kto", "--desirable", "d", "--threshold", "0"], "in place of threshold"),
        (
            ["x.jsonl", "--objective", "kto", "--reference-samples", "s.jsonl"],
            "nothing reads --reference-samples: rpo needs V",
        ),
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
        (["p.txt", "--response", "r"], "nothing reads --response: it is a column of the file of --responses"),
        (["--responses", "r.jsonl"], "needs --score"),
        (["--responses", "r.jsonl", "--score", "m:f", "--top-k", "5", "--seed", "1"], "nothing reads --top-k, --seed"),
    ],
)
def test_wrong_arguments_of_sample(arguments, words):
    with pytest.raises(ConfigError, match=words):
        parse("sample", arguments)


def test_samples_are_exact_unless_asked_otherwise():
    decoding = decoding_of(parse("sample", ["p.txt"]), 0)
    assert decoding.exact(seed=0) == decoding
    assert decoding_of(parse("sample", ["p.txt", "--top-p", "0.9"]), 0).top_p == 0.9


def test_a_word_may_stand_for_a_number(tmp_path):
    (tmp_path / "recipe.yaml").write_text("data: rows.jsonl\nlr: auto\n")
    assert parse("train", ["--config", str(tmp_path / "recipe.yaml")]).lr == "auto"
    assert parse("train", ["rows.jsonl", "--lr", "auto"]).lr == "auto"
    assert parse("train", ["rows.jsonl", "--lr", "1e-3"]).lr == 1e-3
    for wrong, said in (("-1", "expected at least 0"), ("slow", "expected a number")):
        with pytest.raises(ConfigError, match=said):
            parse("train", ["rows.jsonl", "--lr", wrong])


def test_a_flag_with_several_values_may_be_repeated():
    once = parse("evaluate", ["--rows", "r.jsonl", "--model", "a", "b"])
    again = parse("evaluate", ["--rows", "r.jsonl", "--model", "a", "--model", "b"])
    assert once.model == again.model == ("a", "b")


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


def test_a_knob_reaches_its_objective():
    options = parse("train", ["x", "--objective", "kto", "--beta", "0.3", "--kl-estimate", "matched"])
    assert objective_of(options) == KTO(beta=0.3, kl_estimate="matched")
    assert objective_of(parse("train", ["x", "--objective", "ipo", "--no-length-normalize"])).length_normalize is False


def helps(verb, objective="rpo"):
    """Option → its text in --help, with the white space of lines joined."""
    parser = make_parser("", options_of(verb), objective=objective)
    return {action.dest: action.help for action in parser._actions}


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_text_ends_in_the_default_of_the_dataclass(verb):
    texts = helps(verb)
    for item in fields(options_of(verb)):
        if "objectives" in item.metadata:
            continue
        text = texts[item.name]
        assert text.startswith(item.metadata["help"].replace("%", "%%"))
        assert "default" not in item.metadata["help"].lower(), f"{item.name}: the default comes from the field"
        if item.default is None:
            shown = item.metadata.get("otherwise")
            assert shown or "positional" in item.metadata, f"{item.name}: say what None stands for"
        else:
            shown = (" ".join(item.default) or "none") if isinstance(item.default, tuple) else item.default
        required = item.default is MISSING or "positional" in item.metadata
        assert text.endswith(f"(default: {shown:g})" if isinstance(shown, float) else f"(default: {shown})") != required


@pytest.mark.parametrize("objective", [*declarations(), REWARD_MODEL])
def test_help_lists_the_fields_of_the_chosen_objective_with_its_defaults(objective):
    texts = helps("train", objective)
    knobs = knobs_of(objective)
    every = {name for item in declarations().values() for name in item.knobs}
    assert {name for name in every if texts[name] != argparse.SUPPRESS} == set(knobs)
    for name, knob in knobs.items():
        shown = knob.otherwise if knob.default is None else knob.default
        assert texts[name].startswith(knob.help)
        assert texts[name].endswith(f"(default: {shown:g})" if isinstance(shown, float) else f"(default: {shown})")
    shown = {name for name in ("preset", "reference_samples") if texts[name] != argparse.SUPPRESS}
    declared = declarations().get(objective)
    expected = {"preset"} if declared and declared.presets else set()
    assert shown == (expected | {"reference_samples"} if objective in partitioned() else expected)


def test_help_of_train_takes_the_objective_from_the_arguments(capsys):
    with pytest.raises(SystemExit):
        cli.run(["train", "--objective", "kto", "--help"])
    out = capsys.readouterr().out
    assert "--desirable-weight" in out
    assert "--target-std" not in out
    assert parse("train", ["x", "--target-std", "3"]).knobs() == {"target_std": 3.0}


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_in_groups_and_starts_with_what_everyone_needs(verb):
    groups = [
        group for group in make_parser("", options_of(verb), objective="rpo")._action_groups if group._group_actions
    ]
    titles, first = [group.title for group in groups], options_of(verb).shown_first
    assert titles == ["options", *(name for name in GROUPS if name in titles)]
    assert ("common" in titles) == bool(first)
    assert len(first) <= 8
    if first:
        assert [action.dest for action in groups[1]._group_actions] == list(first)
    if verb == "train":
        assert titles[1:] == ["common", "data", "model", "objective", "training", "sampling", "evaluation", "output"]


def otherwise(config):
    return {item.name: item.metadata.get("otherwise") for item in fields(config)}


def test_defaults_in_words_are_those_of_the_code(monkeypatch):
    monkeypatch.delenv("VALUEFREE_CACHE", raising=False)
    texts = otherwise(EvaluateConfig)
    assert texts["bertscore_model"] == bertscore.DEFAULT_MODEL
    assert texts["toxicity_model"] == toxicity.DEFAULT_MODEL
    default = ", ".join(parse("evaluate", ["--predictions", "p.jsonl"]).measured())
    assert texts["metrics"] == f"{default} with --predictions, else none"
    assert "/".join(default_cache_dir().parts[-2:]) in otherwise(TrainConfig)["cache_dir"]
    assert otherwise(GenerateConfig)["top_k"] == f"{DecodingOptions().top_k}; on a server its own"


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
    assert ("9 responses to 3 prompts to train on" if verb == "train" else "12 responses to score") in printed
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--test-prompts", "4"], r"4 of 4 prompts cannot be held out.*Choose fewer \(--test-prompts"),
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
    assert "settings; all others are at their defaults (--help)\n" in printed, "demo, with none given"


def test_a_dry_run_prints_what_differs_from_the_defaults_and_what_the_data_decide(tmp_path, capsys):
    """12 rows of 4 prompts, of which one is held out: 9 rows in steps of 2 are 5 a pass, 10 in two."""
    rows = str(rows_file(tmp_path))
    cli.run(["train", rows, "--dry-run", "--batch-size", "2", "--epochs", "2", "--warmup-steps", "3"])
    head, *settings, objective, parts, steps = capsys.readouterr().out.splitlines()
    assert head == "settings; all others are at their defaults (--help):"
    assert set(settings) == {"  epochs: 2.0", "  batch_size: 2", f"  data: {rows}", "  warmup_steps: 3"}
    assert objective.startswith("objective: rpo; by the data: tau 0.1021, "), "1.2247 within prompts, over 12 nats"
    assert parts == "rows: 9 responses to 3 prompts to train on, 3 responses to 1 prompt held out"
    assert steps == "steps: 10 of 2 responses (9 in all), of which 3 are warm-up"


def test_a_fault_of_the_data_is_told_before_torch_is_imported(tmp_path):
    code = (
        "import sys\nfrom valuefree.cli import main\nfrom valuefree.errors import DataError\n"
        "try:\n    main.run(sys.argv[1:])\nexcept DataError as error:\n    print(error, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "train", str(rows_file(tmp_path)), "--reward", "nope"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "no column 'nope'" in said
    assert said.strip().endswith("False")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "x.jsonl", "--lr", "fast"], "lr is 'fast'; expected a number or auto"),
        (["completion"], "missing: shell. Choose shell from bash, zsh, fish."),
        (
            ["evaluate", "--predictions", "a.jsonl", "--references", "r.jsonl"],
            "--reference-column, of the file of pred",
        ),
    ],
)
def test_a_wrong_value_is_told_the_choices(arguments, words):
    with pytest.raises(ConfigError, match=words):
        parse(arguments[0], arguments[1:])


def test_a_dry_run_prints_nothing_before_an_error_of_the_data(tmp_path, capsys):
    with pytest.raises(DataError, match="no column 'nope'"):
        cli.run(["train", str(rows_file(tmp_path)), "--dry-run", "--reward", "nope"])
    assert capsys.readouterr().out == ""


def test_an_unknown_tracker_is_an_error_that_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"report_to is 'foo'; choose from none, .*tensorboard.*wandb"):
        cli.run(["train", str(rows_file(tmp_path)), "--dry-run", "--report-to", "foo"])


def test_the_command_line_knows_every_estimator():
    """The objective lists them as literals, which the command line reads without torch."""
    known = get_args(declarations()["rpo"].knobs["estimator"].kind)
    assert set(known) == {*ESTIMATORS, "auto", "learned"}
    with pytest.raises(ConfigError, match="invalid choice: 'foo'"):
        parse("train", ["x.jsonl", "--estimator", "foo"])


def test_a_temperature_of_zero_is_refused_in_its_own_unit(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"tau is 0.0; expected at least 1e-06 and at most 1000000 \(temperature, in standard deviations",
    ):
        cli.run(["train", str(rows_file(tmp_path)), "--dry-run", "--tau", "0"])


def test_an_error_of_ours_is_one_message_and_an_exit_code(tmp_path, monkeypatch, capsys):
    for arguments, code in ((["train", "--nope"], 2), (["train", str(tmp_path / "none.jsonl"), "--dry-run"], 1)):
        monkeypatch.setattr(sys, "argv", ["valuefree", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == code
        error = capsys.readouterr().err
        assert error.startswith("valuefree: ")
        assert "Traceback" not in error


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_exception_is_one_message_and_its_traceback_is_shown_on_demand(monkeypatch, capsys, debug):
    def broken(arguments):
        assert arguments == ["train", "x"]  # --debug is read by no verb
        raise KeyError("\ud800" + "x" * 5000)

    monkeypatch.setattr(cli, "run", broken)
    monkeypatch.setattr(sys, "argv", ["valuefree", "train", *(["--debug"] if debug else []), "x"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    said = capsys.readouterr().err
    assert ("Traceback" in said) is debug
    message = said.splitlines()[-2:]
    assert message[0].startswith("valuefree: KeyError: ")
    assert len(message[0]) < 1100
    assert message[1].startswith("This is a fault of valuefree, not of the command. Please report it")


EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("recipe", EXAMPLES, ids=lambda file: file.name)
def test_every_example_is_a_recipe_that_its_verb_takes(recipe):
    verb = recipe.name.split("_")[0]
    assert f"valuefree {verb} --config examples/{recipe.name}" in recipe.read_text(encoding="utf-8")
    options = parse(verb, ["--config", str(recipe)])
    assert type(options) is options_of(verb)


def test_the_readme_names_verbs_and_flags_that_exist():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    command = next(line for line in readme.splitlines() if line.startswith("valuefree train"))
    options = parse("train", command.split()[2:])
    assert (options.data, options.model, options.out) == ("feedback.csv", "google/flan-t5-small", "run")
    assert options.thumbs


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lr", "-1"], "lr is -1.0; expected at least 0"),
        (["--lr", "nan"], "lr is nan; expected at least 0"),
        (["--batch-size", "0"], "batch_size is 0; expected at least 1"),
        (["--accumulation", "0"], "accumulation is 0; expected at least 1"),
        (["--lora-rank", "-3"], "lora_rank is -3; expected at least 0"),
        (["--warmup-steps", "-1"], "warmup_steps is -1; expected at least 0"),
        (["--epochs", "0"], "epochs is 0.0; expected above 0"),
        (["--temperature", "-1"], "temperature is -1.0; expected at least 0"),
        (["--top-p", "7"], "top_p is 7.0; expected above 0 and at most 1"),
    ],
)
def test_a_number_out_of_bounds_is_refused_before_anything_is_read(flags, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse("train", ["no-such-file.jsonl", *flags])


def test_the_schema_has_the_bounds():
    properties = recipe_schema("train")["properties"]
    assert properties["batch_size"]["minimum"] == 1
    assert (properties["top_p"]["exclusiveMinimum"], properties["top_p"]["maximum"]) == (0, 1)


def test_a_closed_pipe_is_no_error():
    """`valuefree schema train | head -c 1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "valuefree", "schema", "train"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.read(1)
    process.stdout.close()
    assert "Traceback" not in process.stderr.read().decode()
