"""The paper's tables with the numbers of this study and the published ones, and tables that the paper lacks."""

from collections.abc import Sequence

import numpy as np

from studies.paper.cells import Pair, gain_of, kls_of, our_pairs, paper_pairs
from studies.paper.methods import OURS, REFERENCE, SELF_TUNED, Method
from studies.paper.published import METRICS, Metric, printed
from studies.paper.results import REWARD_JUDGE, Judged, Results
from studies.paper.scales import MAIN_TAU, Scale
from studies.paper.self_tuning import rates_of, rows_origin
from studies.paper.verdicts import NONE, Spread, shown, spread
from studies.paper.wording import sentence, table
from valuefree.evaluation.stats import p_shown, t_mean
from valuefree.report import Table

OUR_ROWS = (REFERENCE, OURS, SELF_TUNED, "RPO sums", "DRO-V", "SFT-all", "SFT-best")


def _beside(scale: Scale) -> str:
    """The model and data of the published columns."""
    return sentence("same") if scale.published else sentence("orientation", size=scale.compared_with)


# --------------------------------------------------------------------------------------------------- tables II and V


def _metric_cells(results: Results, table: str, metric: Metric, found: Spread | None, column: str) -> list[str]:
    """Here, published, difference; none where another model than the paper's computed the metric."""
    cell = printed(table, metric.name, column)
    comparable = metric.ours not in results.other_models
    difference = f"{found.value - cell.value:+.4f}" if found and cell and comparable else NONE
    return [shown(found, digits=4), NONE if cell is None else f"{cell.value:.4f}", difference]


def _titled(metric: Metric) -> str:
    return f"{metric.name} {'↑' if metric.better == 'higher' else '↓'}"


def table_2(results: Results) -> Table:
    """Six metrics of KTO, DRO and RPO, and of the methods that the paper lacks."""
    size, rows, lacking = results.scale.compared_with, [], []
    others = [name for name in OUR_ROWS if any(method.name == name for method in results.methods)]
    for metric in METRICS:
        values = {name: results.metric(name, MAIN_TAU, metric.ours) for name in ("KTO", "DRO", "RPO", *others)}
        for name, found in values.items():
            if name not in others or found is not None:
                rows.append([_titled(metric), name, *_metric_cells(results, "II", metric, found, f"{name} {size}")])
        if not any(values.values()):
            lacking.append(metric.name)
    return table(
        "table_2",
        rows,
        scale=results.scale.title,
        size=size,
        prompts=results.scale.test_prompts,
        unmeasured=sentence("unmeasured", names=", ".join(lacking)) if lacking else "",
        models="".join(sentence(f"{name}_model", model=model) + " " for name, model in results.other_models.items()),
        beside=_beside(results.scale),
    )


def table_5(results: Results) -> Table:
    """RPO and RPO-noNorm by temperature: six metrics."""
    size, rows = results.scale.compared_with, []
    for metric in METRICS:
        for tau in results.taus:
            for name in ("RPO", "RPO-noNorm"):
                found = results.metric(name, tau, metric.ours)
                if found is not None:
                    cells = _metric_cells(results, "V", metric, found, f"{name} {tau} {size}")
                    rows.append([_titled(metric), f"{tau:g}", name, *cells])
    return table("table_5", rows, scale=results.scale.title, size=size, beside=_beside(results.scale))


# ---------------------------------------------------------------------------------------------- tables III, IV and VI

FLIPPED = "depends on the order, see The judges"


def rate_cell(found: Judged | None) -> str:
    """Win rate in percent with its spread, n, and the share that is judged."""
    if found is None:
        return NONE
    prompts = len(found.verdicts[0])
    if found.rate is None:
        return f"none of {prompts} judged"
    covered = "" if found.coverage == 1 else f", {found.coverage:.0%} judged"
    runs = "" if found.rate.runs == 1 else f"{found.rate.runs} runs × "
    return f"{shown(found.rate, digits=1)} ({runs}{prompts} prompts, {p_shown(found.p_value)}{covered})"


