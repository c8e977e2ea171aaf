"""The three words a judge may answer with, and the verdict each of them is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from valuefree.errors import ConfigError

Verdict = Literal["first", "second", "neutral"]
"""Which of the two answers, in the order in which the judge saw them."""

VERDICTS: tuple[Verdict, ...] = ("first", "second", "neutral")


@dataclass(frozen=True)
class Labels:
    """What the prompt calls the first answer, the second, and neither."""

    first: str = "A"
    second: str = "B"
    neutral: str = "Neutral"

    def __post_init__(self) -> None:
        given = [self.first, self.second, self.neutral]
        if any(not label.strip() or label != label.strip() for label in given):
            raise ConfigError(f"labels are {given}; expected three words without spaces around them.")
        lowered = [label.lower() for label in given]
        clash = [one for one in lowered for two in lowered if one != two and two.startswith(one)]
        if len(set(lowered)) < 3 or clash:
            raise ConfigError(f"labels are {given}; one may not be another, nor its beginning: answers are told apart.")

    @classmethod
    def of(cls, text: str) -> "Labels":
        """From ``A,B,Neutral``: the first answer, the second, neither."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 3:
            raise ConfigError(f"labels are {text!r}; expected three words with commas between, such as A,B,Neutral.")
        return cls(*parts)

    def __iter__(self) -> Iterator[tuple[str, Verdict]]:
        named: tuple[tuple[str, Verdict], ...] = (
            (self.first, "first"),
            (self.second, "second"),
            (self.neutral, "neutral"),
        )
        return iter(named)

    def __str__(self) -> str:
        return f"{self.first},{self.second},{self.neutral}"


DEFAULT_LABELS = Labels()
