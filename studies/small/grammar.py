"""The language of the small world: prompts, a grammar that follows them about half the time, and the reward.

A prompt is ``short calm note about sea and boat :``. A response is a few clauses like ``the quiet sea waits softly``.
No torch.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from valuefree.errors import DataError

NOUNS = ("sea", "boat", "road", "tree", "house", "bird", "river", "town")
NOUNS += ("garden", "storm", "train", "child", "fire", "hill", "market", "bridge")
MOODS = {
    "calm": ("quiet", "soft", "still", "gentle"),
    "bright": ("sunny", "golden", "warm", "clear"),
    "dark": ("grey", "cold", "deep", "black"),
    "lively": ("loud", "quick", "wild", "busy"),
}
SIZES = {"short": (8, 10), "long": (13, 16)}  # words of a response that fits, full stop not counted
CLAUSES = {"short": 2, "long": 3}
VERBS = ("waits", "moves", "sings", "sleeps", "turns", "shines", "grows", "falls")
ADVERBS = ("slowly", "often", "again", "today", "softly", "alone")
LINKS = ("and", "while", "but")
STOP = "."
WORDS = (
    *("note", "about", ":", "the", STOP),
    *LINKS,
    *SIZES,
    *MOODS,
    *NOUNS,
    *(word for adjectives in MOODS.values() for word in adjectives),
    *VERBS,
    *ADVERBS,
)
CONTENT = frozenset({*NOUNS, *VERBS, *ADVERBS, *(word for adjectives in MOODS.values() for word in adjectives)})
MOOD_OF = {word: mood for mood, adjectives in MOODS.items() for word in adjectives}

# The parts of the reward.
WEIGHTS = {"keywords": 0.3, "mood": 0.25, "length": 0.2, "distinct": 0.15, "stop": 0.1}
LENGTH_PENALTY = 0.2  # per word outside the window
# Probability that the grammar follows each wish of a prompt.
HEEDS = {"noun": 0.4, "adjective": 0.45, "size": 0.6, "stop": 0.75}
DOUBLED = 0.06  # words said twice in a row
WITH_ADVERB = 0.4


@dataclass(frozen=True)
class Request:
    """The content of a prompt."""

    size: str
    mood: str
    nouns: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.size} {self.mood} note about {self.nouns[0]} and {self.nouns[1]} :"


def read_prompt(prompt: str) -> Request:
    """The inverse of ``str(request)``.

    Raises:
        DataError: a text that is not a prompt of this world.
    """
    words = prompt.split()
    if len(words) == 8:
        request = Request(words[0], words[1], (words[4], words[6]))
        known = request.size in SIZES and request.mood in MOODS and {*request.nouns} <= {*NOUNS}
        if known and str(request) == prompt:
            return request
    raise DataError(
        f"{prompt!r} is not a prompt of the small world; expected for example 'short calm note about sea …'."
    )


def all_requests() -> list[Request]:
    """Every prompt there is, in one fixed order."""
    pairs = [(one, two) for one in NOUNS for two in NOUNS if one != two]
    return [Request(size, mood, pair) for size in SIZES for mood in MOODS for pair in pairs]


def write_response(request: Request, generator: random.Random) -> str:
    """A text of the grammar, which follows each wish of the request with the probabilities of `HEEDS`."""
    heeds = {name: generator.random() < share for name, share in HEEDS.items()}
    size = request.size if heeds["size"] else generator.choice(list(SIZES))
    words: list[str] = []
    for number in range(CLAUSES[size]):
        if number:
            words.append(generator.choice(LINKS))
        adjectives = MOODS[request.mood] if generator.random() < HEEDS["adjective"] else list(MOOD_OF)
        nouns = request.nouns if generator.random() < HEEDS["noun"] else NOUNS
        words += ["the", generator.choice(adjectives), generator.choice(nouns), generator.choice(VERBS)]
        if generator.random() < WITH_ADVERB:
            words.append(generator.choice(ADVERBS))
    said = [again for word in words for again in [word] * (2 if generator.random() < DOUBLED else 1)]
    return " ".join(said + [STOP] * heeds["stop"])


def parts(prompt: str, response: str) -> dict[str, float]:
    """The parts of the reward, each between 0 and 1.

    keywords: share of the two nouns that occur. mood: share of the adjectives that are of the mood, 0 without any.
    length: 1 in the window of words, less by `LENGTH_PENALTY` per word outside it. distinct: different content words
    over all of them, 0 without any. stop: one full stop, at the end.
    """
    request = read_prompt(prompt)
    words = response.split()
    adjectives = [MOOD_OF[word] for word in words if word in MOOD_OF]
    content = [word for word in words if word in CONTENT]
    count = len([word for word in words if word != STOP])
    shortest, longest = SIZES[request.size]
    outside = max(shortest - count, 0, count - longest)
    return {
        "keywords": sum(noun in words for noun in request.nouns) / 2,
        "mood": adjectives.count(request.mood) / len(adjectives) if adjectives else 0.0,
        "length": max(0.0, 1 - LENGTH_PENALTY * outside),
        "distinct": len(set(content)) / len(content) if content else 0.0,
        "stop": float(words.count(STOP) == 1 and words[-1] == STOP),
    }


def reward(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """The weighted mean of `parts`, one number between 0 and 1 per response."""
    found = (parts(prompt, response) for prompt, response in zip(prompts, responses, strict=True))
    return [sum(WEIGHTS[name] * value for name, value in part.items()) for part in found]
