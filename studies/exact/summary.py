"""What the numbers of the exact study say, as sentences and answers made from them. No torch."""

from collections.abc import Mapping, Sequence

from studies.exact.tables import (
    DEFAULT,
    Grid,
    Rows,
    at_edge,
    chosen_rows,
    controls_in,
    difference,
    markdown,
    mean_of,
    signed,
    unused,
)
from studies.harness.controls import removes_all, sign
from valuefree.evaluation.stats import Estimate

BELOW = ("RPO paper (eq. 19)", "RPO paper-code", "SFT all", "KTO", "DPO best-worst", "DPO all pairs")
NEAR = ("DRO-V", "RPO centred (level 0)", "RPO V=0, level inf")
MARGIN = 0.05


def _answer(found: Estimate | None, bound: float) -> str:
    """Whether a difference lies below `bound`: yes or no where its whole interval does or does not, else undecided."""
    if found is None:
        return "–"
    answer = "undecided"
    if found.interval is not None:
        low, high = found.interval
        answer = "yes" if high < bound else "NO" if low > bound else "undecided"
    return f"{answer} ({signed(found)})"


def verdicts(rows: Rows, regimes: Sequence[str]) -> str:
    """What was aimed at for the default, regime by regime: yes, NO, or undecided, by the interval."""
    lines = [["regime", *(f"below {name}" for name in BELOW), *(f"not {MARGIN} above {name}" for name in NEAR)]]
    lines.append(["---"] * len(lines[0]))
    aims = [(name, 0.0) for name in BELOW] + [(name, MARGIN) for name in NEAR]
    for regime in regimes:
        answers = [_answer(difference(rows, regime, DEFAULT, name), bound) for name, bound in aims]
        lines.append([regime, *answers])
    return markdown(lines)


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names) or "none"


def _compared(rows: Rows, regime: str, methods: Sequence[str]) -> dict[str, int]:
    """+1 where the default is better than a method with an interval that excludes zero, −1 where worse, else 0."""
    found = {method: difference(rows, regime, DEFAULT, method) for method in methods}
    return {method: -sign(one.interval) for method, one in found.items() if one is not None}


def _against(rows: Rows, regime: str, methods: Sequence[str], families: Mapping[str, str]) -> str:
    """Other methods and variants of the default's own, counted apart: a method has one row or several."""
    signs = _compared(rows, regime, methods)
    own = {method: one for method, one in signs.items() if families[method] == families[DEFAULT]}
    others: dict[str, list[int]] = {}
    for method, one in signs.items():
        if method not in own:
            others.setdefault(families[method], []).append(one)
    better = [name for name, found in others.items() if min(found) > 0]
    worse = [method for method, one in signs.items() if one < 0 and method not in own]
    open_ = [name for name, found in others.items() if min(found) == 0]
    text = ""
    if others:
        text += (
            f" Of {len(others)} other methods ({sum(map(len, others.values()))} rows) it is better than every row of "
        )
        text += f"{len(better)} ({_listed(better)}), worse than these rows: {_listed(worse)}; undecided for "
        text += f"{_listed(open_)}."
    if own:
        below = [method for method, one in own.items() if one < 0]
        text += f" Of {len(own)} other variants of {families[DEFAULT]} it is better than {list(own.values()).count(1)} "
        text += f"and worse than {len(below)} ({_listed(below)})."
    return text


def _not_used(rows: Rows, regime: str, methods: Sequence[str]) -> str:
    controls = controls_in(rows, regime)
    everything = removes_all(controls)
    text = ""
    if everything is not None:
        named = unused(rows, regime, methods, everything)
        text += f" Did not detectably use the rewards: {_listed(named)}."
    if "within" in controls:
        named = unused(rows, regime, methods, "within")
        text += f" Did not detectably use what tells a prompt's responses apart: {_listed(named)}."
    return text


def summary(rows: Rows, regimes: Sequence[str], methods: Sequence[str], families: Mapping[str, str]) -> str:
    """Plain sentences from the numbers; methods that know more than the others are not compared."""
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
        text = f"- **{regime}**: {DEFAULT}: J* − J = {known[DEFAULT]:.3f}"
        text += f" ({mean_of(rows, regime, DEFAULT, 'gap_end'):.3f} after all steps); "
        text += f"the best is {best} with {known[best]:.3f}."
        text += _against(rows, regime, [m for m in known if m != DEFAULT], families)
        said.append(text + _not_used(rows, regime, methods))
    return "\n".join(said)


def edges(rows: Rows, regimes: Sequence[str], methods: Sequence[str], grids: Mapping[str, Grid]) -> str:
    """For each regime which methods' choices lie at an edge of their grid: a better one may lie beyond."""
    lines = []
    for regime in regimes:
        found: dict[str, list[str]] = {}
        for method in methods:
            for row in chosen_rows(rows, regime, method)[:1]:
                for axis, value in {"knob": row["strength"], "lr": row["lr"], "steps": row["step"]}.items():
                    edge = at_edge(grids[method], axis, value)
                    if edge is not None:
                        found.setdefault(f"{edge} {axis}", []).append(f"{method} ({value:g})")
        lines += [f"- {regime}, {where}: {_listed(named)}" for where, named in sorted(found.items())]
    return "\n".join(lines) or "None."
