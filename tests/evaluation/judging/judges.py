"""Judges for tests: functions of the shown question that know where the answers stand."""

import re

from valuefree.errors import JudgeError
from valuefree.evaluation.judging.backends import FunctionJudge

PLACES = re.compile(
    r"<BEGIN RESPONSE A (\w+)>\n(.*?)\n<END RESPONSE A \1>.*<BEGIN RESPONSE B \1>\n(.*?)\n<END RESPONSE B \1>",
    re.DOTALL,
)


def shown(question: str) -> tuple[str, str]:
    """The two answers within the delimiters of the guarded prompt."""
    found = PLACES.search(question)
    assert found is not None
    return found[2], found[3]


def prefers(score) -> FunctionJudge:
    """A judge without a place bias: the answer with the larger score."""

    def answer(question: str) -> str:
        a, b = (score(text) for text in shown(question))
        return "Neutral" if a == b else "A" if a > b else "B"

    return FunctionJudge(answer, name="fair")


def says(answers) -> tuple[FunctionJudge, list[str]]:
    """A judge that says what `answers` gives for the two shown texts, and the list of questions it was asked.

    An exception in place of an answer is raised.
    """
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        found = answers(*shown(question))
        if isinstance(found, Exception):
            raise found
        return found

    return FunctionJudge(answer, name="scripted"), asked


def down(first: str, second: str) -> JudgeError:
    return JudgeError("down")
