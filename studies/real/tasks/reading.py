"""Simple explanations: the reading level of the response by the automated readability index. No torch."""

from collections.abc import Sequence

import textstat

from studies.real.tasks.task import Task
from studies.real.tasks.topics import PHENOMENA
from valuefree.demo.verifiers import words

FORMS = (
    "Explain {} in two sentences.",
    "What should I know about {}?",
    "Tell me how {} came to be understood.",
)
EASY, HARD = 3.0, 18.0  # school years
FEWEST_WORDS = 8  # the index means nothing for less


def prompts() -> list[str]:
    """80 topics in three forms."""
    return [form.format(topic) for topic in PHENOMENA for form in FORMS]


def reward(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """1 for a text of the third school year or below, 0 for the 18th or above, linear between; 0 below eight words."""
    return [
        min(1.0, max(0.0, (HARD - textstat.automated_readability_index(text)) / (HARD - EASY)))
        if len(words(text)) >= FEWEST_WORDS
        else 0.0
        for text in responses
    ]


TASK = Task(
    name="reading",
    about="(18 − automated readability index of the response) / 15, held between 0 and 1; 0 below eight words",
    licence="textstat on PyPI, MIT; index of Smith and Senter 1967; prompts written for this study (Apache-2.0)",
    prompts=prompts,
    reward=reward,
    hint="Use short words and short sentences, as for a child of eight.",
)
