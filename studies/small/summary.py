"""What the numbers say, as sentences made from them. No torch."""

from collections.abc import Mapping, Sequence

from studies.small.cells import Row
from studies.small.frontier import Paired
from studies.small.scale import KLS
from studies.small.tables import BASELINE, DEFAULT, World


def _named(found: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{method} ({value:+.3f})" for method, value in sorted(found, key=lambda item: -abs(item[1])))


def _against(world: World, method: str, other: str, kl: float) -> Paired | None:
    """A difference that has an interval; None without one."""
    found = world.against(method, other, kl)
    return found if found is not None and found.interval is not None else None


def _where(world: World, kl: float) -> str:
    return f"{world.title}, {kl:g} nats"


def comparison(world: World, other: str, kl: float) -> str | None:
    """Who is above and who below `other` at a KL, with intervals that exclude zero; None if none can be compared."""
    above, below, level, blank = [], [], 0, []
    for method in world.methods:
        if method == other:
            continue
        found = _against(world, method, other, kl)
        if found is None:
            blank.append(method)
        elif found.sign:
            (above if found.sign > 0 else below).append((method, found.value))
        else:
            level += 1
    if len(blank) == len(world.methods) - 1:
        return None
    parts = [f"above {other}: {_named(above) or 'none'}", f"below {other}: {_named(below) or 'none'}"]
    parts.append(f"{level} with an interval that includes zero")
    if blank:
        parts.append(f"not compared, as fewer than two seeds have both: {', '.join(blank)}")
    return f"{_where(world, kl)}: {'; '.join(parts)}."


def comparisons(worlds: Sequence[World], other: str) -> list[str]:
    """`comparison` in every world and at every KL; where there is none, in one line."""
    found = {
        _where(world, kl): comparison(world, other, kl) for world in worlds for kl in KLS if other in world.methods
    }
    lines = [text for text in found.values() if text is not None]
    blank = [where for where, text in found.items() if text is None]
    return lines + ([f"No method can be compared with {other}: {'; '.join(blank)}."] if blank else [])


def default_against(worlds: Sequence[World], other: str, *, sign: int) -> list[str]:
    """Where `DEFAULT` is below (sign −1) or above (+1) `other` at equal KL, one text per world and KL."""
    texts = []
    for world in worlds:
        for kl in KLS:
            found = _against(world, DEFAULT, other, kl) if {DEFAULT, other} <= {*world.methods} else None
            if found is not None and found.interval is not None and found.sign == sign:
                low, high = found.interval
                texts.append(f"{_where(world, kl)}: {found.value:+.3f} [{low:+.3f}, {high:+.3f}]")
    return texts


def default_record(worlds: Sequence[World], methods: Sequence[str]) -> list[str]:
    """One text per method: where the default loses, wins and neither against it; most losses first."""
    records = []
    for method in methods:
        both = [world for world in worlds if {DEFAULT, method} <= {*world.methods}]
        count = sum(_against(world, DEFAULT, method, kl) is not None for world in both for kl in KLS)
        losses, wins = (default_against(worlds, method, sign=sign) for sign in (-1, 1))
        text = f"{DEFAULT} against {method}: losses {len(losses)}, wins {len(wins)}, "
        text += f"undecided {count - len(wins) - len(losses)}, of {len(both) * len(KLS)}"
        text += f". Losses: {'; '.join(losses)}" if losses else ""
        records.append((-len(losses), len(wins), text))
    return [text for *_, text in sorted(records, key=lambda record: record[:2])]


def unused(worlds: Sequence[World], control: str) -> list[str]:
    """Whose true gain less that after a permutation has an interval that includes zero, by world."""
    lines = []
    for world in worlds:
        controls = [(method, world.control(method, control)) for method in world.methods]
        named = [
            f"{method} (gain {found.true.value:+.3f}, permuted {found.permuted.value:+.3f})"
            for method, found in controls
            if found is not None and found.used is False
        ]
        lines.append(f"{world.title}: {', '.join(named) or 'no method'}")
    return lines


def _default_lines(worlds: Sequence[World], families: Mapping[str, str]) -> list[str]:
    every = [method for method in dict.fromkeys(m for world in worlds for m in world.methods) if method != DEFAULT]
    own = [method for method in every if families[method] == families[DEFAULT]]
    others = [method for method in every if method not in own]
    kinds = len({families[method] for method in others})
    lines = [
        f"**The default, `{DEFAULT}`, at equal KL**, over all worlds and {', '.join(f'{kl:g}' for kl in KLS)} nats, "
        "where at least two seeds reach that KL in both; a loss or a win is an interval of the paired difference that "
        "excludes zero.",
        "",
        f"Against {kinds} other methods ({len(others)} rows):",
        "",
        *(f"- {line}" for line in default_record(worlds, others)),
        "",
    ]
    if own:
        lines += [f"Against {len(own)} other variants of {families[DEFAULT]}:", ""]
        lines += [*(f"- {line}" for line in default_record(worlds, own)), ""]
    return lines


def summary(
    worlds: Sequence[World], rows: Sequence[Row], families: Mapping[str, str], untouched: str, *, controlled: bool
) -> str:
    """All of it, as Markdown. families: the method that each row is a variant of; untouched: their table."""
    lines: list[str] = []
    present = [other for other in (DEFAULT, BASELINE) if any(other in world.methods for world in worlds)]
    if DEFAULT in present:
        lines += _default_lines(worlds, families)
        lines += ["**Objectives as shipped, where their runs end** (not at equal KL):", "", untouched, ""]
    for other in present:
        lines += [f"**Against `{other}`** at equal KL, mean difference of the reward in brackets:", ""]
        lines += [f"- {line}" for line in comparisons(worlds, other)] + [""]
    if controlled:
        lines += ["**Did not detectably use the rewards** (the rule stands under How it was done):", ""]
        lines += [f"- {line}" for line in unused(worlds, "both")]
        lines += ["", "**Did not detectably use what tells a prompt's responses apart:**", ""]
        lines += [f"- {line}" for line in unused(worlds, "within")] + [""]
    failed = [row for row in rows if row.error is not None]
    lines.append(f"{len(failed)} of {len(rows)} runs failed." + (" They are listed below." if failed else ""))
    return "\n".join(lines)
