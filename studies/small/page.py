"""The page of the small study, every number of it from the rows. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from studies.harness.cells import Row
from studies.harness.page import controls_section, draw_line, edges_section, protocol, world_section, write_page
from studies.harness.results import EMPTY, World, records, unused_lines
from studies.small.cells import Group, Setting
from studies.small.methods import METHODS, settings_of
from studies.small.results import AT, BASELINE, DEFAULT, differences_table, rewards_table, untouched_table, worlds_of
from studies.small.scale import KLS, NEW_TOKENS, Scale
from valuefree.report import Plot, Section, Table
from valuefree.report.drawing import GREY, label, panels

KL_SHOWN = 4 * KLS[-1]


def make_page(
    page: Path,
    rows: Sequence[Row],
    best: Mapping[Group, Setting],
    groups: Sequence[Group],
    scale: Scale,
    record: Mapping[str, Any],
) -> None:
    """Write the page. best: the setting of every group that has one."""
    worlds = worlds_of(rows, groups, best, scale)
    every = list(worlds.values())
    methods = list(dict.fromkeys(group[2] for group in groups))
    sections = [
        *summary(every, methods, scale),
        Section("method", "How it was done", _protocol(scale, rows)),
        controls_section(
            every,
            f"The same settings on permuted rewards, {scale.control_seeds} seeds each, compared where the runs end.",
        ),
        *(
            world_section(
                world,
                "-".join(place),
                [rewards_table(world, scale), differences_table(world, scale)],
                [frontier(world, rows, place)],
            )
            for place, world in worlds.items()
        ),
        edges_section(every),
        Section("methods", "Methods", tables=[_methods_table(methods, rows, scale)]),
    ]
    write_page(page, "The small study", sections, record, rows)


def summary(worlds: Sequence[World], methods: Sequence[str], scale: Scale) -> list[Section]:
    """The default and SFT on everything against all other methods at equal KL, and the controls."""
    families = {method: METHODS[method].family for method in methods}
    sections = []
    for default in (DEFAULT, BASELINE):
        if default in methods:
            compared = records([world for world in worlds if default in world.methods], default, AT, families)
            sections += [
                Section(f"{default}-{number}", f"{default} at equal KL against {heading}", items=items)
                for number, (heading, items) in enumerate(compared.items())
            ]
    text = (
        f"Rewards are compared at {_levels()} nats in every world where at least two seeds of both methods reach that "
        "KL. A win or a loss is a paired difference whose 95 % interval excludes zero."
    )
    shipped = [untouched_table(worlds, scale)] if DEFAULT in methods else []
    return [Section("short", "In short", [text], unused_lines(worlds), shipped), *sections]


def frontier(world: World, rows: Sequence[Row], place: tuple[str, str]) -> Plot:
    """Reward against KL: means over seeds, checkpoint by checkpoint."""
    figure, (panel,) = panels(1, width=9, height=5.5)
    for index, method in enumerate(world.methods):
        group = (*place, method)
        runs = [row for row in rows if row.cell.group == group and row.cell.stage == "report"]
        points = list(zip(*(row.curve for row in runs if row.curve is not None), strict=True))
        if points:
            kls, rewards = ([fmean(run[name] for run in point) for point in points] for name in ("kl", "reward"))
            width = 2.5 if method in (DEFAULT, BASELINE) else 1.2
            draw_line(panel, index, kls, rewards, method, linewidth=width, markersize=4)
    for kl in KLS:
        panel.axvline(kl, color=GREY, linewidth=0.8, zorder=0)
    panel.set_xscale("symlog", linthresh=KLS[0])
    panel.set_xlim(0, KL_SHOWN)
    panel.set_xticks([0, *KLS], ["0", *(f"{kl:g}" for kl in KLS)])
    panel.minorticks_off()
    label(panel, x="KL(policy‖reference), nats per response", y="reward on held-out prompts")
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    caption = f"{world.title}: reward against KL, means over seeds, one point per checkpoint"
    return Plot(f"frontier-{'-'.join(place)}", caption, figure)


def _levels() -> str:
    return ", ".join(f"{kl:g}" for kl in KLS)


def _protocol(scale: Scale, rows: Sequence[Row]) -> list[str]:
    text = protocol(
        Path(__file__),
        scale=scale,
        steps=", ".join(map(str, scale.checkpoints)),
        last=scale.checkpoints[-1],
        new_tokens=NEW_TOKENS,
        levels=_levels(),
        tuning_seeds=len({row.cell.seed for row in rows if row.cell.stage == "tune"}),
    )
    few = "With fewer than four seeds, an interval that excludes zero says little: this page only shows that it runs."
    return [*text, few] if scale.seeds < 4 else text


def _methods_table(methods: Sequence[str], rows: Sequence[Row], scale: Scale) -> Table:
    lines = []
    for method in map(METHODS.__getitem__, methods):
        settings = settings_of(method, scale)
        strengths = list(dict.fromkeys(strength for _, strength in settings if strength is not None))
        ended = [row for row in rows if row.cell.method == method.name and row.error is None]
        seconds = [[row.seconds for row in ended], [row.cpu_seconds for row in ended]]
        lines.append(
            [
                method.name,
                method.about(strengths[0] if strengths else None),
                f"{method.knob}: {', '.join(f'{value:g}' for value in strengths)}" if strengths else "none",
                ", ".join(f"{lr:g}" for lr in dict.fromkeys(lr for lr, _ in settings)),
                *(f"{fmean(spent):.1f}" if spent else EMPTY for spent in seconds),
            ]
        )
    head = ["method", "objective at the first strength", "strengths", "lr", "seconds per run", "processor seconds"]
    return Table("", head, lines)
