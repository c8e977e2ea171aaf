"""What the numbers say, as sentences made from them. No torch."""

from collections.abc import Sequence

from valuefree.study.small.cells import Row
from valuefree.study.small.frontier import Paired
from valuefree.study.small.scale import KLS
from valuefree.study.small.tables import BASELINE, DEFAULT, World


def _named(found: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{method} ({value:+.3f})" for method, value in sorted(found, key=lambda item: -abs(item[1])))


MEASURES = (None, *KLS)  # None: the gain


def _against(world: World, method: str, other: str, kl: float | None) -> Paired | None:
    """A difference that has an interval; None without one."""
    found = world.gain_against(method, other) if kl is None else world.against(method, other, kl)
    return found if found is not None and found.interval is not None else None


def _where(world: World, kl: float | None) -> str:
    return f"{world.title}, {'gain' if kl is None else f'{kl:g} nats'}"


def comparison(world: World, other: str, kl: float | None) -> str:
    """Who is above and who below `other`, with intervals that exclude zero, at a KL or (None) in gain."""
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
        return f"{_where(world, kl)}: no method can be compared with {other} here."
    parts = [f"above {other}: {_named(above) or 'none'}", f"below {other}: {_named(below) or 'none'}"]
    parts.append(f"{level} with an interval that holds zero")
    if blank:
        parts.append(f"not compared, as fewer than two seeds have both: {', '.join(blank)}")
    return f"{_where(world, kl)}: {'; '.join(parts)}."


def default_against(worlds: Sequence[World], other: str, *, sign: int) -> list[str]:
    """Where `DEFAULT` is below (sign −1) or above (+1) `other`, one text per world and measure."""
    texts = []
    for world in worlds:
        for kl in MEASURES:
            found = _against(world, DEFAULT, other, kl) if {DEFAULT, other} <= {*world.methods} else None
            if found is not None and found.interval is not None and found.sign == sign:
                low, high = found.interval
                texts.append(f"{_where(world, kl)}: {found.value:+.3f} [{low:+.3f}, {high:+.3f}]")
    return texts


def default_record(worlds: Sequence[World]) -> list[str]:
    """One text per method: where the default loses, wins and neither against it; most losses first."""
    methods = list(dict.fromkeys(method for world in worlds for method in world.methods if method != DEFAULT))
    records = []
    for method in methods:
        both = [world for world in worlds if {DEFAULT, method} <= {*world.methods}]
        count = sum(_against(world, DEFAULT, method, kl) is not None for world in both for kl in MEASURES)
        losses, wins = (default_against(worlds, method, sign=sign) for sign in (-1, 1))
        text = f"{DEFAULT} against {method}: losses {len(losses)}, wins {len(wins)}, "
        text += f"undecided {count - len(wins) - len(losses)}"
        text += f". Losses: {'; '.join(losses)}" if losses else ""
        records.append((-len(losses), len(wins), text))
    return [text for *_, text in sorted(records, key=lambda record: record[:2])]


def unused_rewards(worlds: Sequence[World]) -> list[str]:
    """Who did not use the rewards, by world."""
    lines = []
    for world in worlds:
        controls = [(method, world.control(method)) for method in world.methods]
        named = [
            f"{method} (gain {found.true.value:+.3f}, shuffled {found.shuffled.value:+.3f})"
            for method, found in controls
            if found is not None and found.survives
        ]
        lines.append(f"{world.title}: {', '.join(named) or 'no method'}")
    return lines


def summary(worlds: Sequence[World], rows: Sequence[Row], *, controlled: bool) -> str:
    """All of it, as Markdown."""
    lines: list[str] = []
    present = [other for other in (DEFAULT, BASELINE) if any(other in world.methods for world in worlds)]
    if DEFAULT in present:
        lines += [
            f"**The default, `{DEFAULT}`, against each method**, over all worlds, in gain and at each KL where both "
            "can be compared; a loss or a win is an interval of the paired difference that excludes zero:",
            "",
            *(f"- {line}" for line in default_record(worlds)),
            "",
        ]
    for other in present:
        lines += [f"**Against `{other}`**, mean difference of the reward in brackets:", ""]
        lines += [f"- {comparison(world, other, kl)}" for world in worlds if other in world.methods for kl in MEASURES]
        lines += [""]
    if controlled:
        lines += ["**Did not use the rewards** (the rule stands under Control):", ""]
        lines += [f"- {line}" for line in unused_rewards(worlds)] + [""]
    failed = [row for row in rows if row.error is not None]
    lines.append(f"{len(failed)} of {len(rows)} runs failed." + (" They are listed below." if failed else ""))
    return "\n".join(lines)
