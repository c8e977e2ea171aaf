"""Faults of single rows: the exception, and checks that raise it."""

import difflib
from collections.abc import Mapping
from typing import Any

from valuefree.data.sources import not_unicode


class RowError(Exception):
    """A fault of one row. `reason` is the same for every fault of a kind; `detail` adds the value at fault."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}{detail}")
        self.reason = reason


def unreadable(fault: str) -> RowError:
    """The fault of a row that could not be read."""
    reason = fault.split(":")[0]
    return RowError(reason, fault[len(reason) :])


def check_there(values: Mapping[str, Any], name: str) -> None:
    """Raise `RowError` unless column `name` has a value."""
    if name not in values:
        raise RowError(f"no column {name!r}", f" (there are: {', '.join(values)}{_nearest(name, values)})")
    if values[name] is None:
        raise RowError(f"{name} is null")


def check_characters(text: str, name: str) -> None:
    """Raise `RowError` if the text is not Unicode."""
    if not_unicode(text):
        raise RowError(f"{name} holds half a surrogate pair, which is no character")


def _nearest(name: str, values: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(values), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def shown(value: Any) -> str:
    """The value in a message, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
