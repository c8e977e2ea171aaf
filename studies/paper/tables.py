"""The paper's tables as this study fills them, each cell beside the published one. No torch."""

from collections.abc import Sequence

import numpy as np

from studies.paper.judging import OURS
from studies.paper.methods import REFERENCE
from studies.paper.published import JUDGES, METRICS, printed, published
from studies.paper.results import Judged, Results, Spread
from studies.paper.scales import MAIN_TAU, Scale
from valuefree.evaluation.stats import Estimate
from valuefree.report import Table

NONE = "–"
PARTS = dict(zip(JUDGES, "ab", strict=True))
OUR_COLUMNS = (REFERENCE, OURS, "RPO sums", "DRO-V", "SFT-all", "SFT-best")


def size_of(scale: Scale) -> str:
    """The published size that a scale is set beside: its own, else Small."""
    return scale.published or "Small"


def beside(scale: Scale) -> str:
    """What the published columns are of."""
    if scale.published:
        return "the same model and data"
    return "another model (Flan-T5 Small) on other data: its numbers are for orientation, differences no failure"


def shown(found: Spread | None, digits: int = 3) -> str:
    """Mean ± standard deviation over runs [interval]."""
    if found is None:
        return NONE
    deviation = "" if found.deviation is None else f" ± {found.deviation:.{digits}f}"
    interval = "" if found.interval is None else f" [{found.interval[0]:.{digits}f}, {found.interval[1]:.{digits}f}]"
    return f"{found.mean:.{digits}f}{deviation}{interval}"


def signed(found: Estimate | None, digits: int = 3) -> str:
    """A difference with its interval."""
    if found is None:
        return NONE
    if found.interval is None:
        return f"{found.value:+.{digits}f}"
    low, high = found.interval
    return f"{found.value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


# --------------------------------------------------------------------------------------------------- tables II and V


def table_2(results: Results, scale: Scale) -> Table:
    """Six metrics of KTO, DRO and RPO, and of what the paper lacks."""
    size = size_of(scale)
    others = [name for name in OUR_COLUMNS if any(method.name == name for method in results.methods)]
    rows = []
    for metric in METRICS:
        for name in ("KTO", "DRO", "RPO"):
            found = results.metric(scale.name, name, MAIN_TAU, metric.ours)
            value = published("II", metric.name, f"{name} {size}").value
            cells = _beside_published(found, value, comparable=_comparable(results, metric.ours))
            rows.append([_titled(metric.name, metric.better), name, *cells])
        for name in others:
            found = results.metric(scale.name, name, MAIN_TAU, metric.ours)
            if found is not None:
                rows.append([_titled(metric.name, metric.better), name, shown(found, 4), NONE, NONE])
    return Table(
        f"Table II, {scale.title}",
        ["metric", "method", "here", f"paper, {size}", "difference"],
        rows,
        f"Mean ± standard deviation over runs [95 % interval: Student's over runs, of one run over prompts]; each run "
        f"answers {scale.test_prompts} held-out prompts. {_unmeasured(rows)}{_encoder(results)}Published: "
        f"{beside(scale)}. The reference texts are the best known answers to the prompts, so a metric is high for what "
        "imitates the data.",
    )


def _comparable(results: Results, metric: str) -> bool:
    """Whether a metric is the published one: BERTScore only by the same encoder."""
    return metric != "bertscore" or results.encoder is None


def _encoder(results: Results) -> str:
    if results.encoder is None:
        return ""
    return (
        f"BERTScore is by another encoder ({results.encoder}) than the published code's roberta-large, so it has no "
        "difference. "
    )


def _titled(name: str, better: str) -> str:
    return f"{name} {'↑' if better == 'higher' else '↓'}"


def _beside_published(found: Spread | None, value: float | None, *, comparable: bool) -> list[str]:
    difference = NONE if found is None or value is None or not comparable else f"{found.mean - value:+.4f}"
    return [shown(found, 4), NONE if value is None else f"{value:.4f}", difference]


def _unmeasured(rows: Sequence[Sequence[str]]) -> str:
    """The metrics (first column) that no method has a value (third column) of."""
    known = {row[0] for row in rows if row[2] != NONE}
    lacking = dict.fromkeys(row[0].split()[0] for row in rows if row[0] not in known)
    if not lacking:
        return ""
    return f"Not measured here ({', '.join(lacking)}): no model or data for it was given (docs/metrics.md). "


def table_5(results: Results, scale: Scale) -> Table:
    """RPO and RPO-noNorm by temperature: six metrics."""
    size = size_of(scale)
    rows = []
    for metric in METRICS:
        for tau in results.taus:
            for name in ("RPO", "RPO-noNorm"):
                found = results.metric(scale.name, name, tau, metric.ours)
                cell = printed("V", metric.name, f"{name} {tau} {size}")
                if found is not None:
                    line = [_titled(metric.name, metric.better), f"{tau:g}", name]
                    comparable = _comparable(results, metric.ours)
                    value = None if cell is None else cell.value
                    rows.append([*line, *_beside_published(found, value, comparable=comparable)])
    return Table(
        f"Table V, {scale.title}",
        ["metric", "τ", "method", "here", f"paper, {size}", "difference"],
        rows,
        f"As Table II. Published: {beside(scale)}.",
    )


