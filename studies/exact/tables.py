"""Tables of the exact study, every number from the rows. No torch."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from studies.harness.controls import REMOVES, includes_zero, sign
from valuefree.evaluation.stats import Estimate, t_mean

Rows = list[dict[str, Any]]
Grid = Mapping[str, Sequence[float | None]]  # by axis: knob, lr, steps
DEFAULT = "RPO(), untouched"


def chosen_rows(rows: Rows, regime: str, method: str, *, control: str | None = None) -> Rows:
    """One row per seed, at the setting that validation chose; none if the method failed."""
    found = [r for r in rows if r["regime"] == regime and r["method"] == method and r["gap"] is not None]
    found = [r for r in found if r["control"] == control and (control or r["chosen"])]
    return sorted(found, key=lambda row: row["seed"])


def mean_of(rows: Rows, regime: str, method: str, name: str) -> float | None:
    """Mean over seeds of the chosen rows."""
    found = chosen_rows(rows, regime, method)
    return fmean(row[name] for row in found) if found else None


def _paired(own: Rows, theirs: Rows, name: str) -> Estimate | None:
    if not own or [row["seed"] for row in own] != [row["seed"] for row in theirs]:
        return None
    return t_mean([a[name] - b[name] for a, b in zip(own, theirs, strict=True)])


def difference(rows: Rows, regime: str, method: str, other: str, name: str = "gap") -> Estimate | None:
    """Mean over seeds of `method` minus `other`, paired by seed."""
    return _paired(chosen_rows(rows, regime, method), chosen_rows(rows, regime, other), name)


def gains(rows: Rows, regime: str, method: str, *, control: str | None = None) -> Estimate | None:
    """E r above the reference, mean over seeds."""
    own = chosen_rows(rows, regime, method, control=control)
    base = {row["seed"]: row["reward"] for row in chosen_rows(rows, regime, "π_ref")}
    return t_mean([row["reward"] - base[row["seed"]] for row in own]) if own else None


def used(rows: Rows, regime: str, method: str, control: str) -> Estimate | None:
    """True gain minus the gain after the permutation `control`, paired by seed."""
    return _paired(
        chosen_rows(rows, regime, method), chosen_rows(rows, regime, method, control=control), "reward"
    )  # the reference's own reward cancels


def controls_in(rows: Rows, regime: str) -> list[str]:
    """The permutations that were run in a regime."""
    found = {row["control"] for row in rows if row["regime"] == regime}
    return [control for control in REMOVES if control in found]


def unused(rows: Rows, regime: str, methods: Sequence[str], control: str) -> list[str]:
    """Methods whose true gain minus that after `control` is zero, or has an interval that includes zero."""
    found = {method: used(rows, regime, method, control) for method in methods}
    return [method for method, one in found.items() if one and includes_zero(one.value, one.interval)]


def signed(estimate: Estimate | None) -> str:
    """With its interval; bold where that excludes zero."""
    if estimate is None:
        return ""
    text = f"{estimate.value:+.3f}"
    if estimate.interval is None:
        return text
    low, high = estimate.interval
    text += f" [{low:+.3f}, {high:+.3f}]"
    return f"**{text}**" if sign(estimate.interval) else text


def at_edge(grid: Grid, axis: str, value: float | None) -> str | None:
    """``lowest`` or ``highest`` where `value` ends an axis of several points."""
    points = [point for point in grid[axis] if point is not None]
    if value is None or len(points) < 2:
        return None
    return "lowest" if value == min(points) else "highest" if value == max(points) else None


def _setting(row: Mapping[str, Any], found: Rows, grid: Grid | None) -> str:
    """Knob, learning rate and steps, starred at an edge; a method as shipped shows the τ that it came to."""
    if row["lr"] is None or grid is None:
        return ""
    values = {"knob": row["strength"], "lr": row["lr"], "steps": row["step"]}
    texts = [f"{v:g}{'*' if at_edge(grid, axis, v) else ''}" for axis, v in values.items() if v is not None]
    if row["strength"] is None:
        texts.insert(0, "as shipped" + ("" if row["tau"] is None else f" (τ {fmean(r['tau'] for r in found):.2f})"))
    return ", ".join(texts)


def regime_table(rows: Rows, regime: str, methods: Sequence[str], grids: Mapping[str, Grid]) -> str:
    """One line per method, best first."""
    head = ["method", "J* − J", f"minus {DEFAULT}", "E r gain", "KL", "after all steps: J* − J", "KL", "mean ρ on data"]
    head += ["knob, lr, steps"]
    lines = [head, ["---"] * len(head)]
    order = sorted(methods, key=lambda m: (mean_of(rows, regime, m, "gap") is None, mean_of(rows, regime, m, "gap")))
    for method in order:
        found = chosen_rows(rows, regime, method)
        if not found:
            error = next((r["error"] for r in rows if (r["regime"], r["method"]) == (regime, method)), None)
            lines.append([method, *[""] * (len(head) - 2), (error or "not run").split(".")[0]])
            continue
        gap = t_mean([row["gap"] for row in found])
        interval = f" [{gap.interval[0]:.3f}, {gap.interval[1]:.3f}]" if gap.interval else ""
        lines.append(
            [
                method,
                f"{gap.value:.3f}{interval}",
                "" if method == DEFAULT else signed(difference(rows, regime, method, DEFAULT)),
                signed(gains(rows, regime, method)),
                f"{fmean(row['kl'] for row in found):.3f}",
                _mean(found, "gap_end", ".3f"),
                _mean(found, "kl_end", ".3f"),
                _mean(found, "logratio", "+.2f"),
                _setting(found[0], found, grids.get(method)),
            ]
        )
    return markdown(lines)


def _mean(found: Rows, name: str, form: str) -> str:
    return "" if found[0][name] is None else f"{fmean(row[name] for row in found):{form}}"


def control_table(rows: Rows, regime: str, methods: Sequence[str]) -> str:
    """Per method: the true gain, and for each permutation the gain after it and the difference; "" without any."""
    controls = controls_in(rows, regime)
    if not controls:
        return ""
    head = ["method", "E r gain"]
    for control in controls:
        head += [f"permuted {control}", f"true minus {control}"]
    lines = [head, ["---"] * len(head)]
    for method in methods:
        if not chosen_rows(rows, regime, method, control=controls[0]):
            continue
        line = [method, signed(gains(rows, regime, method))]
        for control in controls:
            line += [signed(gains(rows, regime, method, control=control)), signed(used(rows, regime, method, control))]
        lines.append(line)
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
