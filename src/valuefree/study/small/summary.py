"""What the numbers say, as sentences made from them. No torch."""

from collections.abc import Sequence

from valuefree.study.small.cells import Row
from valuefree.study.small.scale import KLS
from valuefree.study.small.tables import BASELINE, DEFAULT, World


def _named(found: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{method} ({value:+.3f})" for method, value in sorted(found, key=lambda item: -abs(item[1])))


def comparison(world: World, other: str, kl: float) -> str:
    """Who is above and who below `other` at a KL, with intervals that exclude zero."""
    above, below, level, blank = [], [], 0, []
    for method in world.methods:
        if method == other:
            continue
        found = world.against(method, other, kl)
        if found is None or found.interval is None:
            blank.append(method)
        elif found.sign:
            (above if found.sign > 0 else below).append((method, found.value))
        else:
            level += 1
    if len(blank) == len(world.methods) - 1:
        return f"{world.title}, {kl:g} nats: no method can be compared with {other} here."
    parts = [f"above {other}: {_named(above) or 'none'}", f"below {other}: {_named(below) or 'none'}"]
    parts.append(f"{level} with an interval that holds zero")
    if blank:
        parts.append(f"not compared, as fewer than two seeds reach this KL with both: {', '.join(blank)}")
    return f"{world.title}, {kl:g} nats: {'; '.join(parts)}."


def losses_and_wins(worlds: Sequence[World], other: str, *, sign: int) -> list[str]:
    """Where `DEFAULT` is below (sign −1) or above (+1) `other`, in words; one line per world and KL."""
    lines = []
    for world in worlds:
        for kl in KLS:
            found = world.against(DEFAULT, other, kl) if {DEFAULT, other} <= {*world.methods} else None
            if found is not None and found.interval is not None and found.sign == sign:
                low, high = found.interval
                lines.append(f"{world.title}, {kl:g} nats: {found.value:+.3f} [{low:+.3f}, {high:+.3f}]")
    return lines


def default_record(worlds: Sequence[World]) -> list[str]:
    """One sentence per method: how often the default wins, loses and neither against it; most losses first."""
    methods = list(dict.fromkeys(method for world in worlds for method in world.methods if method != DEFAULT))
    records = []
    for method in methods:
        signs = []
        for world in worlds:
            if {DEFAULT, method} <= {*world.methods}:
                found = [world.against(DEFAULT, method, kl) for kl in KLS]
                signs += [estimate.sign for estimate in found if estimate is not None and estimate.interval]
        wins, losses = signs.count(1), signs.count(-1)
        records.append((losses, wins, method, len(signs)))
    return [
        f"{DEFAULT} against {method}: {wins} wins, {losses} losses, {count - wins - losses} undecided"
        for losses, wins, method, count in sorted(records, key=lambda record: (-record[0], record[1]))
    ]


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
            f"**The default, `{DEFAULT}`, against each method**, over all worlds and KLs where both can be compared "
            "(a win or a loss is an interval of the paired difference that excludes zero):",
            "",
            *(f"- {line}" for line in default_record(worlds)),
            "",
        ]
    for other in present:
        lines += [f"**Against `{other}`**, mean difference of the reward in brackets:", ""]
        lines += [f"- {comparison(world, other, kl)}" for world in worlds if other in world.methods for kl in KLS]
        lines += [""]
    if {DEFAULT, BASELINE} <= {*present}:
        lost, won = (losses_and_wins(worlds, BASELINE, sign=sign) for sign in (-1, 1))
        lines += [f"**`{DEFAULT}` below `{BASELINE}`**: {'; '.join(lost) or 'nowhere with an interval below zero'}."]
        lines += ["", f"**`{DEFAULT}` above `{BASELINE}`**: {'; '.join(won) or 'nowhere with an interval above zero'}."]
        lines += [""]
    if controlled:
        lines += ["**Did not use the rewards** (the rule stands under Control):", ""]
        lines += [f"- {line}" for line in unused_rewards(worlds)] + [""]
    failed = [row for row in rows if row.error is not None]
    lines.append(f"{len(failed)} of {len(rows)} runs failed." + (" They are listed below." if failed else ""))
    return "\n".join(lines)
