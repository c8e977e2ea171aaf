"""What held-out rows of the log say about policies: sentences, a table and a picture.

An assessment is a mapping here, as `valuefree.evaluation.held_out.assessment.Assessment.to_dict` makes it and
metrics.json keeps it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from valuefree.evaluation.held_out.learned import Learned
from valuefree.evaluation.held_out.wording import percent, with_interval
from valuefree.report.drawing import GREY, colour, label, legend_above, panels
from valuefree.report.gains import estimate_of
from valuefree.report.model import Plot, Section, Table

Assessment = Mapping[str, Any]
TITLE = "What the log says"
KINDS = {"training": "training rows", "report": "report rows"}  # drawn in this order
NOTE = (
    "Intervals are 95 % and resample whole prompts. Chance is 50 %: the untouched reference ranks no response above "
    "another. The ranking shows that the policy orders responses as the rewards do, not why it does."
)


def learned_of(assessment: Assessment) -> Learned:
    """The `Learned` of an assessment."""
    return Learned.from_dict(assessment["learned"])


def held_out_verdict(assessment: Assessment) -> str:
    """The first sentence of the findings."""
    return learned_of(assessment).sentences()[0]


def held_out_section(
    assessments: Mapping[str, Assessment], comparisons: Sequence[Mapping[str, Any]], *, measured: Collection[str]
) -> Section | None:
    """The findings about each policy by name, and their comparisons; None without any.

    measured: names of the policies whose gain a reward function has measured.
    """
    if not assessments:
        return None
    items = _items(assessments, measured)
    items += [comparison["sentence"] for comparison in comparisons]
    tables = [_table(assessments)]
    plots = [_scatter(assessments)]
    for name, assessment in assessments.items():
        if assessment.get("strength") and assessment["strength"]["points"]:
            plots.append(strength_plot(name, assessment["strength"]["points"], assessment["strength"]["scale"]))
    return Section("log", TITLE, items=items, tables=tables, plots=plots)


def _items(assessments: Mapping[str, Assessment], measured: Collection[str]) -> list[str]:
    """All that is said of one policy; of several, whose numbers a table shows, the doubts, equal ones once."""
    names: dict[str, list[str]] = {}
    for name, assessment in assessments.items():
        learned = learned_of(assessment)
        said = learned.sentences() if len(assessments) == 1 else learned.summary()[1:]
        said = [*said, *strength_sentences(assessment), *([assessment["origin"]] if assessment.get("origin") else [])]
        for sentence in [*said, *learned.next_steps(measured=name in measured)]:
            names.setdefault(sentence, []).append(name)
    if len(assessments) == 1:
        return list(names)
    return [f"{', '.join(of)}: {sentence}" for sentence, of in names.items()]


def strength_sentences(assessment: Assessment) -> list[str]:
    """The choice of the strength, if there was one."""
    chosen = assessment.get("strength")
    if not chosen:
        return []
    return [f"Strength of the policy: {chosen['scale']:g} times that of training; {chosen['reason']}."]


def _table(assessments: Mapping[str, Assessment]) -> Table:
    found = {name: learned_of(assessment) for name, assessment in assessments.items()}
    rows: list[tuple[str, list[str]]] = [
        ("report prompts, rows", [f"{one.prompts:,}, {one.rows:,}" for one in found.values()]),
        ("ranks as the feedback does", [percent(one.ranking) for one in found.values()]),
        (
            "the same on training rows",
            [percent(one.train_ranking) if one.train_ranking else "" for one in found.values()],
        ),
        ("the shorter response is the better one", [percent(one.shorter) for one in found.values()]),
        ("correlation given the length", [with_interval(one.partial_correlation) for one in found.values()]),
        ("explained share of the rewards", [percent(one.explained_share) for one in found.values()]),
        ("size of the log-ratios, nats", [f"{one.rms:.3g}" for one in found.values()]),
        (
            "gain estimated from the log",
            [with_interval(one.gain.gain, sign=True) if one.gain else "none" for one in found.values()],
        ),
    ]
    if any(one.too_few for one in found.values()):
        rows = rows[:2]
    head = ["", *(found if len(found) > 1 else ["value"])]
    return Table("On report prompts", head, [[name, *cells] for name, cells in rows], NOTE)


def _scatter(assessments: Mapping[str, Assessment]) -> Plot:
    """Log-ratio against reward, both minus the mean over the prompt, with the fitted and the target line."""
    figure, axes = panels(len(assessments), columns=2, width=4.6, height=3.4)
    for panel, (name, assessment) in zip(axes, assessments.items(), strict=True):
        _draw_rows(panel, assessment)
        title = "" if len(assessments) == 1 else name
        label(panel, title=title, x="reward minus the prompt's mean", y="log-ratio minus the prompt's mean, nats")
    legend_above(figure, axes[0], columns=2)
    caption = (
        "Each point is a response: its log-ratio against its reward, both minus the mean over the prompt's responses "
        "(over all rows where prompts have one response). Solid lines are least-squares fits. A policy that has "
        "learned nothing has a flat line."
    )
    if any(learned_of(assessment).tau for assessment in assessments.values()):
        caption += " The dashed line is the identity of log-ratio and reward/τ, the target of the objective."
    return Plot("log", caption, figure)


def _draw_rows(panel: Axes, assessment: Assessment) -> None:
    panel.axhline(0, color=GREY, linewidth=0.8)
    ends, top = np.zeros(2), 0.0
    for number, kind in enumerate(KINDS):
        if kind not in assessment["points"]:
            continue
        rewards, ratios = (np.asarray(assessment["points"][kind][name]) for name in ("rewards", "logratios"))
        shade = colour(1 - number)
        panel.scatter(rewards, ratios, s=10, alpha=0.35, color=shade, linewidths=0, label=KINDS[kind])
        ends = np.array([min(ends[0], rewards.min()), max(ends[1], rewards.max())])
        top = max(top, float(np.abs(ratios).max()))
        if (rewards**2).sum() > 0:
            slope = float((rewards * ratios).sum() / (rewards**2).sum())
            panel.plot(ends, slope * ends, color=shade, linewidth=1.6, label=f"fit, {KINDS[kind]}")
    tau = learned_of(assessment).tau
    limit = 1.1 * top or 1.0
    if tau:
        panel.plot(ends, ends / tau, color="black", linewidth=1, linestyle="--", label="target, reward/τ")
    panel.set_ylim(-limit, limit)


def strength_plot(name: str, points: Sequence[Mapping[str, Any]], chosen: float) -> Plot:
    """The ranking and the estimated gain by strength, on the selection rows."""
    gains = [point for point in points if point["gain"] is not None]
    figure, axes = panels(2 if gains else 1, width=3.8, height=2.8)
    _draw_curve(axes[0], points, "ranking", chosen)
    axes[0].axhline(0.5, color=GREY, linewidth=1)
    label(axes[0], title="share ranked as the feedback does", x="strength; 1 is as trained")
    if gains:
        _draw_curve(axes[1], gains, "gain", chosen)
        axes[1].axhline(0, color=GREY, linewidth=1)
        label(axes[1], title="gain estimated from the log", x="strength; 1 is as trained")
    caption = (
        "Selection rows: the policy's distance from its reference multiplied by the strength, with 95 % intervals. "
    )
    return Plot(f"strength-{_plain(name)}", caption + "The vertical line is the chosen strength.", figure)


def _draw_curve(panel: Axes, points: Sequence[Mapping[str, Any]], measure: str, chosen: float) -> None:
    for point in points:
        estimate = estimate_of(point[measure])
        if estimate.interval is not None:
            panel.plot([point["scale"]] * 2, estimate.interval, color=colour(0), linewidth=1.5)
    scales, values = [point["scale"] for point in points], [point[measure]["value"] for point in points]
    panel.plot(scales, values, color=colour(0), marker="o", markersize=4, linewidth=1.1)
    panel.axvline(chosen, color="black", linewidth=1, linestyle=":")


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name).strip("-") or "policy"
