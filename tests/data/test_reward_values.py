"""Spellings of rewards, one by one and as columns."""

import pytest

from valuefree.data.reward_values import rating_of, ratings_of, read_categories, thumb_of
from valuefree.errors import ConfigError

UP = [
    "up",
    "UP ",
    "👍",
    "👍🏽",
    "👍🏿",
    "👍️",
    "like",
    "Liked",
    "thumbs_up",
    "Thumbs up",
    "thumbs-up",
    ":+1:",
    ":thumbs_up:",
]
UP += ["thumbsup", "positive", "good", "yes", "True", True, "+1"]
DOWN = ["down", "👎", "👎🏻", "dislike", "thumbs_down", "Thumbs Down", ":-1:", "negative", "bad", "no", "false", False]
DOWN += ["-1", "−1"]


@pytest.mark.parametrize("value", UP)
def test_thumbs_up(value):
    assert thumb_of(value) == 1


@pytest.mark.parametrize("value", DOWN)
def test_thumbs_down(value):
    assert thumb_of(value) == -1


@pytest.mark.parametrize("value", [1, 0, 1.0, "1", "0", "", "maybe", None, "goodness", "5"])
def test_what_is_no_thumb(value):
    assert thumb_of(value) is None


@pytest.mark.parametrize(
    ("text", "value", "scale"),
    [
        ("4 stars", 4, None),
        ("1 Star", 1, None),
        ("4.5 stars", 4.5, None),
        ("4,5 stars", 4.5, None),
        ("★★★★☆", 4, 5),
        ("☆☆☆☆☆", 0, 5),
        ("⭐⭐⭐", 3, None),
        ("⭐️⭐️", 2, None),
        ("4/5", 4, 5),
        ("8 / 10", 8, 10),
        ("8 out of 10", 8, 10),
        ("3 ★", 3, None),
    ],
)
def test_stars(text, value, scale):
    rating = rating_of(text)
    assert (rating.value, rating.scale, rating.kind) == (value, scale, "stars")


@pytest.mark.parametrize(
    ("value", "number"), [(7, 7), ("7", 7), (" 0.5 ", 0.5), ("−2.5", -2.5), ("+1", 1), ("1e2", 100)]
)
def test_numbers(value, number):
    assert rating_of(value)[:2] == (number, "number")


@pytest.mark.parametrize("value", ["nan", float("inf"), "lovely", "", "5 apples", "/5", None, [1]])
def test_what_is_no_reward(value):
    assert rating_of(value) is None


def column(values, **knobs):
    return ratings_of(values, name="column 'x'", **knobs)


def test_zero_and_one_become_signs_with_thumbs_and_this_is_said():
    assert column([1, "0", None, 1], thumbs=True) == (
        [1, -1, None, 1],
        ["column 'x' holds 0 and 1 only: rewards -1 and +1"],
    )
    rewards, notes = column([1, 0])
    assert rewards == [1, 0]
    assert "--thumbs makes them -1 and +1" in notes[0]
    assert column([0, 1, 2], thumbs=True) == (
        [0, 1, 2],
        ["the rewards are no thumbs, but numbers from 0 to 2, kept as they are"],
    )
    assert column([1, 1], thumbs=True) == ([1, 1], [])


def test_thumbs_go_with_signs_but_with_no_other_scale():
    assert column(["👍", "−1", ""])[0] == [1, -1, None]
    with pytest.raises(ConfigError, match=r"mixes thumbs with another scale \(2 × number, 1 × thumb\)"):
        column(["up", 4, 5])
    with pytest.raises(ConfigError, match="several scales: out of 5, 10"):
        column(["4/5", "8/10"])


def test_categories_come_first_and_are_compared_without_case():
    labels = read_categories(["Great=2, so so=0.5", "bad=−1"])
    assert labels == {"great": 2, "so so": 0.5, "bad": -1}
    assert column(["GREAT", "bad", "So so"], categories=labels) == ([2, -1, 0.5], [])


def test_unknown_labels_are_listed_with_counts_and_the_flag():
    with pytest.raises(ConfigError, match=r"'meh' \(2\), 'so so' \(1\)\. .*--categories meh=NUMBER \"so so\"=NUMBER"):
        column(["meh", "so so", "meh", "good"])
    with pytest.raises(ConfigError, match=r"--categories nice=1 meh=NUMBER$"):
        column(["nice", "meh"], categories={"nice": 1.0})


@pytest.mark.parametrize("text", ["good", "good=", "=1", "good=very", "good=nan"])
def test_a_category_needs_a_number(text):
    with pytest.raises(ConfigError, match="expected LABEL=NUMBER"):
        read_categories([text])
