"""The page: verdicts, differences at equal KL, where each run ends, and how variants were chosen. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studies.harness.cells import Row
from studies.harness.page import protocol, write_page
from studies.harness.results import World, number
from studies.memorisation.candidates import BASE, TRUE
from studies.memorisation.results import KLS, PRIMARY, Verdict, tuned_gains, variants, verdicts, worlds_of
from valuefree.report import Section, Table


def differences_table(world: World) -> Table:
    """Gain and gap of each setting less the base's, at equal KL."""
    head = ["setting", *(f"gain at {kl:g} nat" for kl in KLS), *(f"gap at {kl:g} nat" for kl in KLS)]
    names = [f"{name} at {kl:g}" for name in ("gain", "gap") for kl in KLS]
    base = ["base itself", *(number(world.estimate(BASE, name)) for name in names)]
    lines = [
        [method, *(number(world.difference(method, BASE, name), signed=True) for name in names)]
        for method in world.methods
        if method != BASE
    ]
    return Table("Less the base, at equal KL", head, [base, *lines])


def ends_table(world: World) -> Table:
    """The policies as trained, means over seeds."""
    head = ["setting", "KL, nats", "true gain", "ranking of training rows", "of held-out rows", "gap"]
    forms = {"kl": ".2f", "gain": "+.3f", "train": ".1%", "held_out": ".1%", "gap": ".1%"}
    lines = [[method, *(world.mean(method, *form) for form in forms.items())] for method in world.methods]
    return Table("As trained", head, lines)


def summary(found: Mapping[str, Sequence[Verdict]]) -> list[str]:
    """A sentence per setting."""
    lines = []
    for name, by_task in found.items():
        parts = [f"{v.task}: gain {number(v.gain, signed=True)}, gap {number(v.gap, signed=True)}" for v in by_task]
        tasks = [v.task for v in by_task if v.kept]
        outcome = f"kept on {' and '.join(tasks) or 'no task'}"
        lines.append(f"{name}: {outcome}. At {PRIMARY:g} nat, less the base, {'; '.join(parts)}.")
    return lines


def conclusion(found: Mapping[str, Sequence[Verdict]]) -> str:
    """The settings that the rule keeps on every task."""
    kept = [name for name, by_task in found.items() if all(v.kept for v in by_task)]
    larger = [name for name in kept if all(v.larger for v in found[name])]
    return f"Kept as an option: {', '.join(kept) or 'none'}. As the default: {', '.join(larger) or 'none'}."


def tuning_table(rows: Sequence[Row]) -> Table:
    """Mean gain of the variants on the tuning seeds."""
    gains = tuned_gains(rows)
    lines = [
        [family, ", ".join(f"{name} {gains[name]:+.3f}" for name in names)]
        for family, names in variants().items()
        if len(names) > 1 and all(name in gains for name in names)
    ]
    return Table("", ["family", f"gain at {PRIMARY:g} nat on the tuning seeds"], lines)


def make_page(
    page: Path, tuning: Sequence[Row], reported: Sequence[Row], record: Mapping[str, Any], sizes: Mapping[str, Any]
) -> None:
    """Write the page."""
    worlds = worlds_of(reported)
    found = verdicts(worlds)
    seeds = ", ".join(str(seed) for seed in sorted({row.cell.seed for row in reported}))
    sections = [
        Section("short", "In short", [conclusion(found)], summary(found)),
        Section("method", "How it was done", protocol(Path(__file__), seeds=seeds, true=TRUE, **sizes)),
        *(
            Section(
                f"task-{index}",
                f"Task {world.title}",
                tables=[differences_table(world), ends_table(world)],
            )
            for index, world in enumerate(worlds)
        ),
        Section("variants", "Choice among variants", tables=[tuning_table(tuning)]),
    ]
    write_page(
        page, "What narrows the gap between training rows and held-out rows", sections, record, [*tuning, *reported]
    )
