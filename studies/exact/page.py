"""The page of the exact study. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studies.exact import figures
from studies.exact.grid import FRONTIER_TAUS, Line, Scale, lines_of
from studies.exact.methods import BY_NAME, TAUS
from studies.exact.results import DEFAULT, aims_table, comparable, regime_table, standings, world_of
from studies.harness.cells import Row
from studies.harness.page import controls_section, edges_section, protocol, world_section, write_page
from studies.harness.results import World, records, setting_text, unused_lines
from valuefree.objectives.rpo import TARGET_STD
from valuefree.report import Section

SWEPT = ("RPO(), untouched", "RPO, tau tuned", "RPO paper (eq. 19)", "RPO centred (level 0)", "DRO-V", "KTO")
SWEPT += ("DPO all pairs", "SFT all")
AXES = {
    "responses per prompt n (noise 1, on-policy)": (
        (1, "sweep: n = 1"),
        (2, "sweep: n = 2"),
        (4, "noisy, on-policy"),
        (8, "sweep: n = 8"),
    ),
    "noise on the rewards (n = 4, on-policy)": (
        (0, "clean, on-policy"),
        (0.5, "sweep: noise 0.5"),
        (1, "noisy, on-policy"),
        (2, "sweep: noise 2"),
    ),
    "tilt of the behaviour policy (n = 4, noise 1)": (
        (-1, "sweep: tilt -1"),
        (0, "noisy, on-policy"),
        (0.5, "sweep: tilt 0.5"),
        (1, "noisy, off-policy"),
    ),
}
COMPARED_BY_TAU = ("RPO, tau tuned", "RPO paper (eq. 19)", "RPO paper-code", "DRO-V", "NCA")


def make_page(
    page: Path,
    rows: Sequence[Row],
    references: Sequence[Line],
    curves: Mapping[str, Sequence[tuple[float, float]]],
    regimes: Sequence[str],
    methods: Sequence[str],
    record: Mapping[str, Any],
    scale: Scale,
) -> None:
    """Write the page. references: lines of π_ref and π*; curves: the exact frontier by regime; regimes: of chapters."""
    lines = [*references, *(line for row in rows for line in lines_of(row))]
    every = {name: world_of(lines, name, methods, scale) for name in dict.fromkeys(line["regime"] for line in lines)}
    worlds = [every[name] for name in regimes]
    plots = [figures.frontiers(worlds, curves)]
    if len(every) > len(worlds):
        plots.append(figures.sweeps(every, AXES, SWEPT))
    first = regimes[0]
    optimal = {tau: kl for tau, (kl, _) in zip(FRONTIER_TAUS, curves[first], strict=False) if tau in (*TAUS, 3.0)}
    compared = [name for name in COMPARED_BY_TAU if name in methods]
    plots.append(figures.kl_against_tau(lines, first, compared, optimal))
    sections = [
        *_summary(worlds),
        Section("method", "How it was done", _protocol(record, methods, scale)),
        controls_section(
            worlds,
            "Each method, as tuned, is also trained on permuted rewards of the same data. With one response per prompt "
            "the exchange between prompts is the only control, and leaves nothing of the rewards but their values.",
        ),
        Section("figures", "Figures", plots=plots),
        *(
            world_section(world, f"regime-{number}", [regime_table(world, _settings(world, lines))])
            for number, world in enumerate(worlds)
        ),
        edges_section(worlds),
    ]
    write_page(page, "The exact study", sections, record, rows)


def _summary(worlds: Sequence[World]) -> list[Section]:
    families = {method: BY_NAME[method].family for world in worlds for method in world.methods}
    compared = [World(world.title, comparable(world.methods), world.measures) for world in worlds]
    against = records(compared, DEFAULT, {"": "-gap"}, families) if DEFAULT in families else {}
    return [
        Section("short", "In short", items=[*standings(worlds), *unused_lines(worlds)], tables=[aims_table(worlds)]),
        *(
            Section(f"record-{number}", f"J of {DEFAULT} against {heading}", items=items)
            for number, (heading, items) in enumerate(against.items())
        ),
    ]


def _settings(world: World, lines: Sequence[Line]) -> dict[str, str]:
    """The setting of each method, the τ that an objective as shipped comes to, or the error of one that failed."""
    texts = {}
    for method in world.methods:
        if method in world.settings:
            tau = world.mean(method, "tau", ".2f") if world.values(method, "tau") else None
            shipped = f"as shipped (τ {tau}), " if tau else "as shipped, "
            texts[method] = (shipped if BY_NAME[method].knob is None else "") + setting_text(world.settings[method])
        else:
            errors = (line["error"] for line in lines if (line["regime"], line["method"]) == (world.title, method))
            texts[method] = (next(errors, None) or "not run").split(".")[0]
    return texts


def _protocol(record: Mapping[str, Any], methods: Sequence[str], scale: Scale) -> list[str]:
    world = record["world"]
    return protocol(
        Path(__file__),
        world=world,
        scale=scale,
        tau=record["config"]["tau"],
        exact="exact" if world["reward"] == "additive" else "estimated from samples",
        rates=", ".join(f"{lr:g}" for lr in scale.learning_rates),
        steps=", ".join(map(str, scale.checkpoints)),
        last=scale.checkpoints[-1],
        shipped="; ".join(name for name in methods if BY_NAME[name].knob is None) or "none",
        target_std=TARGET_STD,
    )
