"""The page of the study on real models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studies.harness.cells import Row
from studies.harness.page import protocol, write_between, write_page
from studies.harness.results import DAGGER, EMPTY, number, sign
from studies.real.cells import Setting
from studies.real.methods import AUTO, AUTO_LRS, METHODS, RATES
from studies.real.models import Model
from studies.real.results import (
    SCORES,
    Choices,
    Reported,
    difference,
    difference_within,
    log_score,
    reported,
    true_score,
)
from studies.real.scale import NEW_TOKENS, RANK, SAMPLES, TEST, TRAIN, VALIDATION
from studies.real.tasks import parts_of, task_named
from valuefree.evaluation.stats import crossed_mean
from valuefree.report import Section, Table
from valuefree.report.drawing import colour, label, legend_above, mark, panels
from valuefree.report.markdown import markdown_table
from valuefree.report.model import Plot

TUNED = "rpo"
COLUMNS = [
    "method",
    "chosen by",
    "setting",
    "gain",
    "less rpo-auto",
    "at equal KL",
    "shuffled",
    "KL",
    "tokens",
    "distinct",
    "off-task",
]
WORLDS = {"on-policy": "four samples of the model per prompt", "thumbs": "one sample per prompt, 0 or 1"}
WORLDS |= {"off-policy": "two samples of the model and two of another author per prompt"}


def make_page(
    page: Path,
    rows: Sequence[Row],
    choices: Choices,
    record: Mapping[str, Any],
    model: Model,
    readme: Path | None = None,
    undone: str = "",
) -> None:
    """Write the page from the rows of all runs, and the table of gains into the README between its markers.

    undone: a sentence on runs that are missing, if any.
    """
    found = reported([row for row in rows if row.cell.stage != "tune"])
    worlds = list(dict.fromkeys(group[:2] for group in (row.cell.group for row in rows)))
    said = [undone]
    said += [verdict(ours, found, choices, worlds) for ours in (AUTO, TUNED)]
    said += [share_of_best(world, found) for world in worlds]
    said += [text for world in worlds for text in rates(of_world(world, found, choices, "reward"), ", ".join(world))]
    plots = [gains_plot(worlds, found, choices)]
    sections = [
        Section(
            "result",
            "What it says",
            [text for text in said if text],
            tables=[_wins(found, choices, worlds), _losses(found, choices, worlds)],
            plots=plots,
        )
    ]
    for world in worlds:
        tables = [_table(world, found, choices), tuning_table(world, rows)]
        task = task_named(world[0])
        about = f"Reward: {task.about}. Rows: {WORLDS[world[1]]}. Source: {task.licence}."
        devices = f"Reported runs computed on {_devices(world, rows)}."
        tables += _examples(world, rows, choices)
        sections.append(Section("-".join(world), f"{world[0]}, {world[1]}", [about, devices], tables=tables))
    sections.insert(1, Section("method", "How it was done", _protocol(model)))
    write_page(page, "Methods on a real language model", sections, record, rows)
    if readme is not None:
        write_between(readme, "real", markdown_table(gains_table(found, choices, worlds)))


def _devices(world: tuple[str, str], rows: Sequence[Row]) -> str:
    """What the reported runs of a world were computed on."""
    here = [row for row in rows if row.curve and row.cell.group[:2] == world and row.cell.stage != "tune"]
    return "; ".join(sorted({row.end["device"] for row in here}))


def _protocol(model: Model) -> list[str]:
    return protocol(
        Path(__file__),
        model=model,
        prompts=TRAIN + VALIDATION + TEST,
        train=TRAIN,
        validation=VALIDATION,
        test=TEST,
        tokens=NEW_TOKENS,
        rank=RANK,
        tune=SAMPLES["tune"],
        report=SAMPLES["report"],
        auto=AUTO,
    )


def of_world(world: tuple[str, str], found: Mapping[Any, Reported], choices: Choices, by: str) -> dict[str, Reported]:
    """The results of a world's methods at the settings that were chosen so."""
    chosen = {group: setting for group, setting in choices.by[by].items() if group[:2] == world}
    return {group[2]: found[group, setting] for group, setting in chosen.items() if (group, setting) in found}


def verdict(ours: str, found: Mapping[Any, Reported], choices: Choices, worlds: Sequence[tuple[str, str]]) -> str:
    """Wins and losses of a method against each other one, by intervals, at settings chosen by reward."""
    parts = [f"{other} {_counted(ends)}" for other, (ends, _) in _signs(ours, found, choices, worlds).items()]
    named = f"{ours}, not tuned," if ours == AUTO else f"{ours}, tuned by the true reward,"
    where = ", in worlds" if len(worlds) > 1 else ""
    return f"{named} against methods tuned by the true reward{where}: {'; '.join(parts)}." if parts else ""


