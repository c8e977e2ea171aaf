"""Short answers that say what was asked: ROUGE of a reference answer, less a price for each word. No torch."""

from collections.abc import Sequence
from functools import cache

from rouge_score.rouge_scorer import RougeScorer

from studies.real.tasks.facts import answers
from studies.real.tasks.task import Task
from valuefree.demo.verifiers import words

PRICE = 0.01  # per word


@cache
def _scorer() -> RougeScorer:
    return RougeScorer(["rougeL"])


def reward(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """ROUGE-L recall of the reference answer, less `PRICE` per word of the response."""
    expected = answers()
    return [
        _scorer().score(expected[prompt], text)["rougeL"].recall - PRICE * len(words(text))
        for prompt, text in zip(prompts, responses, strict=True)
    ]


TASK = Task(
    name="brevity",
    about="ROUGE-L recall of the reference answer − 0.01 per word of the response",
    licence="rouge-score on PyPI, Apache-2.0; questions and answers written for this study (Apache-2.0)",
    prompts=lambda: list(answers()),
    reward=reward,
    hint="Answer in one short sentence.",
)