# ---------------------------------------------------------------------------------------------- tables III, IV and VI


def rate_cell(found: Judged | None) -> str:
    """Win rate in percent with its spread, n, and how much is judged."""
    if found is None:
        return NONE
    if found.rate is None:
        return f"none of {len(found.verdicts[0])} judged"
    covered = "" if found.coverage == 1 else f", {found.coverage:.0%} judged"
    runs = "" if found.rate.runs == 1 else f"{found.rate.runs} runs × "
    return f"{shown(found.rate, 1)} ({runs}{len(found.verdicts[0])} prompts, p = {found.p_value:.2g}{covered})"


def _rates(found: Judged | None, table: str, row: str, column: str) -> list[str]:
    cells = [cell for part in PARTS.values() if (cell := printed(f"{table}{part}", row, column)) is not None]
    theirs = ", ".join(f"{cell.value:.2f} ± {cell.deviation:.2f}" for cell in cells) or NONE
    if found is None or found.rate is None:
        return [rate_cell(found), theirs, NONE]
    return [rate_cell(found), theirs, ", ".join(f"{found.rate.mean - cell.value:+.1f}" for cell in cells) or NONE]


FLIPPED = "decided by the place, see The judges"
RATES = (
    "Win rate in percent: win 1, neutral ½, loss 0, averaged over both orders. Mean ± standard deviation over runs "
    "[95 % interval over prompts with all their runs], p of the sign test over prompts. "
)


def _rate_table(results: Results, scale: Scale, title: str, what: str, lines) -> Table:
    """lines: (label, table, published column, pair of methods, τ of both)."""
    rows, counted = [], results.counted(scale.name)
    for judge in results.judges:
        for name, table, column, (first, second), tau in lines:
            found = results.judged(judge, scale.name, first, second, tau, tau)
            if judge not in counted:
                rows.append([judge, name, FLIPPED, *_rates(None, table, size_of(scale), column)[1:]])
                continue
            rows.append([judge, name, *_rates(found, table, size_of(scale), column)])
    return Table(
        f"{title}, {scale.title}",
        ["judge", what, "win rate of RPO", f"paper {size_of(scale)}: {', '.join(JUDGES)}", "differences"],
        rows,
        RATES + f"Published: {beside(scale)}; how it counts neutral verdicts is not said.",
    )


def table_3(results: Results, scale: Scale) -> Table:
    """RPO against SFT, KTO, DRO."""
    lines = [(other, "III", other, ("RPO", other), MAIN_TAU) for other in (REFERENCE, "KTO", "DRO")]
    return _rate_table(results, scale, "Table III", "against", lines)


def table_4(results: Results, scale: Scale) -> Table:
    """RPO against SFT by temperature."""
    lines = [(f"{tau:g}", "IV", str(tau), ("RPO", REFERENCE), tau) for tau in results.taus]
    return _rate_table(results, scale, "Table IV", "τ", lines)


def table_6(results: Results, scale: Scale) -> Table:
    """RPO against RPO-noNorm by temperature."""
    lines = [(f"{tau:g}", "VI", str(tau), ("RPO", "RPO-noNorm"), tau) for tau in results.taus]
    return _rate_table(results, scale, "Table VI", "τ", lines)


# ----------------------------------------------------------------------------------------------------------- figure 1


def timing_table(results: Results) -> Table | None:
    """Figure 1 in numbers: seconds by method and size, and what the difference is made of."""
    rows = results.timing
    if not rows:
        return None
    lines = []
    for size in dict.fromkeys(row["size"] for row in rows):
        own = [row for row in rows if row["size"] == size]
        base = [row["train_seconds"] for row in own if row["method"] == "RPO"]
        for method in dict.fromkeys(row["method"] for row in own):
            here = [row for row in own if row["method"] == method]
            train = [row["train_seconds"] for row in here]
            whole = [row["train_seconds"] + row["prepare_seconds"] for row in here]
            lines.append(
                [
                    f"{size}, {here[0]['parameters'] / 1e6:.2f} M",
                    method,
                    f"{np.mean(train):.2f} ± {np.std(train, ddof=1):.2f}",
                    f"{np.mean(train) / np.mean(base):.2f}",
                    f"{np.mean(whole):.2f}",
                    CAUSES[method],
                ]
            )
    repeats = len({row["repeat"] for row in rows})
    return Table(
        "Figure 1: training time",
        ["size", "method", "seconds", "of RPO's", "with preparation", "what a step does"],
        lines,
        f"Seconds of {rows[0]['steps']} steps on the same rows in the same batches, mean ± standard deviation over "
        f"{repeats} repetitions in rotating order, one process of one thread alone. Preparation: tokenising, scores of "
        "the reference once for every answer (none for SFT), the partition. The paper's bars have no numbers in its "
        "text, so there is nothing to subtract from.",
    )


CAUSES = {
    "SFT-all": "one forward and backward pass; no reference",
    "KTO": "one forward and backward pass (as published: z0 from the batch itself)",
    "DRO": "one forward and backward pass, and a small head on the encoder's states",
    "DRO-V": "a second network on the prompts, trained too",
    "RPO": "one forward and backward pass; V̂ is looked up",
    "RPO() auto": "the same, and the rest of a split prompt's answers without gradient",
}
