"""Coverage of the intervals of `valuefree.evaluation.held_out` on simulated logs; writes its page under docs/results.

python -m calibration.held_out [--sets 1000] [--page docs/results/coverage_held_out.md]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from calibration.coverage import Coverage, tally
from valuefree.evaluation.held_out.contrasts import comparison_of, contrasts_of
from valuefree.evaluation.held_out.measure import is_evidence
from valuefree.evaluation.held_out.ranking import accuracy_estimates, permutation_p, rank_pairs
from valuefree.evaluation.held_out.rows import LoggedRows
from valuefree.evaluation.held_out.weights import SMALLEST_SHARE, baselines, estimate_gain, gain_terms, weigh
from valuefree.evaluation.markdown import markdown_table
from valuefree.evaluation.stats import Estimate, t_mean
from valuefree.runs.manifest import git_commit, machine

PROMPTS = (80, 320, 1000)
KLS = (0.02, 0.1, 0.3, 0.5)
RESPONSES = (1, 4)
LOW, HIGH = 0.90, 0.98
CORRELATION, SLOPE, BETWEEN = 0.4, 0.5, 0.7  # of reward and log-ratio; standard deviation of the prompts' means

Simulated = tuple[LoggedRows, float]  # the rows, and the true gain or the true ranking accuracy


def logged_rows(generator: np.random.Generator, standard: np.ndarray, rewards: np.ndarray, kl: float) -> LoggedRows:
    """Rows (P, n) with log-normal weights of mean 1: ρ = σz − σ²/2, where both KL divergences are σ²/2."""
    prompts, responses = standard.shape
    logratios = np.sqrt(2 * kl) * standard - kl
    prompt_of, lengths = np.repeat(np.arange(prompts), responses), generator.integers(5, 100, standard.size)
    return LoggedRows(logratios.ravel(), rewards.ravel(), prompt_of, lengths)


def gaussian(
    generator: np.random.Generator, prompts: int, responses: int, kl: float, *, correlation: float = CORRELATION
) -> Simulated:
    """Gaussian rewards of variance 1 within a prompt. The tilt by e^ρ moves z by σ, and the mean reward by cσ."""
    standard = generator.normal(size=(prompts, responses))
    noise = np.sqrt(1 - correlation**2) * generator.normal(size=(prompts, responses))
    rewards = correlation * standard + noise + BETWEEN * generator.normal(size=(prompts, 1))
    return logged_rows(generator, standard, rewards, kl), correlation * np.sqrt(2 * kl)


def thumbs(
    generator: np.random.Generator, prompts: int, responses: int, kl: float, *, slope: float = SLOPE
) -> Simulated:
    """Rewards 0 or 1 with P(1) = Φ(a + bz), where a varies between prompts."""
    standard = generator.normal(size=(prompts, responses))
    latent = BETWEEN * generator.normal(size=(prompts, 1)) + slope * standard
    rewards = (latent + generator.normal(size=(prompts, responses)) > 0).astype(float)
    truth = ndtr(slope * np.sqrt(2 * kl) / np.sqrt(1 + slope**2 + BETWEEN**2)) - 0.5
    return logged_rows(generator, standard, rewards, kl), float(truth)


REWARDS: dict[str, Callable[..., Simulated]] = {"Gaussian": gaussian, "thumbs": thumbs}


@dataclass(frozen=True)
class GainCell:
    """Coverage of the gain: after the checks, in all data sets, and of Ĝ with Student's interval in all."""

    checked: Coverage
    every: Coverage
    student: Coverage
    effective_share: float


def gain_cell(kind: str, responses: int, kl: float, prompts: int, *, sets: int, seed: int) -> GainCell:
    """Simulate `sets` logs; the interval after the checks is missing where a check fails."""
    generator = np.random.default_rng([seed, prompts, responses, int(1000 * kl), list(REWARDS).index(kind)])
    checked: list[tuple[Estimate | None, float]] = []
    every, student, shares = checked.copy(), checked.copy(), []
    for _ in range(sets):
        rows, truth = REWARDS[kind](generator, prompts, responses, kl)
        weighted = weigh(rows)
        gain = estimate_gain(rows, weighted, tau=None).gain
        checked.append((None if weighted.failed() else gain, truth))
        every.append((gain, truth))
        student.append((t_mean(gain_terms(rows, weighted.weights, baselines(rows))), truth))
        shares.append(weighted.effective_share)
    return GainCell(tally(checked), tally(every), tally(student), float(np.mean(shares)))


