"""Verdicts from texts: a label counts where it stands as an answer, and two different ones are none."""

import time

import pytest

from valuefree.errors import ConfigError
from valuefree.evaluation.judging.labels import Labels
from valuefree.evaluation.judging.text_verdicts import read_text


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("A", "first"),
        ("b", "second"),
        (' "B".\n', "second"),
        ("**B**", "second"),
        ("[[A]]", "first"),
        ("Neutral", "neutral"),
        ("N", "neutral"),
        ("Tie.", "neutral"),
        ("Output (b)", "second"),
        ("A: Good answer", "first"),
        ("A is the correct answer.", "first"),
        ("A, because B is wrong", "first"),
        ("B\n\nBoth name the colour, but only B gives a reason.", "second"),
        ("Answer: B", "second"),
        ("My final verdict is [[A]].", "first"),
        ("I prefer Response B because it is shorter", "second"),
        ("Both are good. So neutral.", "neutral"),
        ("Therefore, both responses are equally helpful.", "neutral"),
        ("Output (b) is shorter, but wrong. Therefore, Output (a) is better.", "first"),
        ("Response A is better in style. Overall, Response B is more accurate.", "second"),
    ],
)
def test_a_label_that_stands_as_an_answer_is_the_verdict(text, verdict):
    assert read_text(text).verdict == verdict


@pytest.mark.parametrize(
    "text",
    [
        "INCORRECT",  # holds CORRECT
        "Banana",  # begins with B
        "A good answer would name the colour.",  # the article
        "The answer is A good thing",
        "B-side",
        "Neither A nor B is better.",
        "It is hard to say whether A is better.",
        "A is not better.",
        "A is worse, it misses the point.",
        "Response A: fine. Response B: fine.",
        "A or B",
        "If both responses are equally good, I would say so.",
    ],
)
def test_a_label_that_merely_occurs_is_none(text):
    reading = read_text(text)
    assert (reading.verdict, reading.reason) == (None, "no label stands as an answer")


@pytest.mark.parametrize(
    "text",
    [
        "A\n\nB",
        "A: good\nB: better",
        "Output (b) is better. It is short. Therefore, Output (a) is better.",
        "B\nA is better though.",
        "Final verdict: A. On reflection, my final verdict: B.",
    ],
)
def test_two_different_verdicts_are_none(text):
    assert read_text(text).reason == "two different verdicts"


def test_nothing_said_is_no_verdict():
    assert read_text(" \n").reason == "the answer is empty"


def test_labels_of_the_prompt_are_read():
    labels = Labels.of("1, 2, Draw")
    assert [read_text(text, labels).verdict for text in ("2", "Answer: 1", "draw", "12", "A")] == [
        "second",
        "first",
        "neutral",
        None,
        None,
    ]


@pytest.mark.parametrize("text", ["A,B", "A,A,N", "A,AB,N", ",B,N"])
def test_labels_that_cannot_be_told_apart_are_refused(text):
    with pytest.raises(ConfigError, match="labels are"):
        Labels.of(text)


@pytest.mark.parametrize("piece", ["(", "*", "A ", "Output ", "final answer: (", "A is ", "both ", "therefore ", "[["])
def test_no_text_takes_long_to_read(piece):
    """20,000 characters, the longest answer that is kept; a pattern that backtracked would need minutes."""
    started = time.monotonic()
    read_text((piece * 20_000)[:20_000])
    assert time.monotonic() - started < 5
