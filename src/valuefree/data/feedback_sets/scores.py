"""Scores as public sets write them: numbers, texts, N/A, and values outside the scale."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valuefree.data.validation import RowError

MISSING = ("", "n/a", "na", "none", "null")


@dataclass(frozen=True)
class Ratings:
    """Usable ratings of one response; how many others were N/A or null; how many were outside the scale."""

    usable: tuple[float, ...] = ()
    not_given: int = 0
    off_scale: int = 0

    def mean(self) -> float | None:
        """Mean of the usable ratings; None if there are none."""
        return sum(self.usable) / len(self.usable) if self.usable else None


def number(value: Any, name: str) -> float | None:
    """A number, possibly written as text; None for null, N/A and NaN.

    Raises:
        RowError: anything else.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in MISSING):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise RowError(f"{name} is not a number", f": {value!r:.60}")
    try:
        parsed = float(value)
    except ValueError:
        raise RowError(f"{name} is not a number", f": {value!r:.60}") from None
    if math.isinf(parsed):
        raise RowError(f"{name} is not finite", f": {parsed}")
    return None if math.isnan(parsed) else parsed


def ratings(values: Mapping[str, Any], low: float, high: float) -> Ratings:
    """Named ratings on a scale from `low` to `high`; raises `RowError` for other values."""
    numbers = [number(value, f"rating {name}") for name, value in values.items()]
    return Ratings(
        usable=tuple(value for value in numbers if value is not None and low <= value <= high),
        not_given=sum(value is None for value in numbers),
        off_scale=sum(value is not None and not low <= value <= high for value in numbers),
    )
