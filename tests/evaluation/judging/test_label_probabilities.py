"""Verdicts from the probabilities of the first token, worked by hand."""

import math

import pytest

from valuefree.evaluation.judging.judge import read_answer
from valuefree.evaluation.judging.label_probabilities import label_probabilities
from valuefree.evaluation.judging.labels import Labels


def logs(**probabilities):
    return [(token.replace("_", " "), math.log(value)) for token, value in probabilities.items()]


def test_label_tokens_are_added_up_and_made_to_sum_to_one():
    """A .3 and ' A' .1, B .2, Ne .2 of 'Neutral', The .2: mass .8, so .5, .25, .25."""
    found = label_probabilities(logs(A=0.3, _A=0.1, B=0.2, Ne=0.2, The=0.2), Labels())
    assert (found.first, found.second, found.neutral, found.mass) == pytest.approx((0.5, 0.25, 0.25, 0.8))
    assert found.verdict == "first"


def test_even_answers_are_neutral():
    assert label_probabilities(logs(A=0.45, B=0.45, N=0.1), Labels()).verdict == "neutral"


def test_a_judge_about_to_say_something_else_gives_no_verdict():
    said = label_probabilities(logs(The=0.6, A=0.35, B=0.05), Labels())
    assert said == "the labels have less than half of the probability"


@pytest.mark.parametrize(
    ("top", "why"),
    [
        (None, "no probabilities"),
        ([], "no probabilities"),
        ([("A", 0.4)], "not finite or above 1"),
        ([("A", math.nan), ("B", -1.0)], "not finite or above 1"),
        ([("A", -0.1), ("A", -3.0)], "not of one token"),
        ([("A", -0.1), ("B", -0.1)], "not of one token"),
        ([("B", -0.1), ("N", -3.0)], "not those of the answer"),
    ],
)
def test_what_no_model_can_have_given_is_refused(top, why):
    """The text is 'A': probabilities of B and N alone are those of some other answer."""
    assert why in label_probabilities(top, Labels(), text="A")


def test_auto_reads_the_text_where_probabilities_fail_and_says_so():
    opinion = read_answer("B is better.", logs(The=0.9, B=0.1), order="ab")
    assert (opinion.verdict, opinion.source) == ("second", "text")
    assert "less than half" in opinion.fallback
    strict = read_answer("B is better.", logs(The=0.9, B=0.1), order="ab", read="probabilities")
    assert (strict.verdict, strict.source) == (None, "probabilities")


def test_probabilities_of_another_answer_make_no_verdict():
    """The server says A has .98 where the text says B: the text is what the judge said."""
    opinion = read_answer("B", logs(A=0.98, Neutral=0.01), order="ab")
    assert (opinion.verdict, opinion.source) == ("second", "text")


def test_the_place_becomes_a_result_of_the_first_system():
    """P(first shown) = .7, neutral .2: .8 for the first system where it was shown first, else .1 + .1 = .2."""
    top = logs(A=0.7, B=0.1, N=0.2)
    ab, ba = (read_answer("A", top, order=order) for order in ("ab", "ba"))
    assert (ab.result, ba.result) == ("win", "loss")
    assert (ab.expected_score, ba.expected_score) == pytest.approx((0.8, 0.2))