def ranking_of(rows: LoggedRows, seed: int) -> Estimate:
    """Ranking accuracy of `measure`."""
    contrasts = contrasts_of(rows, comparison_of(rows))
    return accuracy_estimates([rank_pairs(contrasts, contrasts.logratios)], seed=seed)[0]


def evidence_of(rows: LoggedRows, seed: int) -> bool:
    """Evidence of `measure`."""
    p_value = permutation_p(contrasts_of(rows, comparison_of(rows)), seed=seed)
    return is_evidence(ranking_of(rows, seed), p_value)


def ranking_cell(responses: int, prompts: int, *, sets: int, seed: int) -> Coverage:
    """Coverage of the ranking accuracy, ½ + arcsin(c)/π for Gaussian rewards of correlation c."""
    generator = np.random.default_rng([seed, responses, prompts])
    within = CORRELATION / np.sqrt(1 + BETWEEN**2) if responses == 1 else CORRELATION
    found: list[tuple[Estimate | None, float]] = []
    for number in range(sets):
        rows, _ = gaussian(generator, prompts, responses, 0.1)
        found.append((ranking_of(rows, number), 0.5 + float(np.arcsin(within)) / np.pi))
    return tally(found)


def false_evidence(kind: str, responses: int, prompts: int, *, sets: int, seed: int) -> float:
    """Share of logs with `evidence` where log-ratio and reward are independent."""
    generator = np.random.default_rng([seed, responses, prompts, 1])
    independent = {"correlation": 0.0} if kind == "Gaussian" else {"slope": 0.0}
    drawn = (REWARDS[kind](generator, prompts, responses, 0.1, **independent)[0] for _ in range(sets))
    return float(np.mean([evidence_of(rows, number) for number, rows in enumerate(drawn)]))


NULLS = [("Gaussian", 4, 20), ("Gaussian", 4, 100), ("thumbs", 2, 100), ("Gaussian", 1, 100), ("thumbs", 1, 100)]
Gains = dict[tuple[str, int, float], dict[int, GainCell]]


def cell_of(found: Coverage) -> str:
    """``95.1 % (2.1 / 2.8; .033)``: coverage, intervals below and above the truth, mean half-width."""
    given = found.sets - found.missing
    if given < found.sets / 10:
        return f"{given} of {found.sets} given"
    share = f"{100 * found.share:.1f} %"
    share = share if LOW <= found.share <= HIGH else f"**{share}**"
    sides = f"{100 * found.below / given:.1f} / {100 * found.above / given:.1f}"
    return f"{share} ({sides}; {found.width / 2:.3f})"


def gain_tables(gains: Gains) -> list[str]:
    """Coverage after the checks, and in all data sets."""
    header = ["rewards", "responses", "KL", *(f"{prompts} prompts" for prompts in PROMPTS)]
    checked, every = [], []
    for (kind, responses, kl), cells in gains.items():
        start = [kind, str(responses), f"{kl:g}"]
        passed = ", ".join(f"{100 * (1 - cells[p].checked.missing / cells[p].checked.sets):.0f}" for p in PROMPTS)
        share = f"{cells[PROMPTS[-1]].effective_share:.2f}"
        checked.append([*start, *(cell_of(cells[p].checked) for p in PROMPTS), passed, share])
        every.append([*start, *(f"{cell_of(cells[p].every)}, {100 * cells[p].student.share:.1f} %" for p in PROMPTS)])
    return [
        markdown_table([*header, "passed, %", "effective share"], checked),
        markdown_table(header, every),
    ]


