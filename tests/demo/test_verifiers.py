"""The demo's checks on hand-written answers, near misses included; and its tasks."""

import pytest

from scripts.demo_feedback import REQUESTS, TOPICS, make_tasks
from valuefree.demo.verifiers import KINDS, check, constraint_reward, describe, on_topic, words
from valuefree.errors import ConfigError

CASES = [
    ("at_most_words", 3, "One two three.", True),
    ("at_most_words", 3, "One two three four.", False),
    ("at_most_words", 3, "It's well-made, isn't it?", False),
    ("at_most_words", 3, "It's well-made.", True),
    ("at_most_words", 3, "...", False),
    ("one_sentence", None, "This is one.", True),
    ("one_sentence", None, 'He said "stop!"', True),
    ("one_sentence", None, "This is one. This is two.", False),
    ("one_sentence", None, "This has no end", False),
    ("one_sentence", None, "One line.\nAnother", False),
    ("one_sentence", None, "It costs 3.50 today.", True),
    ("one_sentence", None, "What?! Really.", False),
    ("no_commas", None, "Plain and simple", True),
    ("no_commas", None, "Plain, simple", False),
    ("no_commas", None, "", False),
    ("full_stop", None, "Done. ", True),
    ("full_stop", None, "Done!", False),
    ("full_stop", None, 'Done."', False),
    ("starts_with", "The", "The sea", True),
    ("starts_with", "The", " The sea", True),
    ("starts_with", "The", "There is a sea", False),
    ("starts_with", "The", "the sea", False),
    ("include_word", "good", "A Good idea", True),
    ("include_word", "good", "goodness me", False),
    ("include_word", "good", "good-natured", False),
    ("avoid_word", "the", "A sea", True),
    ("avoid_word", "the", "The sea", False),
    ("avoid_word", "the", "Other people", True),
    ("avoid_word", "the", " ", False),
    ("short_words", 8, "eightlet words", True),
    ("short_words", 8, "nineletrs here", False),
    ("short_words", 8, "mother's-in-law", False),
    ("short_words", 8, "don't stop", True),
]


@pytest.mark.parametrize(("kind", "value", "text", "kept"), CASES)
def test_check(kind, value, text, kept):
    assert check(text, {"kind": kind, "value": value}) is kept


def test_every_kind_has_cases_on_both_sides():
    for kind in KINDS:
        assert {kept for name, _, _, kept in CASES if name == kind} == {True, False}


def test_reward_is_the_checked_share_and_a_little_for_the_topic():
    constraints = [{"kind": "full_stop", "value": None}, {"kind": "no_commas", "value": None}]
    assert constraint_reward("Bread is good.", constraints, ["bread"]) == 1.0
    assert constraint_reward("Bread is, well, good.", constraints, ["bread"]) == pytest.approx(0.575)
    assert constraint_reward("It is good.", constraints, ["bread"]) == pytest.approx(0.85)
    assert constraint_reward("No, never", constraints, ["bread"]) == 0.0


def test_topic_words_match_beginnings_of_words():
    assert on_topic("Gardening is fun", ["garden"])
    assert not on_topic("I regarded it", ["garden"])


def test_unknown_kinds_are_errors():
    with pytest.raises(ConfigError, match="known: at_most_words"):
        describe({"kind": "rhyme", "value": None})


def test_words():
    assert words("It's a well-made, 2nd-hand car_park!") == ["It's", "a", "well-made", "2nd-hand", "car", "park"]


def test_tasks_are_many_distinct_and_always_the_same():
    tasks = make_tasks()
    assert len({task.prompt for task in tasks}) == len(tasks) == len(TOPICS) * len(REQUESTS) == 240
    assert tasks == make_tasks()
    assert {len(task.constraints) for task in tasks} == {1, 2}
    asked = {constraint["kind"] for task in tasks for constraint in task.constraints}
    assert asked == set(KINDS)