def _rate_table(results: Results, number: str, what: str, lines: Sequence[tuple[str, str, Pair]]) -> Table:
    """lines: (first cell, published column, pair)."""
    size, rows, reliable = results.scale.compared_with, [], results.reliable_judges
    for judge in results.judges:
        for name, column, pair in lines:
            parts = [printed(f"{number}{part}", size, column) for part in "ab"]
            theirs = [cell for cell in parts if cell is not None]
            published = ", ".join(f"{cell.value:.2f} ± {cell.deviation:.2f}" for cell in theirs) or NONE
            found = results.judged(judge, pair) if judge in reliable else None
            rate = None if found is None else found.rate
            differences = [f"{rate.value - cell.value:+.1f}" for cell in theirs] if rate else []
            here = rate_cell(found) if judge in reliable else FLIPPED
            rows.append([judge, name, here, published, ", ".join(differences) or NONE])
    scale = results.scale
    return table("rates", rows, number=number, scale=scale.title, what=what, size=size, beside=_beside(scale))


def table_3(results: Results) -> Table:
    """RPO against SFT, KTO, DRO."""
    lines = [(other, other, Pair("RPO", other)) for other in (REFERENCE, "KTO", "DRO")]
    return _rate_table(results, "III", "against", lines)


def table_4(results: Results) -> Table:
    """RPO against SFT by temperature."""
    return _rate_table(results, "IV", "τ", [(f"{t:g}", str(t), Pair("RPO", REFERENCE, t)) for t in results.taus])


def table_6(results: Results) -> Table:
    """RPO against RPO-noNorm by temperature."""
    return _rate_table(results, "VI", "τ", [(f"{t:g}", str(t), Pair("RPO", "RPO-noNorm", t)) for t in results.taus])


def more_rates_table(results: Results) -> Table:
    """Win rates that the paper lacks: against SFT on everything, and of this package's default."""
    rows = [
        [judge, pair.first, pair.second, rate_cell(found), _length_controlled(found)]
        for judge in results.judges
        for pair, found in results.judged_pairs(judge, our_pairs()).items()
    ]
    return table("more_rates", rows, scale=results.scale.title)


def _length_controlled(found: Judged) -> str:
    rates = [controlled.get("rate") for result in found.results if (controlled := result.get("length_controlled"))]
    return _mean([100 * rate["value"] for rate in rates if rate], ".1f")


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):{form}}" if known else NONE


# ---------------------------------------------------------------------------------------- rewards, distances, judges


def rewards_table(results: Results) -> Table:
    """Every method: reward, gain over the reference, and the shuffle control."""
    rows = []
    for method, tau, name in results.grid():
        shuffled = results.runs(method.name, tau, shuffled=True)
        used = results.difference(results.runs(method.name, tau), shuffled)
        sure = used is not None and used.interval is not None and used.interval[0] > 0
        rows.append(
            [
                name,
                shown(results.reward(method.name, tau)),
                shown(results.gain(method.name, tau), signed=True) if method.make else NONE,
                shown(results.gain(method.name, tau, shuffled=True), signed=True),
                NONE if used is None else f"{'yes' if sure else 'not shown'}: {shown(used, signed=True)}",
            ]
        )
    scale = results.scale
    return table("rewards", rows, scale=scale.title, seeds=results.study["seeds"], prompts=scale.test_prompts)


def distance_table(results: Results) -> Table:
    """Every method: its distance from the reference, length of its answers, and its partition before training."""
    rows = []
    for method, tau, name in results.grid():
        runs = results.runs(method.name, tau)
        kls = kls_of(runs)
        partitions = [run.end["partition"] for run in runs if run.end.get("partition")]
        if kls:
            rows.append(
                [
                    name,
                    shown(spread(kls, n=results.scale.kl_prompts, interval=t_mean(kls).interval), digits=2),
                    _mean([run.end["length"] for run in runs], ".1f"),
                    _mean([100 * found["level_share_unweighted"] for found in partitions], ".0f"),
                    _mean([found["median_log_coverage"] for found in partitions], ".1f"),
                ]
            )
    return table("distances", rows, scale=results.scale.title, kl_prompts=results.scale.kl_prompts)


