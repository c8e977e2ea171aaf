"""Rows of the claims' runs: looked up, averaged and compared, paired by seed. No torch."""

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


def mean(rows: Rows, name: str = "gap") -> Estimate | None:
    """Over seeds, with Student's interval; None without rows."""
    return t_mean([row[name] for row in rows]) if rows else None


def combined(*terms: tuple[float, Rows], name: str = "gap") -> Estimate | None:
    """Mean over seeds of a weighted sum of several rows of the same seed; None unless all have the same seeds."""
    found = [(weight, {row["seed"]: row[name] for row in rows}) for weight, rows in terms]
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
