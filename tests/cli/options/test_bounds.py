"""Every number option of every verb declares a range, and a value outside ends in one message, before any work."""

import math
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from typing import get_type_hints

import pytest

from valuefree.cli.options import VERBS, options_of
from valuefree.cli.options.bounds import LARGEST, bounds_of, expected
from valuefree.cli.options.groups import flag, key_of
from valuefree.cli.parse import from_mapping, kinds, parse
from valuefree.errors import ConfigError

UNLIMITED = {"level"}  # inf is eq. 21


def numbers():
    for verb in VERBS:
        hints = get_type_hints(options_of(verb))
        for item in fields(options_of(verb)):
            kind = kinds(hints[item.name])[0]
            if kind in (int, float):
                yield verb, item, kind


NUMBERS = list(numbers())


def outside(item, kind):
    bounds = item.metadata["bounds"]
    low = bounds.get("minimum", bounds.get("exclusiveMinimum"))
    values = [kind(low) - (1 + abs(low) if "minimum" in bounds else 0), -(10.0**300) if kind is float else -(10**30)]
    values += [math.nan, -math.inf] if kind is float else []
    if item.name not in UNLIMITED:
        values += [bounds["maximum"] * 2 + 1, *([math.inf, 1e300] if kind is float else [10**400])]
    return [kind(value) for value in values]


def test_there_are_numbers():
    """A loop over nothing would pass."""
    assert len(NUMBERS) > 80


@pytest.mark.parametrize(("verb", "item", "kind"), NUMBERS, ids=[f"{verb}-{item.name}" for verb, item, _ in NUMBERS])
def test_a_value_outside_the_declared_range_is_refused(verb, item, kind):
    config, bounds = options_of(verb), item.metadata["bounds"]
    assert len({"minimum", "exclusiveMinimum"} & set(bounds)) == 1
    assert ("maximum" in bounds) == (item.name not in UNLIMITED)
    needed = {key_of(other.name): "x" for other in fields(config) if other.default is MISSING}
    for value in outside(item, kind):
        with pytest.raises(ConfigError, match=re.escape(f"{item.name} is {value}; expected {expected(bounds)}")):
            from_mapping(config, needed | {key_of(item.name): value})


def test_flags_and_recipes_give_the_same_message(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: no-such-file.jsonl\nseed: -1\n", encoding="utf-8")
    for arguments in ([f"--config={recipe}"], ["no-such-file.jsonl", flag("seed"), "-1"]):
        with pytest.raises(ConfigError, match=rf"^seed is -1; expected at least 0 and at most {LARGEST}\.$"):
            parse("train", arguments)


def test_a_number_that_no_float_holds_is_refused(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: x\nepochs: {'9' * 400}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"epochs is 9+; expected a number"):
        parse("train", ["--config", str(recipe)])


def test_no_steps_at_all_are_refused():
    with pytest.raises(ConfigError, match="max_steps is 0; expected at least 1, or -1"):
        parse("train", ["x", "--max-steps", "0"])


def test_bounds_in_words():
    assert bounds_of(None, None, None) == {}
    assert expected(bounds_of(None, 0, 1)) == "above 0 and at most 1"
    assert expected(bounds_of(0, None, math.inf)) == "at least 0"
    assert expected(bounds_of(1, None, None)) == "at least 1 and at most 2147483647"


def test_the_process_ends_with_2_before_torch_is_imported():
    program = (
        "import sys\nfrom valuefree.cli.main import main\n"
        "sys.argv = ['valuefree', 'train', 'no-such-file.jsonl', '--epochs', 'nan']\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "False\n")
    assert ended.stderr == f"valuefree: epochs is nan; expected above 0 and at most {LARGEST}.\n"