def chosen_table(results: Results, method: Method) -> Table:
    """Learning rate and strength of every run of a method that chooses them, on true and on shuffled rewards."""
    rows = []
    for shuffled in (False, True):
        for run in results.runs(method.name, shuffled=shuffled):
            chosen, gain, kl = run.end.get("chosen"), gain_of(run), kls_of([run])
            if chosen is None:
                continue
            rows.append(
                [
                    "shuffled" if shuffled else "true",
                    str(run.cell.seed),
                    str(chosen["selection_prompts"]),
                    f"{chosen['learning_rate']:g}{' (last of those tried)' if chosen['at_edge'] else ''}",
                    f"{chosen['scale']:g}: {chosen['reason']}",
                    f"{kl[0]:.2f}" if kl else NONE,
                    NONE if gain is None else f"{gain:.3f}",
                ]
            )
    scale = results.scale
    rates = ", ".join(f"{rate:g}" for rate in rates_of(scale))
    own = sentence("reference_saw") if scale.width else ""
    values = {"method": method.name, "rates": rates, "lr": scale.lr, "origin": rows_origin(scale), "own": own}
    return table("chosen_settings", rows, scale=scale.title, **values)


def judges_table(results: Results) -> Table:
    """Reliability of each judge: coverage, order effects, preference for the first place, agreement with the reward."""
    rows = []
    for judge in results.judges:
        found = list(results.judged_pairs(judge, paper_pairs(results.taus)).values())
        if judge == REWARD_JUDGE or not found:
            continue
        sizes = [sum(len(run) for run in one.verdicts) for one in found]
        covered = sum(one.coverage * size for one, size in zip(found, sizes, strict=True)) / sum(sizes)
        places, flips = ([one.mean(name) for one in found] for name in ("first_position_rate", "flip_rate"))
        cells = [f"{covered:.0%}", _mean(places, ".0%"), _mean(flips, ".0%"), agreement_with_reward(results, judge)]
        rows.append([judge, str(sum(sizes)), *cells])
    return table("judges", rows, scale=results.scale.title)


def agreement_with_reward(results: Results, judge: str) -> str:
    """Share of a judge's decided pairs whose winner has the larger reward."""
    same = []
    for pair, theirs in results.judged_pairs(judge, paper_pairs(results.taus)).items():
        truth = results.judged(REWARD_JUDGE, pair)
        for seed, mine in zip(theirs.seeds, theirs.verdicts, strict=True):
            rewards = () if truth is None else truth.of_seed(seed)
            for verdict, reward in zip(mine, rewards, strict=False):  # a judge may see fewer prompts
                if verdict["score"] not in (None, 0.5) and reward["score"] not in (None, 0.5):
                    same.append((verdict["score"] > 0.5) == (reward["score"] > 0.5))
    return f"{sum(same)} of {len(same)}" if same else NONE


# ----------------------------------------------------------------------------------------------------------- figure 1

STEPS = {
    "SFT-all": "one forward and backward pass; no reference",
    "KTO": "one forward and backward pass (as published: z0 from the batch itself)",
    "DRO": "one forward and backward pass, and a small head on the encoder's states",
    "DRO-V": "a second network on the prompts, trained too",
    "RPO": "one forward and backward pass; V̂ is looked up",
    "RPO() auto": "the same, and the rest of a split prompt's answers without gradient",
}


def timing_table(results: Results) -> Table | None:
    """Figure 1 in numbers: seconds by method and size, and what a step of each method does."""
    rows = results.timing
    if not rows:
        return None
    lines = []
    for size in dict.fromkeys(row["size"] for row in rows):
        own = [row for row in rows if row["size"] == size]
        base = np.mean([row["train_seconds"] for row in own if row["method"] == "RPO"])
        for method in dict.fromkeys(row["method"] for row in own):
            here = [row for row in own if row["method"] == method]
            train = [row["train_seconds"] for row in here]
            whole = [row["train_seconds"] + row["prepare_seconds"] for row in here]
            seconds = f"{np.mean(train):.2f} ± {np.std(train, ddof=1):.2f}"
            cells = [seconds, f"{np.mean(train) / base:.2f}", f"{np.mean(whole):.2f}", STEPS[method]]
            lines.append([f"{size}, {here[0]['parameters'] / 1e6:.2f} M", method, *cells])
    return table("timing", lines, steps=rows[0]["steps"], repeats=len({row["repeat"] for row in rows}))
