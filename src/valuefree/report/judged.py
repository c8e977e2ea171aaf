"""From the folders of ``valuefree judge`` to a report: one judge, or several on the same systems."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from valuefree.data.prompts import as_text
from valuefree.evaluation.stats import p_shown, preferred
from valuefree.report.completions import side_by_side, with_occurrence
from valuefree.report.drawing import label, panels
from valuefree.report.folders import RunFiles
from valuefree.report.gains import estimate_of
from valuefree.report.model import Completions, Plot, Report, Section, Table, Verdict
from valuefree.runs.manifest import COMPLETIONS

# Category in verdicts.jsonl → outcome in a report; a half win (neutral in the other order) counts as a win.
OUTCOMES = {
    "win": "first",
    "half win": "first",
    "loss": "second",
    "half loss": "second",
    "neutral": "neutral",
    "disagreement": "disagree",
    "unjudged": "unjudged",
}
SHADES = {
    "win": "#0072b2",
    "half win": "#7fb8d8",
    "neutral": "#c9cfd5",
    "disagreement": "#9aa3ac",
    "half loss": "#eaae7f",
    "loss": "#d55e00",
    "unjudged": "#ffffff",
}


class JudgedRun:
    """The content of one folder of ``valuefree judge``. pairs: results of each two systems in each run."""

    def __init__(self, folder: RunFiles):
        self.folder, self.name = folder, folder.name
        content = folder.read("judge.json")
        self.judge: str = content["judge"]
        self.metrics: list[dict[str, Any]] = content["metrics"]
        self.agreement: dict[str, Any] = content["agreement"]
        self.missing: int = content["missing_calls"]
        self.rankings = [run["ranking"] for run in content["runs"] if run["ranking"] is not None]
        several = len(content["runs"]) > 1
        self.pairs = [
            {**pair, "run": f", run {number}" if several else ""}
            for number, run in enumerate(content["runs"])
            for pair in run["pairs"]
        ]


def judged_report(folders: Sequence[RunFiles]) -> Report:
    """The report of one or several folders of judgements; they may differ in the judge or in the systems.

    Raises:
        DataError: a folder whose files are missing or broken.
    """
    runs = [JudgedRun(folder) for folder in folders]
    judges = judge_names(runs)
    pairs = [(judges[run.name], pair) for run in runs for pair in run.pairs]
    sections = [_rates(pairs, runs, judges), _care(pairs)]
    sections += [section for section in (_measured(runs, judges), _ranked(runs, judges)) if section is not None]
    several = len(runs) > 1
    return Report(
        title=f"valuefree judge: {', '.join(dict.fromkeys(run.judge for run in runs))}",
        verdict=[_sentence(judge, pair) for judge, pair in pairs],
        sections=sections,
        completions=side_by_side(judged_completions(run, judges[run.name]) for run in runs),
        manifest={run.name: run.folder.provenance for run in runs} if several else runs[0].folder.provenance,
    )


def judge_names(runs: Sequence[JudgedRun]) -> dict[str, str]:
    """Display name of each folder's judge, with the folder's name where two judges have the same.

    Of a path it is the last part; the title of the report has the whole.
    """
    short = {run.name: Path(run.judge).name if run.judge.startswith(("/", ".", "~")) else run.judge for run in runs}
    times = Counter(short.values())
    return {name: judge if times[judge] == 1 else f"{judge} ({name})" for name, judge in short.items()}


# ---------------------------------------------------------------------------------------------------------- win rates


def _sentence(judge: str, pair: Mapping[str, Any]) -> str:
    first, second = pair["systems"]
    head = f"{judge}: {first} against {second}{pair['run']}"
    if pair["win_rate"] is None:
        return f"{head}: none of the {pair['pairs']} pairs is judged."
    rate = estimate_of(pair["win_rate"])
    if rate.interval is None:
        return f"{head}: win rate {rate.value:.1%} on one prompt: no interval, no conclusion."
    which = preferred(rate, pair["prompts"]["p_value"])
    preference = "shows no preference" if which is None else f"prefers {pair['systems'][which]}"
    tested = f"{rate.n} prompts (sign test {p_shown(pair['prompts']['p_value'])})"
    counts = pair["categories"]
    doubts = {"have no verdict": counts["unjudged"], "change the winner with the order": counts["disagreement"]}
    said = [f"{count} {what}" for what, count in doubts.items() if count]
    of = f" Of {pair['pairs']} pairs {' and '.join(said)}." if said else ""
    return f"{head}: win rate {_share(pair['win_rate'])} over {tested}; this judge {preference}.{of}"


def _share(share: Mapping[str, Any] | None) -> str:
    if share is None:
        return "–"
    rate = estimate_of(share)
    if rate.interval is None:
        return f"{rate.value:.1%} (n = {rate.n})"
    return f"{rate.value:.1%} [{rate.interval[0]:.1%}, {rate.interval[1]:.1%}]"


def _rates(
    pairs: Sequence[tuple[str, Mapping[str, Any]]], runs: Sequence[JudgedRun], judges: Mapping[str, str]
) -> Section:
    names = [[judge, f"{' over '.join(pair['systems'])}{pair['run']}"] for judge, pair in pairs]
    rates = [
        [_share(rate), str(rate["n"]), p_shown(pair["prompts"]["p_value"]).removeprefix("p = ").removeprefix("p ")]
        if (rate := pair["win_rate"])
        else ["–", "0", "–"]
        for _, pair in pairs
    ]
    counts = [_counted(pair["categories"]) for _, pair in pairs]
    note = (
        "The win rate is the mean over prompts of win 1, neutral ½ and loss 0, averaged over the two orders. Its 95 % "
        "interval is a bootstrap over prompts, or Clopper and Pearson's where all prompts agree. A half win or loss is "
        "one order, with neutral in the other. Orders disagree if the winner changes with the order. Unjudged pairs "
        "do not enter the win rate."
    )
    head = ["judge", "systems"]
    counted = ["won (by half)", "lost (by half)", "neutral", "orders disagree", "unjudged"]
    tables = [
        Table("", [*head, "win rate of the first [95 %]", "prompts", "sign test p"], _joined(names, rates)),
        Table("Pairs of answers", [*head, *counted], _joined(names, counts), note),
    ]
    agreement = [
        [judges[run.name], source, str(measured["n"]), *_agreed(measured)]
        for run in runs
        for source, measured in run.agreement.items()
    ]
    if agreement:
        tables.append(Table("Agreement", ["judge", "with", "pairs", "agreed", "Cohen's κ [95 %]"], agreement))
    missing = [f"{judges[run.name]}: {run.missing} calls have no answer." for run in runs if run.missing]
    missing += [
        f"{judges[run.name]}: the answers are not in the folder, so the verdicts are shown without them. Judge again "
        "to store them."
        for run in runs
        if not run.folder.has(COMPLETIONS)
    ]
    return Section("preferences", "Who is preferred", items=missing, tables=tables, plots=[_bars(pairs)])


def _joined(left: Sequence[list[str]], right: Sequence[list[str]]) -> list[list[str]]:
    return [[*one, *other] for one, other in zip(left, right, strict=True)]


def _counted(counts: Mapping[str, int]) -> list[str]:
    both = [f"{counts[side] + counts[f'half {side}']} ({counts[f'half {side}']})" for side in ("win", "loss")]
    return [*both, *(str(counts[name]) for name in ("neutral", "disagreement", "unjudged"))]


def _agreed(agreement: Mapping[str, Any]) -> list[str]:
    kappa = (
        str(estimate_of(agreement["kappa"])) if agreement["kappa"] is not None else f"undefined: {agreement['reason']}"
    )
    return [f"{agreement['observed']:.1%}" if agreement["observed"] is not None else "–", kappa]


def _bars(pairs: Sequence[tuple[str, Mapping[str, Any]]]) -> Plot:
    figure, (panel,) = panels(1, width=8.0, height=1.3 + 0.45 * len(pairs))
    start = np.zeros(len(pairs))
    totals = np.array([pair["pairs"] for _, pair in pairs])
    for category, shade in SHADES.items():
        share = 100 * np.array([pair["categories"][category] for _, pair in pairs]) / totals
        panel.barh(
            range(len(pairs)), share, left=start, color=shade, edgecolor="#59636e", linewidth=0.5, label=category
        )
        start += share
    names = [f"{judge}:\n{' over '.join(pair['systems'])}{pair['run']}" for judge, pair in pairs]
    panel.set_yticks(range(len(pairs)), names, fontsize=8)
    panel.set_ylim(len(pairs) - 0.5, -0.5)
    panel.set_xlim(0, 100)
    label(panel, x="% of the pairs, for the first system")
    figure.legend(loc="outside upper left", ncols=len(SHADES), fontsize=8, frameon=False)
    return Plot("verdicts", "Verdicts of each judge on each pair of systems, for the first of the two.", figure)


# -------------------------------------------------------------------------------------------------------------- bias


def _care(pairs: Sequence[tuple[str, Mapping[str, Any]]]) -> Section:
    rows = []
    for judge, pair in pairs:
        controlled = pair["length_controlled"]
        bounds = [f"{bound:.1%}" for bound in pair["bounds"]]
        rows.append(
            [
                judge,
                f"{' over '.join(pair['systems'])}{pair['run']}",
                _share(controlled["rate"]) if controlled else "–",
                _share(pair["first_position_rate"]),
                _share(pair["flip_rate"]),
                " to ".join(bounds),
                ", ".join(f"{name} {count}" for name, count in pair["decided"].items()) or "none",
            ]
        )
    head = ["judge", "systems", "win rate at equal length", "first position preferred", "winner changes with the order"]
    head += ["win rate if all unjudged lost, won", "decided without a call"]
    items = [f"{reason}: {count}" for reason, count in _reasons(pairs).items()]
    return Section(
        "care",
        "Biases of the judges",
        paragraphs=[
            "A win rate says less about the answers if the judge prefers a position or longer answers. A judge without "
            "position bias prefers the first position in half of the pairs."
        ],
        items=items,
        tables=[
            Table("", head, rows),
            Table("Settings", ["judge", "signature"], [[judge, pair["signature"]] for judge, pair in pairs]),
        ],
    )


def _reasons(pairs: Iterable[tuple[str, Mapping[str, Any]]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for judge, pair in pairs:
        counts.update({f"{judge}, no verdict, {reason}": count for reason, count in pair["unread"].items()})
        counts.update({f"{judge}, verdict from text, {reason}": count for reason, count in pair["fallbacks"].items()})
    return counts


def _measured(runs: Sequence[JudgedRun], judges: Mapping[str, str]) -> Section | None:
    tables = []
    for run in runs:
        for number, by_system in enumerate(run.metrics):
            names = list(next(iter(by_system.values())))
            rows = [[system, *(_metric(metrics[name]) for name in names)] for system, metrics in by_system.items()]
            title = f"{judges[run.name]}, run {number}" if len(runs) + len(run.metrics) > 2 else ""
            tables.append(Table(title, ["system", *names], rows, "Value [95 % interval, bootstrap over prompts] (n)."))
    return Section("metrics", "Metrics of the same answers", tables=tables) if tables else None


def _metric(metric: Mapping[str, Any]) -> str:
    unscored = f", {metric['unscored']} unscored" if metric["unscored"] else ""
    if metric["value"] is None:
        return f"none (n = {metric['n']}{unscored})"
    if metric["interval"] is None:
        return f"{metric['value']:.4g} (n = {metric['n']}{unscored})"
    low, high = metric["interval"]
    return f"{metric['value']:.4g} [{low:.4g}, {high:.4g}] ({metric['n']}{unscored})"


def _ranked(runs: Sequence[JudgedRun], judges: Mapping[str, str]) -> Section | None:
    tables = []
    for run in runs:
        for ranking in run.rankings:
            strengths = [estimate_of(strength) for strength in ranking["strengths"]]
            best_first = sorted(zip(strengths, ranking["names"], strict=True), key=lambda pair: -pair[0].value)
            rows = [[str(name), str(strength)] for strength, name in best_first]
            tables.append(Table(judges[run.name], ["system", "strength, log-odds [95 %]"], rows))
    if not tables:
        return None
    method = "Bradley–Terry strengths from all pairs of systems, with 95 % bootstrap intervals over prompts."
    return Section("ranking", "Ranking", paragraphs=[method], tables=tables)


# --------------------------------------------------------------------------------------------------------- completions


def judged_completions(run: JudgedRun, judge: str) -> list[Completions]:
    """The answers with their verdicts; without answers if the folder does not contain them."""
    verdicts: dict[Any, list[Verdict]] = defaultdict(list)  # by run, prompt, and number of the answer to the prompt
    rows = run.folder.lines("verdicts.jsonl")
    # The k-th row of two systems about a prompt is about their k-th answers to it.
    for ((key, first, second), k), row in with_occurrence(rows, lambda row: (_key(row), *row["systems"])):
        verdicts[key, k].append(Verdict(judge, first, second, OUTCOMES[row["category"]]))
    answers = list(with_occurrence(run.folder.completions(), _key)) or [(key, {"responses": {}}) for key in verdicts]
    return [Completions(key[0][1], row["responses"], verdicts=verdicts.get(key, [])) for key, row in answers]


def _key(row: Mapping[str, Any]) -> tuple[int, str]:
    return row["run"], as_text(row["prompt"])
