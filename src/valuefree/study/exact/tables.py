"""Tables of the exact study, every number from the rows. No torch."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from valuefree.evaluation.stats import Estimate, t_mean

Rows = list[dict[str, Any]]
DEFAULT = "RPO()"
SURVIVES = 0.5  # share of the true gain that makes a method's gain under shuffled rewards count as surviving


def chosen_rows(rows: Rows, regime: str, method: str, *, control: bool = False) -> Rows:
    """One row per seed, at the setting that validation chose; none if the method failed."""
    found = [r for r in rows if r["regime"] == regime and r["method"] == method and r["gap"] is not None]
    found = [r for r in found if r["control"] == control and (control or r["chosen"])]
    return sorted(found, key=lambda row: row["seed"])


def mean_of(rows: Rows, regime: str, method: str, name: str) -> float | None:
    """Mean over seeds of the chosen rows."""
    found = chosen_rows(rows, regime, method)
    return fmean(row[name] for row in found) if found else None


def difference(rows: Rows, regime: str, method: str, other: str, name: str = "gap") -> Estimate | None:
    """Mean over seeds of `method` minus `other`, paired by seed."""
    own, theirs = chosen_rows(rows, regime, method), chosen_rows(rows, regime, other)
    if not own or [row["seed"] for row in own] != [row["seed"] for row in theirs]:
        return None
    return t_mean([a[name] - b[name] for a, b in zip(own, theirs, strict=True)])


def gains(rows: Rows, regime: str, method: str, *, control: bool) -> Estimate | None:
    """E r above the reference, mean over seeds."""
    own = chosen_rows(rows, regime, method, control=control)
    base = {row["seed"]: row["reward"] for row in chosen_rows(rows, regime, "π_ref")}
    return t_mean([row["reward"] - base[row["seed"]] for row in own]) if own else None


def survivors(rows: Rows, regime: str, methods: Sequence[str]) -> list[str]:
    """Methods whose gain under shuffled rewards is above zero and at least half of the true one."""
    named = []
    for method in methods:
        true, shuffled = (gains(rows, regime, method, control=control) for control in (False, True))
        if true is None or shuffled is None or shuffled.interval is None:
            continue
        if shuffled.interval[0] > 0 and shuffled.value >= SURVIVES * true.value:
            named.append(method)
    return named


def _signed(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    text = f"{estimate.value:+.3f}"
    if estimate.interval is None:
        return text
    low, high = estimate.interval
    text += f" [{low:+.3f}, {high:+.3f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def regime_table(rows: Rows, regime: str, methods: Sequence[str]) -> str:
    """One line per method, best first."""
    head = ["method", "J* − J", "minus RPO()", "E r gain", "gain, rewards shuffled", "KL", "mean ρ on data"]
    head += ["knob, lr, steps"]
    lines = [head, ["---"] * len(head)]
    order = sorted(methods, key=lambda m: (mean_of(rows, regime, m, "gap") is None, mean_of(rows, regime, m, "gap")))
    for method in order:
        found = chosen_rows(rows, regime, method)
        if not found:
            error = next((r["error"] for r in rows if (r["regime"], r["method"]) == (regime, method)), None)
            lines.append([method, "", "", "", "", "", "", (error or "not run").split(".")[0]])
            continue
        gap = t_mean([row["gap"] for row in found])
        first = found[0]
        setting = "" if first["strength"] is None else f"{first['strength']:g}, {first['lr']:g}, {first['step']}"
        logratio = "" if first["logratio"] is None else f"{fmean(row['logratio'] for row in found):+.2f}"
        interval = f" [{gap.interval[0]:.3f}, {gap.interval[1]:.3f}]" if gap.interval else ""
        lines.append(
            [
                method,
                f"{gap.value:.3f}{interval}",
                "" if method == DEFAULT else _signed(difference(rows, regime, method, DEFAULT)),
                _signed(gains(rows, regime, method, control=False)),
                _signed(gains(rows, regime, method, control=True)),
                f"{fmean(row['kl'] for row in found):.3f}",
                logratio,
                setting,
            ]
        )
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# --------------------------------------------------------------------------------------------------------- the claim

BELOW = ("RPO paper (eq. 19)", "RPO paper-code", "SFT all", "KTO", "DPO best-worst", "DPO all pairs")
NEAR = ("DRO-V", "RPO centred (level 0)", "RPO V=0, level inf")
MARGIN = 0.05


def verdicts(rows: Rows, regimes: Sequence[str]) -> str:
    """What was aimed at for RPO(), regime by regime, and whether it holds."""
    lines = [["regime", *(f"below {name}" for name in BELOW), *(f"not {MARGIN} above {name}" for name in NEAR)]]
    lines.append(["---"] * len(lines[0]))
    for regime in regimes:
        cells = [regime]
        for name in BELOW:
            found = difference(rows, regime, DEFAULT, name)
            holds = found and found.interval and found.interval[1] < 0
            cells.append("–" if found is None else f"{'yes' if holds else 'NO'} ({_signed(found)})")
        for name in NEAR:
            found = difference(rows, regime, DEFAULT, name)
            holds = found is not None and found.value <= MARGIN
            cells.append("–" if found is None else f"{'yes' if holds else 'NO'} ({_signed(found)})")
        lines.append(cells)
    return markdown(lines)


def summary(rows: Rows, regimes: Sequence[str], methods: Sequence[str]) -> str:
    """Plain sentences from the numbers."""
    said = []
    for regime in regimes:
        known: dict[str, float] = {}
        for method in methods:
            gap = mean_of(rows, regime, method, "gap")
            if gap is not None and "oracle" not in method and "samples" not in method:
                known[method] = gap
        if DEFAULT not in known:
            continue
        best = min(known, key=lambda m: known[m])
        compared = {m: difference(rows, regime, DEFAULT, m) for m in known if m != DEFAULT}
        wins = [m for m, d in compared.items() if d and d.interval and d.interval[1] < 0]
        losses = [m for m, d in compared.items() if d and d.interval and d.interval[0] > 0]
        text = (
            f"- **{regime}**: {DEFAULT} has J* − J = {known[DEFAULT]:.3f}; the best is {best} with {known[best]:.3f}."
        )
        text += f" It is better than {len(wins)} of {len(compared)} methods with an interval that excludes zero"
        text += f", and worse than {', '.join(losses)}." if losses else ", and worse than none."
        named = survivors(rows, regime, methods)
        if named:
            text += f" Did not use the rewards: {', '.join(named)}."
        said.append(text)
    return "\n".join(said)
