"""Constraints that a program can check, and the reward that follows from them.

A constraint is a plain mapping ``{"kind": …, "value": …}``, so that it travels in a JSON line. `describe` puts it into
words for the prompt, `check` decides whether a response keeps it. No torch.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valuefree.errors import ConfigError

CONSTRAINT_SHARE = 0.85  # of the reward; the rest is for staying on topic
SENTENCE_END = re.compile(r"[.!?]+(?=[\"')\]”’]*(?:\s|$))")


@dataclass(frozen=True)
class Kind:
    """How one kind of constraint reads, and when a response keeps it."""

    text: Callable[[Any], str]
    kept: Callable[[str, Any], bool]


def words(text: str) -> list[str]:
    """The words of a text: runs of letters, digits, apostrophes and hyphens."""
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text)


def _one_sentence(response: str) -> bool:
    text = response.strip()
    ends = list(SENTENCE_END.finditer(text))
    return "\n" not in text and len(ends) == 1 and not re.search(r"\w", text[ends[0].end() :])


def _starts_with(response: str, opening: str) -> bool:
    text = response.lstrip()
    return text.startswith(opening) and not text[len(opening) : len(opening) + 1].isalnum()


def _uses(response: str, word: str) -> bool:
    return word.lower() in [used.lower() for used in words(response)]


KINDS: dict[str, Kind] = {
    "at_most_words": Kind(lambda n: f"Use at most {n} words.", lambda r, n: 0 < len(words(r)) <= n),
    "one_sentence": Kind(lambda _: "Answer in exactly one sentence.", lambda r, _: _one_sentence(r)),
    "no_commas": Kind(lambda _: "Do not use any commas.", lambda r, _: bool(words(r)) and "," not in r),
    "full_stop": Kind(lambda _: "End your answer with a full stop.", lambda r, _: r.rstrip().endswith(".")),
    "starts_with": Kind(lambda s: f'Begin your answer with "{s}".', _starts_with),
    "include_word": Kind(lambda w: f'Use the word "{w}".', _uses),
    "avoid_word": Kind(lambda w: f'Do not use the word "{w}".', lambda r, w: bool(words(r)) and not _uses(r, w)),
    "short_words": Kind(
        lambda n: f"Use no word longer than {n} letters.",
        lambda r, n: bool(words(r)) and all(sum(map(str.isalpha, word)) <= n for word in words(r)),
    ),
}


def _kind(constraint: Mapping[str, Any]) -> Kind:
    name = constraint["kind"]
    if name not in KINDS:
        raise ConfigError(f"unknown constraint {name!r}; known: {', '.join(KINDS)}.")
    return KINDS[name]


def describe(constraint: Mapping[str, Any]) -> str:
    """The sentence that asks for the constraint."""
    return _kind(constraint).text(constraint["value"])


def check(response: str, constraint: Mapping[str, Any]) -> bool:
    """Whether `response` keeps `constraint`."""
    return _kind(constraint).kept(response, constraint["value"])


def on_topic(response: str, topic_words: Sequence[str]) -> bool:
    """Whether a topic word, or a word that begins with one, occurs in `response` (case aside)."""
    stems = tuple(word.lower() for word in topic_words)
    return any(word.lower().startswith(stems) for word in words(response))


def constraint_reward(response: str, constraints: Sequence[Mapping[str, Any]], topic_words: Sequence[str]) -> float:
    """0.85 × share of constraints kept + 0.15 if on topic; between 0 and 1."""
    kept = sum(check(response, constraint) for constraint in constraints) / len(constraints)
    return round(CONSTRAINT_SHARE * kept + (1 - CONSTRAINT_SHARE) * on_topic(response, topic_words), 6)
