"""Win rates as text: the paper's Table III, and all results of one pair of systems."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import expit

from valuefree.errors import DataError, number_of
from valuefree.evaluation.judging.arena import ArenaResult
from valuefree.evaluation.judging.asking import Asked
from valuefree.evaluation.judging.outcomes import count_categories
from valuefree.evaluation.judging.result import JudgeResult
from valuefree.evaluation.markdown import escape_marks, markdown_table
from valuefree.evaluation.stats import Estimate, p_shown, preferred

RANKING = "Bradley–Terry strengths, relative to their mean, with one virtual tie per pair of systems"
Cells = Mapping[str, Mapping[str, Sequence[JudgeResult]]]


def win_rate_table(cells: Cells, *, judge: str, corner: str = "") -> str:
    """Win rates in percent as Markdown, laid out as the paper's Table III: one table per judge.

    A cell with one result holds its rate, interval, number of prompts and p of the sign test, in bold if the interval
    excludes 50 and p is below .05. A cell with several results (runs, seeds) holds their mean ± standard deviation,
    labelled as such, and the number of prompts of each run, without a test.

    Args:
        cells: row (such as the size of a model) → column (the system compared with) → results. corner: heading of the
            rows.

    Raises:
        DataError: no cells.
    """
    cells = {
        escape_marks(row): {escape_marks(column): results for column, results in columns.items()}
        for row, columns in cells.items()
    }
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    if not columns:
        raise DataError("no results to tabulate.")
    rows = [[name, *(_cell(row.get(column, ())) for column in columns)] for name, row in cells.items()]
    several = any(len(results) > 1 for row in cells.values() for results in row.values())
    note = (
        "One run: rate [95 % interval over prompts], n prompts, p of the sign test; bold if the interval excludes 50 "
        "and p < .05."
    )
    if several:
        note += " Several runs: mean ± standard deviation over runs."
    return f"Judgment by {judge}: win rate (%)\n\n{markdown_table([corner, *columns], rows)}\n\n{note}"


def _cell(results: Sequence[JudgeResult]) -> str:
    rates = [rate for result in results if (rate := result.win_rate()) is not None]
    if not rates:
        return "unjudged" if results else ""
    if len(results) > 1:
        values = [100 * rate.value for rate in rates]
        missing = f", {len(results) - len(rates)} unjudged" if len(rates) < len(results) else ""
        spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        return f"{np.mean(values):.2f}{spread} (SD of {len(values)} runs, n = {rates[0].n} each{missing})"
    rate, result = rates[0], results[0]
    text = f"{100 * rate.value:.2f}"
    if rate.interval is not None:
        low, high = (100 * bound for bound in rate.interval)
        text = f"{text} [{low:.1f}, {high:.1f}]"
        text = text if preferred(rate, result.outcomes().p_value) is None else f"**{text}**"
    covered = "" if result.coverage == 1 else f", {result.coverage:.0%} judged"
    return f"{text} n = {rate.n}, {p_shown(result.outcomes().p_value)}{covered}"


def table_of(arena: ArenaResult, runs: Sequence[ArenaResult], *, judge: str) -> str:
    """`win_rate_table` of an arena and its repetitions: row against column."""
    cells: dict[str, dict[str, list[JudgeResult]]] = {}
    for one, two in arena.pairs:
        cells.setdefault(one, {})[two] = [run.pairs[one, two] for run in runs]
    return win_rate_table(cells, judge=judge, corner="row against column")


def ranking_rows(arena: ArenaResult) -> list[tuple[str, str]]:
    """Name and strength of each system, the strongest first; empty without a ranking.

    The strength is given as log-odds relative to the mean, and as the probability of a win against a system of mean
    strength.
    """
    if arena.ranking is None:
        return []
    return [
        (str(name), f"{strength} log-odds; wins {percent(_chance(strength))} against the mean")
        for name, strength in arena.ranking.ranked()
    ]


def _chance(log_odds: Estimate) -> Estimate:
    """Log-odds as a probability."""
    bounds = log_odds.interval and (float(expit(log_odds.interval[0])), float(expit(log_odds.interval[1])))
    return Estimate(float(expit(log_odds.value)), bounds, log_odds.n)


def percent(rate: Estimate | None) -> str:
    """A share with its interval, or with n if there is no interval; "none" for None."""
    if rate is None:
        return "none"
    if rate.interval is None:
        return f"{rate.value:.1%} (n = {rate.n})"
    return f"{rate.value:.1%} [{rate.interval[0]:.1%}, {rate.interval[1]:.1%}]"


def pair_rows(result: JudgeResult) -> list[tuple[str, str]]:
    """Rows of (what, value) of one pair of systems."""
    counts = count_categories(result.comparisons)
    low, high = result.bounds()
    controlled = result.length_controlled()
    first, second = result.names
    by_judge = counts["neutral"] - sum(pair.decided == "identical" for pair in result.comparisons)
    rows = [
        ("pairs, judged", f"{len(result.comparisons)}, {len(result.judged)} ({result.coverage:.1%})"),
        (f"win rate of {first} over {second}", percent(result.win_rate())),
        ("  if all unjudged were lost, won", f"{low:.1%}, {high:.1%}"),
        (f"  verdicts that prefer {first}", percent(result.preferred_rate())),
        ("  win / loss", f"{counts['win']} / {counts['loss']}"),
        ("  neutral: by the judge, by disagreement of the orders", f"{by_judge}, {counts['disagreement']}"),
        ("  half wins, half losses (one order neutral)", f"{counts['half win']}, {counts['half loss']}"),
        ("prompts won / tied / lost", str(result.outcomes())),
    ]
    expected = result.expected_win_rate()
    if expected is not None:
        rows.append(("win rate from probabilities", percent(expected)))
    if controlled is not None:
        why = f" ({controlled.reason})" if controlled.reason else ""
        rows.append(("win rate at equal length", percent(controlled.rate) + why))
    if result.setup.prompt is not None:
        rows += [
            ("the first position is picked", percent(result.first_position_rate())),
            ("the winner changes with the order", percent(result.flip_rate())),
        ]
    return rows + _counts(result)


def _counts(result: JudgeResult) -> list[tuple[str, str]]:
    rows = []
    if result.setup.prompt is not None:
        decided = [pair.decided for pair in result.comparisons]
        counts = f"{decided.count('identical')}, {decided.count('empty')}"
        rows.append(("decided without a call: identical, empty", counts))
    rows += [(f"unread: {reason}", str(times)) for reason, times in result.unread().items()]
    rows += [(f"text read, because {reason}", str(times)) for reason, times in result.fallbacks().items()]
    if result.setup.cut:
        rows.append((f"texts cut at {result.setup.max_characters} characters", str(result.setup.cut)))
    asked = result.asked
    if result.setup.prompt is not None:
        counts = f"{asked.cached}, {asked.answered}, {asked.failed}, {asked.not_asked}"
        rows += [("calls: from the cache, answered, failed, not made", counts), _tokens(asked)]
    if asked.cost:
        rows.append(("spent", f"{asked.cost:.4g}"))
    return rows


def _tokens(asked: Asked) -> tuple[str, str]:
    counts = f"{asked.requests}, {asked.input_tokens}, {asked.output_tokens}"
    if not asked.estimated:
        return "requests, tokens in, tokens out", counts
    estimated = f"{counts}; estimated in {number_of(asked.estimated, 'call')}"
    return "requests, tokens in (about), tokens out (at most)", estimated
