"""A cheerful continuation: the sentiment of the response by the lexicon VADER. No torch."""

from collections.abc import Sequence
from functools import cache

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from studies.real.tasks.task import Task
from studies.real.tasks.topics import PLACES, THINGS

FORMS = (
    "Write two sentences about {}.",
    "Continue this sentence: When I think of {},",
    "Continue this sentence: The truth about {} is that",
)


@cache
def _analyzer() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()


def prompts() -> list[str]:
    """80 topics in three forms."""
    return [form.format(topic) for topic in (*PLACES, *THINGS) for form in FORMS]


def reward(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """The compound score of the response, from 0 (very negative) to 1 (very positive); 0 without a letter."""
    return [
        0.5 + 0.5 * _analyzer().polarity_scores(text)["compound"] if any(map(str.isalpha, text)) else 0.0
        for text in responses
    ]


TASK = Task(
    name="sentiment",
    about="½ + ½ × the compound score of VADER for the response",
    licence="VADER (Hutto and Gilbert 2014), vaderSentiment on PyPI, MIT; prompts of this study (Apache-2.0)",
    prompts=prompts,
    reward=reward,
    hint="Sound delighted and full of joy.",
)
