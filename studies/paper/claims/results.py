"""Rows looked up and compared, paired by seed. No torch."""

from collections.abc import Sequence
from typing import Any

from studies.paper.claims.plan import Row
from valuefree.evaluation.stats import Estimate, t_mean

Rows = Sequence[Row]


def pick(rows: Rows, experiment: str, method: str, **where: Any) -> list[Row]:
    """The rows of one method in one setting, by seed."""
    wanted = {"experiment": experiment, "method": method, **where}
    found = [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]
    return sorted(found, key=lambda row: row["seed"])


def values_of(rows: Rows, name: str) -> dict[int, float]:
    """By seed."""
    return {row["seed"]: row[name] for row in rows}


def mean(rows: Rows, name: str = "gap") -> Estimate | None:
    """Over seeds, with Student's interval; None without rows."""
    return t_mean([row[name] for row in rows]) if rows else None


def combined(*terms: tuple[float, Rows], name: str = "gap") -> Estimate | None:
    """Mean over seeds of a weighted sum of several rows of the same seed; None unless all have the same seeds."""
    found = [(weight, values_of(rows, name)) for weight, rows in terms]
    seeds = list(found[0][1])
    if not seeds or any(list(values) != seeds for _, values in found):
        return None
    return t_mean([sum(weight * values[seed] for weight, values in found) for seed in seeds])


def difference(rows: Rows, others: Rows, name: str = "gap") -> Estimate | None:
    """Mean over seeds of `rows` minus `others`."""
    return combined((1.0, rows), (-1.0, others), name=name)


def shares(rows: Rows) -> list[Row]:
    """Rows with `share`, the part of the attainable J gained: 1 − (J* − J)/(J* − J(π_ref))."""
    return [row | {"share": 1 - row["gap"] / row["gap_reference"]} for row in rows]


def distinct(rows: Rows, experiment: str, name: str) -> list[Any]:
    """Values of a column, in the order of their rows."""
    return list(dict.fromkeys(row[name] for row in rows if row.get("experiment") == experiment))


def sign(estimate: Estimate | None, margin: float = 0.0) -> int | None:
    """+1 if the interval lies above the margin, −1 if below minus the margin, 0 if neither; None without interval."""
    if estimate is None or estimate.interval is None:
        return None
    low, high = estimate.interval
    return 1 if low > margin else -1 if high < -margin else 0


def equal(estimate: Estimate | None, margin: float) -> bool:
    """Whether the whole interval lies within ± the margin; or the value, where several seeds all have the same."""
    if estimate is None or (estimate.interval is None and estimate.n < 2):
        return False
    low, high = estimate.interval or (estimate.value, estimate.value)
    return -margin <= low and high <= margin


def shown(estimate: Estimate | None, *, signed: bool = False, digits: int = 3) -> str:
    """Value and interval as text; a dash for None."""
    if estimate is None:
        return "–"
    form = f"{{:{'+' if signed else ''}.{digits}f}}"
    text = form.format(estimate.value)
    if estimate.interval is not None:
        text += " [" + ", ".join(form.format(bound) for bound in estimate.interval) + "]"
    return text