def _signs(
    ours: str, found: Mapping[Any, Reported], choices: Choices, worlds: Sequence[tuple[str, str]]
) -> dict[str, tuple[list[int], list[int]]]:
    """By method the signs of the differences from it in each world: where the runs end, and at equal KL."""
    signs: dict[str, tuple[list[int], list[int]]] = {}
    for world in worlds:
        results = of_world(world, found, choices, "reward")
        for other, theirs in results.items():
            if ours in results and other not in (ours, TUNED, *AUTO_LRS):
                ends, equal = signs.setdefault(other, ([], []))
                ends.append(sign(difference(results[ours], theirs)))
                equal.append(sign(difference_within(results[ours], theirs)))
    return signs


def _counted(signs: Sequence[int]) -> str:
    if len(signs) == 1:
        return {1: "won", -1: "lost", 0: "undecided"}[signs[0]]
    return f"{signs.count(1)} won, {signs.count(-1)} lost, {signs.count(0)} undecided"


def losses(world: tuple[str, str], found: Mapping[Any, Reported], choices: Choices) -> list[list[str]]:
    """A line for each method to which `AUTO` loses by an interval, where the runs end or at equal KL."""
    results = of_world(world, found, choices, "reward")
    ours = results.get(AUTO)
    tuned = {name: result for name, result in results.items() if name not in AUTO_LRS}
    lines = []
    for other, theirs in tuned.items() if ours else ():
        ends, equal = difference(theirs, ours), difference_within(theirs, ours)
        lost = [name for name, one in (("at the end", ends), ("at equal KL", equal)) if sign(one) > 0]
        if lost:
            kls = [f"{theirs.kl:.2f}", f"{ours.kl:.2f}"]
            shown = [number(ends, signed=True), *kls, number(equal, signed=True)]
            lines.append([", ".join(world), other, " and ".join(lost), *shown])
    return lines


def _losses(found: Mapping[Any, Reported], choices: Choices, worlds: Sequence[tuple[str, str]]) -> Table:
    heads = ["world", "loses to", "where", "its gain less ours, at the end", "its KL", "our KL", "the same at equal KL"]
    note = f"Comparisons of {AUTO}, not tuned, in which a method tuned by the true reward is ahead by its interval."
    return Table("Losses", heads, [line for world in worlds for line in losses(world, found, choices)], note)


def _wins(found: Mapping[Any, Reported], choices: Choices, worlds: Sequence[tuple[str, str]]) -> Table:
    lines = [
        [ours, other, _counted(ends), _counted(equal)]
        for ours in (AUTO, TUNED)
        for other, (ends, equal) in _signs(ours, found, choices, worlds).items()
    ]
    note = (
        "Won, lost, undecided: the 95 % interval of the gain less that of the other method is above zero, below it, or "
        "contains it; with several worlds, in how many. At equal KL the policy of the larger KL is mixed with the "
        "reference until its KL is at most the other's; had it been trained less far instead, it might gain more there."
    )
    return Table("", ["method", "against", "where the runs end", "at equal KL"], lines, note)


def gains_table(found: Mapping[Any, Reported], choices: Choices, worlds: Sequence[tuple[str, str]]) -> Table:
    """The gain of each method in each world and its KL, at settings chosen by reward."""
    results = [of_world(world, found, choices, "reward") for world in worlds]
    lines = [
        [method, *(_gain_at(own[method]) if method in own else EMPTY for own in results)]
        for method in METHODS
        if any(method in own for own in results)
    ]
    return Table("", ["method", *(", ".join(world) for world in worlds)], lines)


def _gain_at(result: Reported) -> str:
    return f"{number(result.gain, signed=True).rstrip('†')}, {result.kl:.1f} nats"


def _table(world: tuple[str, str], found: Mapping[Any, Reported], choices: Choices) -> Table:
    lines, seen = [], set()
    auto = of_world(world, found, choices, "reward").get(AUTO)
    for by in SCORES:
        for method, result in of_world(world, found, choices, by).items():
            key = method, result.setting
            if key in seen:
                continue
            seen.add(key)
            lines.append(_line(method, _chosen_by(result, choices), result, auto))
    order = list(METHODS)
    lines.sort(key=lambda line: order.index(line[0]))
    seeds = max((len(result.gains) for result in found.values() if result.group[:2] == world), default=0)
    note = (
        f"Means of {seeds} runs. Intervals: 95 %, over runs and prompts. Scaled by: the strength that the logged "
        "responses chose, a multiple of the one trained. KL in nats per response. Tokens: mean length of the samples. "
        "Distinct: share of different word pairs among all. Off-task: loss of "
        "log-likelihood of the reference's answers to another task, in nats per token. At equal KL: the same "
        "difference where the policy of the larger KL is mixed with the reference until its KL is at most the "
        f"other's. {DAGGER}."
    )
    return Table("", COLUMNS, lines, note)


