"""The three words that a judge may answer with, and the verdict that each of them means."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from valuefree.errors import ConfigError

Verdict = Literal["first", "second", "neutral"]
"""The better answer, first or second in the order in which the judge saw them, or neither."""


@dataclass(frozen=True)
class Labels:
    """The prompt's words for the first answer, the second answer, and neither."""

    first: str = "A"
    second: str = "B"
    neutral: str = "Neutral"

    def __post_init__(self) -> None:
        labels = [self.first, self.second, self.neutral]
        if any(not label.strip() or label != label.strip() for label in labels):
            raise ConfigError(f"labels are {labels}; expected three words without spaces around them.")
        lowered = [label.lower() for label in labels]
        clash = [one for one in lowered for two in lowered if one != two and two.startswith(one)]
        if len(set(lowered)) < 3 or clash:
            raise ConfigError(f"labels are {labels}; a label may not equal another, nor be the beginning of another.")

    @classmethod
    def of(cls, text: str) -> "Labels":
        """From ``A,B,Neutral``: the first answer, the second, neither."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 3:
            raise ConfigError(f"labels are {text!r}; expected three words with commas between, such as A,B,Neutral.")
        return cls(*parts)

    def __iter__(self) -> Iterator[tuple[str, Verdict]]:
        yield self.first, "first"
        yield self.second, "second"
        yield self.neutral, "neutral"

    def __str__(self) -> str:
        return f"{self.first},{self.second},{self.neutral}"


DEFAULT_LABELS = Labels()
