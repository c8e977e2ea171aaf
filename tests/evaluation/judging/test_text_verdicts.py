"""Verdicts from texts: a label counts where it stands as an answer, and two different ones are none."""

import re
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
        "A has several errors, and B is correct.",
        "A gives a wrong answer",
        "A has factual mistakes",
        "A does little to help",
        "A offers nothing of use.",
        "A is correct, and so is B.",
        "A answers another question.",
        "A has more errors.",
        "A: has several errors. B: correct.",
        "A: wrong answer",
        "A: good answer. B: better answer.",
        "A (which has several errors)",
        "A, unlike B, has several errors.",
        "A - unlike B - misses the point.",
        "A, B",
        "A: short, B: right",
        "A - short. B - right.",
        "(A) is short, (B) is right.",
        "[[A]] is wrong.",
        "Overall, A is more detailed, but B is right.",
        "Overall, Response A is better written, but Response B is correct.",
        "A. Wrong answer.",
        "My choice is A for the worst answer.",
        "A by contrast fails to answer.",
        "A as a whole is hard to follow.",
        "Answer: A is wrong.",
        "Verdict: A has several errors",
        "The worst answer is A.",
        "The less helpful response is Response A.",
        "The incorrect answer is A",
        "I select A as the worse answer.",
        "I prefer A less.",
        "Is the better answer A?",
        "Overall, A has more errors.",
        "Overall, Response A is more verbose.",
        "Therefore, A gives the most misleading answer.",
        "Overall, A does more harm than good.",
        "A is better at making mistakes.",
        "A is best avoided.",
        "I doubt that A is better.",
        "It would be wrong to say that A is better.",
    ],
)
def test_a_statement_against_a_side_is_never_its_win(text):
    assert read_text(text).verdict != "first"
    assert read_text(_swapped(text)).verdict != "second"


def _swapped(text):
    """The same statement with the labels exchanged."""
    return re.sub(r"\b[AB]\b", lambda label: "B" if label[0] == "A" else "A", text)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("A has several errors, and B is better.", "second"),
        ("Response A omits the date. Response B is better.", "second"),
        ("B: Response A has several errors and omits the date.", "second"),
        ("B; A is wrong.", "second"),
        ("A: no errors, and more detailed than B", "first"),
        ("B because A does not answer the question", "second"),
        ("I prefer A because B is wrong.", "first"),
        ("A is wrong, so my answer is B.", "second"),
        ("Response A is better because it does not contain errors.", "first"),
        ("Overall, Response B gives the most accurate and complete answer.", "second"),
        ("A is better.", "first"),
        ("Overall, Response A is better, but it has errors.", "first"),
        ("A. Response B does not answer.", "first"),
        ("A wins.", "first"),
    ],
)
def test_a_statement_against_one_side_leaves_the_verdict_for_the_other(text, verdict):
    assert read_text(text).verdict == verdict


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


@pytest.mark.parametrize(
    "piece",
    [
        "(",
        "*",
        "A ",
        "Output ",
        "final answer: (",
        "A is ",
        "both ",
        "therefore ",
        "[[",
        "A is better ",
        "so A gives a better ",
    ],
)
def test_no_text_takes_long_to_read(piece):
    """20,000 characters, the longest answer that is kept; a pattern that backtracked would need minutes."""
    started = time.monotonic()
    read_text((piece * 20_000)[:20_000])
    assert time.monotonic() - started < 5