def tuning_table(world: tuple[str, str], rows: Sequence[Row]) -> Table:
    """What the settings are chosen by: per setting the true gain on the validation prompts, and the log's score."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        if row.cell.group[:2] == world and row.cell.stage == "tune" and row.curve:
            scores = f"{true_score(row.end):+.3f} ({log_score(row.end):.0%})"
            lines.setdefault(row.cell.method, []).append(f"{_named(row.cell.method, row.cell.setting)}: {scores}")
    note = (
        "Of one run on the training prompts: gain on the validation prompts, and in parentheses the ranking accuracy "
        "of their logged responses."
    )
    return Table(
        "Settings tried", ["method", "tuning runs"], [[name, "; ".join(runs)] for name, runs in lines.items()], note
    )


def _examples(world: tuple[str, str], rows: Sequence[Row], choices: Choices) -> list[Table]:
    """The first sample of each method to the first report prompt, of the first run at the setting chosen by reward."""
    lines = []
    task, prompt = task_named(world[0]), parts_of(world[0])[2][0]
    for group, setting in choices.by["reward"].items():
        for row in rows:
            cell = row.cell
            if (
                group[:2] == world
                and (cell.group, cell.setting, cell.stage) == (group, setting, "report")
                and row.curve
            ):
                text = row.end["texts"][0]
                lines.append([group[2], f"{task.reward([prompt], [text])[0]:.2f}", " ".join(text.split())])
                break
    note = f"The first samples of the first runs to the first report prompt: {prompt}"
    return [Table("Examples", ["method", "reward", "response"], lines, note)] if lines else []


def _chosen_by(result: Reported, choices: Choices) -> str:
    if result.group[2] in AUTO_LRS:
        return "–"
    return " and ".join(by for by, chosen in choices.by.items() if chosen.get(result.group) == result.setting)


def _named(method: str, setting: Setting) -> str:
    lr, strength = setting
    return f"lr {lr:g}" + (f", {METHODS[method].knob} {strength:g}" if strength is not None else "")


def _line(method: str, by: str, result: Reported, auto: Reported | None) -> list[str]:
    setting = _named(method, result.setting)
    if result.strength is not None:
        setting += f", scaled by {result.strength:.2f}"
    less, at_equal_kl = (
        [number(compared(result, auto), signed=True) for compared in (difference, difference_within)]
        if auto is not None and auto is not result
        else [EMPTY, EMPTY]
    )
    control = EMPTY if result.shuffled is None else number(crossed_mean(result.shuffled), signed=True)
    gain = number(result.gain, signed=True)
    rest = [f"{result.kl:.2f}", f"{result.length:.1f}", f"{result.distinct:.3f}", f"{result.off_task:.3f}"]
    return [method, by, setting, gain, less, at_equal_kl, control, *rest]


def gains_plot(worlds: Sequence[tuple[str, str]], found: Mapping[Any, Reported], choices: Choices) -> Plot:
    """A panel per world; a method has the same colour and mark in all of them."""
    figure, axes = panels(len(worlds))
    results = [of_world(world, found, choices, "reward") for world in worlds]
    order = [method for method in METHODS if any(method in own for own in results)]
    for panel, world, own in zip(axes, worlds, results, strict=True):
        for method, result in own.items():
            place = order.index(method)
            low, high = result.gain.interval or (result.gain.value, result.gain.value)
            panel.plot(result.kl, result.gain.value, mark(place), color=colour(place), label=method, markersize=5)
            panel.vlines(result.kl, low, high, color=colour(place), linewidth=1)
        label(panel, title=", ".join(world), x="KL, nats per response", y="gain in reward")
    most = max(range(len(results)), key=lambda index: len(results[index]), default=0)
    legend_above(figure, axes[most])
    caption = "True gain on the report prompts against the KL to the reference, settings chosen by reward."
    return Plot("gains", caption, figure)


def rates(results: Mapping[str, Reported], world: str) -> list[str]:
    """What the other learning rate of `RATES` changes; nothing where it has not been run."""
    return [
        f"{world}: the gain of {other} less that of {ours} is "
        f"{number(difference(results[other], results[ours]), signed=True)}."
        for ours, other in RATES.items()
        if ours in results and other in results
    ]


def share_of_best(world: tuple[str, str], found: Mapping[Any, Reported]) -> str:
    """The gain of `AUTO` as a share of that of the best reported setting of `TUNED`; empty without a gain of both."""
    ours = [result for (group, _), result in found.items() if group == (*world, AUTO)]
    best = [result.gain.value for (group, _), result in found.items() if group == (*world, TUNED)]
    if not ours or not best or max(best) <= 0:
        return ""
    return f"{', '.join(world)}: {AUTO} has {ours[0].gain.value / max(best):.0%} of the gain of the best {TUNED}."
