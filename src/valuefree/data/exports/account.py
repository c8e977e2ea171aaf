"""What a reader of an export was given, and what it says about the rows that it made: joined, skipped and why."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Record = Mapping[str, Any]


class SkippedRecord(Exception):
    """A record that gives no row. The message is the reason, the same for all records of its kind."""


@dataclass(frozen=True)
class Settings:
    """What the user chose.

    score_name: which of several scores is the reward. categories: label → reward. prompt, response, reward: columns,
    where the tool leaves their names to its user; None where the user named none. thumbs: 1 and 0 are +1 and −1.
    """

    score_name: str | None = None
    categories: Mapping[str, float] = field(default_factory=dict)
    prompt: str | None = None
    response: str | None = None
    reward: str | None = None
    thumbs: bool = False


@dataclass
class Account:
    """Counts over one export.

    recognised: the fields by which the format was recognised. read: records by their kind. joined: rows by how score
    and text found each other. skipped: records that gave no row, by reason. sources: scores by who gave them. notes:
    everything else that the rows do not show.
    """

    tool: str
    recognised: str = ""
    rows: int = 0
    read: Counter[str] = field(default_factory=Counter)
    joined: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        by = f" (recognised by {self.recognised})" if self.recognised else ""
        lines = [f"{self.tool}{by}: {self.rows} rows from {self.read_counts}"]
        parts = (("joined", self.joined), ("given by", self.sources), ("skipped", self.skipped))
        lines += [f"{name}: {_counts(counts)}" for name, counts in parts if counts]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    @property
    def read_counts(self) -> str:
        """The records that were read, by kind."""
        return _counts(self.read)

    def to_dict(self) -> dict[str, Any]:
        """All counts."""
        return asdict(self)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in counts.items()) or "nothing"
