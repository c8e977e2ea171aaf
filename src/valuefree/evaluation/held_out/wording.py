"""Numbers as sentences print them: no leading zero, intervals in brackets."""

import numpy as np

from valuefree.evaluation.stats.estimate import Estimate


def number(value: float, *, sign: bool = False) -> str:
    """``.055``, ``-1.20``, with `sign` ``+.055``: three decimals below 1, two below 10, else one."""
    if not np.isfinite(value) or abs(value) >= 1e6:
        return f"{value:+.1e}" if sign else f"{value:.1e}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1
    value = round(value, digits) + 0.0  # no minus before zero
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def with_interval(estimate: Estimate, *, sign: bool = False) -> str:
    """``+.055 [+.012, +.101]``."""
    if estimate.interval is None:
        return number(estimate.value, sign=sign)
    low, high = (number(end, sign=sign) for end in estimate.interval)
    return f"{number(estimate.value, sign=sign)} [{low}, {high}]"


def percent(estimate: Estimate) -> str:
    """``64.0 % [58.1, 70.2]``."""
    ends = estimate.interval or ()
    value, *rounded = (f"{round(100 * each, 1) + 0.0:.1f}" for each in (estimate.value, *ends))
    return f"{value} % [{rounded[0]}, {rounded[1]}]" if rounded else f"{value} %"


def p_value(value: float) -> str:
    """``p = .0003``, ``p = .21``: one significant digit below .1, else two decimals."""
    if value >= 0.995:
        return "p = 1"
    digits = 2 if value >= 0.1 else int(np.ceil(-np.log10(value) - 1e-9))
    return "p = " + f"{value:.{digits}f}".replace("0.", ".", 1)


def count(value: int) -> str:
    """``640`` or ``12,300``: two significant digits, rounded up."""
    step = 10 ** max(len(str(value)) - 2, 0)
    return f"{-(-value // step) * step:,}"


def one_minus(estimate: Estimate) -> Estimate:
    """The estimate of 1 − value."""
    ends = estimate.interval and (1 - estimate.interval[1], 1 - estimate.interval[0])
    return Estimate(1 - estimate.value, ends, estimate.n)


def contains(estimate: Estimate, value: float) -> bool:
    """Whether the interval contains `value`; True without an interval, which excludes nothing."""
    return estimate.interval is None or estimate.interval[0] <= value <= estimate.interval[1]
