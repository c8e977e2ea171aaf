"""Texts that share some of their words, for the tests of metrics."""

import random

SENTENCES = (
    "the sea is wide and blue , it never sleeps . Bread needs an hour to rest ! Cats purr because they are content ; "
    "a car stopped near the old automobile , running dogs ran 3.5 miles . Why ? Mr. Smith did n't say ."
)
WORDS = SENTENCES.split()


def texts(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Predictions and references that share some words, 5 to 40 each."""
    draw = random.Random(seed)
    references = [" ".join(draw.choices(WORDS, k=draw.randint(5, 40))) for _ in range(count)]
    predictions = []
    for reference in references:
        words = [word if draw.random() < 0.7 else draw.choice(WORDS) for word in reference.split()]
        predictions.append(" ".join(words[: draw.randint(1, len(words))]))
    return predictions, references
