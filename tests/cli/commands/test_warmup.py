"""The warm-up of a run: 10 steps, at most a fifth of all, unless it is given."""

import pytest

from valuefree.cli.commands.runs import warmup_steps
from valuefree.cli.parse import parse


@pytest.mark.parametrize(
    ("given", "steps", "expected"),
    [([], 4, 0), ([], 15, 3), ([], 49, 9), ([], 50, 10), ([], 500, 10), (["--warmup-steps", "7"], 15, 7)],
)
def test_the_default_is_ten_steps_at_most_a_fifth(given, steps, expected):
    options = parse("train", ["rows.jsonl", "--model", "m", *given])
    assert warmup_steps(options, steps) == expected