def page(
    gains: Gains,
    rankings: dict[tuple[int, int], Coverage],
    nulls: Sequence[float],
    *,
    command: str,
    commit: str | None,
    seconds: float,
) -> str:
    """The page, every number from the arguments."""
    outside = [
        f"{kind}, {responses} responses, KL {kl:g}, {prompts} prompts ({100 * cell.checked.share:.1f} %)"
        for (kind, responses, kl), cells in gains.items()
        for prompts, cell in cells.items()
        if cell.checked.missing < cell.checked.sets and not LOW <= cell.checked.share <= HIGH
    ]
    sets = next(iter(next(iter(gains.values())).values())).every.sets
    ranked = [
        [str(responses), "pairs" if responses > 1 else "rows", str(prompts), cell_of(found)]
        for (responses, prompts), found in rankings.items()
    ]
    passed = [[kind, str(n), str(p), f"{100 * rate:.1f} %"] for (kind, n, p), rate in zip(NULLS, nulls, strict=True)]
    ranking_sets = next(iter(rankings.values())).sets
    first, second = gain_tables(gains)
    lines = [
        "# Do the intervals of held-out measures contain the truth?",
        f"Written by `{command}`, commit {commit}, {seconds / 60:.1f} min on {machine()}, one process; numpy "
        f"{np.__version__}.",
        f"Nominal 95 % intervals on simulated logs whose truth is known. Weights e^ρ are log-normal with mean 1. "
        f"*Gaussian*: rewards that correlate with ρ by {CORRELATION} within a prompt. *Thumbs*: rewards 0 and 1, "
        f"probit in ρ. Prompts differ in their mean reward. A cell is the coverage and, in brackets, the shares of "
        f"intervals below and above the truth and the mean half-width. The noise of a coverage of 95 % over {sets:,} "
        f"data sets is ± {196 * np.sqrt(0.95 * 0.05 / sets):.1f} points. Bold: outside {100 * LOW:.0f} to "
        f"{100 * HIGH:.0f} %.",
        "## Gain, where both checks pass",
        f"A gain is printed if the effective sample size is at least {100 * SMALLEST_SHARE:.0f} % of the rows and the "
        "interval of the mean weight contains 1. Only these data sets count here. *Passed*: their share, in the order "
        "of the columns. The 95 % interval of the mean weight excludes 1 in about 5 % of sound data sets, so about 5 % "
        "are refused although nothing is wrong. At KL .5 the effective share of log-normal weights, e^(−2 KL) = .37, "
        "is close to the limit.",
        first,
        f"Outside: {'; '.join(outside)}." if outside else "None is outside.",
        "## Gain in all data sets, and Ĝ with Student's interval",
        "As if there were no checks. The last number of a cell is the coverage of Student's interval of Ĝ, the "
        "mean of (w − 1)(r − b), without control variate and without correction for skewness.",
        second,
        "## Ranking accuracy",
        f"Gaussian rewards at KL .1; {ranking_sets:,} data sets each. *Pairs* compares responses to the same prompt, "
        "*rows* prompts with each other.",
        markdown_table(["responses", "compared", "prompts", "coverage"], ranked),
        "## Evidence without learning",
        f"Log-ratios that are independent of the rewards. The share of {ranking_sets:,} data sets in which `evidence` "
        "is true; it should be at most 5 %.",
        markdown_table(["rewards", "responses", "prompts", "evidence"], passed),
    ]
    return "\n\n".join(lines) + "\n"


def main() -> None:
    """Simulate all designs and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--sets", type=int, default=1000, help="logs per design of the gain; a quarter as many for rankings"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, default=Path("docs/results/coverage_held_out.md"))
    given = parser.parse_args()
    started, commit = time.perf_counter(), git_commit()
    gains: Gains = {}
    for kind in REWARDS:
        for responses in RESPONSES:
            for kl in KLS:
                gains[kind, responses, kl] = {
                    prompts: gain_cell(kind, responses, kl, prompts, sets=given.sets, seed=given.seed)
                    for prompts in PROMPTS
                }
                cells = "; ".join(cell_of(cell.checked) for cell in gains[kind, responses, kl].values())
                print(f"{kind}, {responses} responses, KL {kl:g}: {cells}", flush=True)
    fewer = max(given.sets // 4, 1)
    rankings = {
        (responses, prompts): ranking_cell(responses, prompts, sets=fewer, seed=given.seed)
        for responses in (4, 1)
        for prompts in PROMPTS[:2]
    }
    nulls = [false_evidence(*design, sets=fewer, seed=given.seed) for design in NULLS]
    command = f"python -m calibration.held_out --sets {given.sets} --seed {given.seed}"
    seconds = time.perf_counter() - started
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(page(gains, rankings, nulls, command=command, commit=commit, seconds=seconds), "utf-8")


if __name__ == "__main__":
    main()
