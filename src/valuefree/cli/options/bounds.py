"""Bounds of numbers that users give: how they are declared, checked and said; no torch."""

import math
import operator
from collections.abc import Mapping

LARGEST = 2**31 - 1  # the upper bound of a number that declares none: torch and numpy take no larger seed or size


def bounds_of(minimum: float | None, above: float | None, maximum: float | None) -> dict[str, float]:
    """Bounds by their names in a JSON schema; empty where no bound is given.

    Args:
        minimum: the least value. above: every value is larger. maximum: the largest value; default: `LARGEST`; math.inf
            allows all.
    """
    if minimum is None and above is None and maximum is None:
        return {}
    maximum = LARGEST if maximum is None else maximum
    found = {"minimum": minimum, "exclusiveMinimum": above, "maximum": None if math.isinf(maximum) else maximum}
    return {name: bound for name, bound in found.items() if bound is not None}


def within(value: float, bounds: Mapping[str, float]) -> bool:
    """Whether a value is within its bounds; NaN is within none."""
    holds = {"minimum": operator.ge, "exclusiveMinimum": operator.gt, "maximum": operator.le}
    return all(holds[name](value, bound) for name, bound in bounds.items())


def expected(bounds: Mapping[str, float]) -> str:
    """The bounds in words."""
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    return " and ".join(f"{words[name]} {bound:.10g}" for name, bound in bounds.items())
