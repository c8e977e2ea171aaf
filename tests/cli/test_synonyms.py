"""A name of TRL, transformers or axolotl leads to the option that it means."""

from dataclasses import fields

import pytest

from valuefree.cli.options import VERBS, options_of
from valuefree.cli.parse import parse
from valuefree.cli.synonyms import MEANINGS, nearest_option
from valuefree.errors import ConfigError


def names_of(verb):
    return {item.name for item in fields(options_of(verb))}


def test_every_name_stands_for_an_option_of_a_verb_that_lacks_the_name():
    every = set().union(*(names_of(verb) for verb in VERBS))
    assert set(MEANINGS) <= every
    for option, words in MEANINGS.items():
        for word in words.split():
            verbs = [verb for verb in VERBS if option in names_of(verb) and word not in names_of(verb)]
            assert verbs, f"{word} is an option wherever {option} is"


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--learning-rate", "'--lr'"),
        ("--learning_rate", "'--lr'"),
        ("--num-train-epochs", "'--epochs'"),
        ("--per-device-train-batch-size", "'--batch-size'"),
        ("--gradient-accumulation-steps", "'--accumulation'"),
        ("--output-dir", "'--out'"),
        ("--output", "'--out'"),
        ("--model-name-or-path", "'--model'"),
        ("--dataset-name", "'data'. It is given without a flag"),
        ("--loss-type", "'--objective'"),
        ("--method", "'--objective'"),
        ("--max-seq-length", "'--max-length'"),
        ("--lora-r", "'--lora-rank'"),
        ("--warmup", "'--warmup-steps'"),
        ("--warmup-ratio", "'--warmup-steps'"),
        ("--kl-coef", "'--tau'"),
        ("--epoch", "'--epochs'"),
        ("--objektive", "'--objective'"),
        ("--reward-model", "'--reward-function'"),
    ],
)
def test_an_unknown_flag_names_what_it_means(flag, meant):
    with pytest.raises(ConfigError, match="did you mean") as caught:
        parse("train", ["rows.jsonl", flag, "1"])
    assert meant in str(caught.value).replace("?", ".")


@pytest.mark.parametrize(("verb", "flag", "meant"), [("generate", "--dataset", "prompts"), ("sample", "-o", "--out")])
def test_the_meaning_depends_on_the_verb(verb, flag, meant):
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        parse(verb, ["p.txt", flag, "x"])


@pytest.mark.parametrize(("key", "meant"), [("learning_rate", "lr"), ("per_device_train_batch_size", "batch_size")])
def test_an_unknown_key_of_a_recipe_names_what_it_means(tmp_path, key, meant):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: x\n{key}: 1\n")
    with pytest.raises(ConfigError, match=f"unknown key '{key}'; did you mean '{meant}'"):
        parse("train", ["--config", str(recipe)])


@pytest.mark.parametrize(("objective", "flag"), [("rpo", "--beta"), ("nca", "--beta"), ("dpo", "--tau")])
def test_a_temperature_of_one_objective_is_not_said_to_be_that_of_another(objective, flag):
    """A value of beta does not carry over to tau: they have different units."""
    with pytest.raises(ConfigError, match=r"does not read .*; it has [^;]*\.$"):
        parse("train", ["x.jsonl", "--objective", objective, flag, "1"])


@pytest.mark.parametrize(("objective", "meant"), [("rpo", "--tau"), ("dpo", "--beta"), ("kto", "--beta")])
def test_an_unknown_flag_names_a_field_of_the_objective_that_was_chosen(objective, meant):
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        parse("train", ["x.jsonl", "--objective", objective, "--kl-coef", "1"])


def test_a_name_like_nothing_has_no_suggestion():
    assert nearest_option("--zzzz", ["lr", "out"]) is None
    with pytest.raises(ConfigError, match=r"unknown argument '--zzzz'\.$"):
        parse("train", ["x", "--zzzz"])
