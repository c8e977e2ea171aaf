"""The content of a report. All texts are plain text; the writers escape them. No torch."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from valuefree.errors import DataError

OUTCOMES = ("first", "second", "neutral", "disagree", "unjudged")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Table:
    """Rows of text under a head. An empty title is not shown. note: text below the table.

    Raises:
        DataError: a row whose number of cells differs from the head.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.head):
                raise DataError(
                    f"table {self.title!r}, row {number}: {len(row)} cells under a head of {len(self.head)}; give each "
                    "row one cell per column, which may be empty."
                )


@dataclass(frozen=True)
class Plot:
    """A figure. name: for its files NAME.svg and NAME.png, unique in a report. caption: also its alternative text.

    Raises:
        DataError: a name that is not a plain file name.
    """

    name: str
    caption: str
    figure: Figure

    def __post_init__(self) -> None:
        _check_name("plot", self.name)


@dataclass(frozen=True)
class Section:
    """A section: paragraphs, then items of a list, tables, plots. key: its anchor, unique in a report.

    Raises:
        DataError: a key that is not a plain name.
    """

    key: str
    title: str
    paragraphs: Sequence[str] = ()
    items: Sequence[str] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()

    def __post_init__(self) -> None:
        _check_name("section", self.key)


@dataclass(frozen=True)
class Verdict:
    """The verdict of a judge on the answers of two systems.

    first, second: names of the systems. outcome: `first` or `second` (the winner), `neutral`, `disagree` (the winner
    changes with the order of the answers) or `unjudged`.

    Raises:
        DataError: another outcome.
    """

    judge: str
    first: str
    second: str
    outcome: str

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise DataError(f"outcome {self.outcome!r} of judge {self.judge}; expected one of {', '.join(OUTCOMES)}.")

    def __str__(self) -> str:
        result = {
            "first": f"{self.first} wins",
            "second": f"{self.second} wins",
            "neutral": "neutral",
            "disagree": "the two orders disagree",
            "unjudged": "unjudged",
        }
        return f"{self.judge}, {self.first} against {self.second}: {result[self.outcome]}"


@dataclass(frozen=True)
class Completions:
    """Answers of systems, by name, to one prompt. reference: a reference text, if there is one."""

    prompt: str
    responses: Mapping[str, str]
    rewards: Mapping[str, float] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()
    reference: str | None = None


@dataclass(frozen=True)
class Report:
    """A whole report. verdict: sentences at the top, the conclusions; manifest: shown after the sections.

    Raises:
        DataError: two sections with one key, or two plots with one name.
    """

    title: str
    verdict: Sequence[str]
    sections: Sequence[Section]
    completions: Sequence[Completions]
    manifest: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check_unique("sections", "key", (section.key for section in self.sections))
        _check_unique("plots", "name", (plot.name for plot in self.plots))

    @property
    def plots(self) -> list[Plot]:
        """The plots of all sections."""
        return [plot for section in self.sections for plot in section.plots]


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{what} {name!r} becomes an anchor or a file name; use letters, digits, '.', '_' and '-', "
            "a letter or digit first."
        )


def _check_unique(what: str, name: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise DataError(f"two {what} have the {name} {value!r}; give each its own.")
        seen.add(value)
