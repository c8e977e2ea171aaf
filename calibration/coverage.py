"""Coverage of the 95 % intervals on simulated data, for which the truth is known; writes docs/results/coverage.md.

python -m calibration.coverage [--sets 2000] [--page docs/results/coverage.md]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from valuefree.evaluation.markdown import markdown_table
from valuefree.evaluation.stats import (
    Estimate,
    bootstrap_mean,
    bradley_terry,
    clustered_mean,
    cohen_kappa,
    length_controlled_win_rate,
    paired_difference,
)
from valuefree.runs.manifest import git_commit, machine

PROMPTS = (20, 48, 200)
RESAMPLES = 2000
LOW, HIGH = 0.93, 0.97  # around 0.95, wider than the noise of 2,000 data sets (± 0.01)
SCORES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])

Found = tuple[Estimate | None, float]  # the estimate and the truth
Draw = Callable[[np.random.Generator, int, int], Found]


def win_rate(weights: Sequence[float]) -> Draw:
    """Order-averaged scores of a judge, one per prompt."""

    def draw(generator: np.random.Generator, prompts: int, seed: int) -> Found:
        scores = generator.choice(SCORES, prompts, p=weights)
        return bootstrap_mean(scores, bounds=(0.0, 1.0), seed=seed, resamples=RESAMPLES), float(
            SCORES @ np.asarray(weights)
        )

    return draw


def several_rows(generator: np.random.Generator, prompts: int, seed: int) -> Found:
    """One to five rewards a prompt; half of their variance is the prompt's."""
    prompt = np.repeat(np.arange(prompts), generator.integers(1, 6, prompts))
    rewards = 0.4 + generator.exponential(1.0, prompts)[prompt] - 1 + generator.normal(size=len(prompt))
    return clustered_mean(rewards, prompt.tolist(), seed=seed, resamples=RESAMPLES), 0.4


def two_systems(generator: np.random.Generator, prompts: int, seed: int) -> Found:
    """Two systems on prompts whose difficulty varies more than what sets them apart; noise with a long tail."""
    difficulty = generator.normal(0, 3, prompts)
    first, second = (difficulty + generator.gamma(2, 1 / np.sqrt(2), prompts) for _ in range(2))
    return paired_difference(first + 0.3, second, seed=seed, resamples=RESAMPLES), 0.3


def two_judges(generator: np.random.Generator, prompts: int, seed: int) -> Found:
    """Labels A, B, N in both orders of a prompt; the second judge repeats the first in 6 of 10, else draws anew."""
    share, prompt = np.array([0.5, 0.35, 0.15]), np.repeat(np.arange(prompts), 2)
    first = np.repeat(generator.choice(3, prompts, p=share), 2)
    flipped = generator.random(len(first)) < 0.3
    first = np.where(flipped, generator.choice(3, len(first), p=share), first)
    same = generator.random(len(first)) < 0.6
    second = np.where(same, first, generator.choice(3, len(first), p=share))
    found = cohen_kappa(first.tolist(), second.tolist(), clusters=prompt.tolist(), seed=seed, resamples=RESAMPLES)
    return found.kappa, 0.6  # observed is .6 + .4 Σp², expected Σp²


def long_answers(intercept: float) -> Draw:
    """A judge that likes length: log-odds `intercept` at equal length, + 0.8 per 100 tokens; both orders, with ties."""

    def draw(generator: np.random.Generator, prompts: int, seed: int) -> Found:
        lengths = generator.normal(40, 100, prompts)
        scores = generator.binomial(4, expit(intercept + 0.8 * lengths / 100)) / 4
        found = length_controlled_win_rate(scores, lengths, seed=seed, resamples=RESAMPLES)
        return found.rate, float(expit(intercept))

    return draw


STRENGTHS = np.array([1.0, 0.2, -0.2, -1.0])


def _ranking(generator: np.random.Generator, prompts: int, seed: int):
    """Four systems, each pair compared on each prompt: the larger of θ + Gumbel noise of that prompt wins."""
    utilities = STRENGTHS + generator.gumbel(size=(prompts, 4))
    left, right = np.triu_indices(4, k=1)
    scores = (utilities[:, left] > utilities[:, right]).astype(float).ravel()
    first, second = np.tile(left, prompts).tolist(), np.tile(right, prompts).tolist()
    prompt = np.repeat(np.arange(prompts), len(left)).tolist()
    return bradley_terry(first, second, scores, names="abcd", clusters=prompt, seed=seed, resamples=RESAMPLES)


def strongest(generator: np.random.Generator, prompts: int, seed: int) -> Found:
    """Strength of the strongest of four."""
    return _ranking(generator, prompts, seed).strengths[0], 1.0


def neighbours(generator: np.random.Generator, prompts: int, seed: int) -> Found:
    """Probability that the second of four wins against the third."""
    return _ranking(generator, prompts, seed).probability("b", "c"), float(expit(0.4))


DESIGNS: dict[str, tuple[str, Draw]] = {
    "`bootstrap_mean`, even": ("win rate 0.5, five values", win_rate((0.25, 0.1, 0.3, 0.1, 0.25))),
    "`bootstrap_mean`, better": ("win rate 0.74, five values", win_rate((0.1, 0.05, 0.15, 0.15, 0.55))),
    "`bootstrap_mean`, far better": ("win rate 0.88, five values", win_rate((0.03, 0.02, 0.1, 0.1, 0.75))),
    "`clustered_mean`": ("one to five rewards a prompt, skewed", several_rows),
    "`paired_difference`": ("rewards of two systems, difficulty shared", two_systems),
    "`cohen_kappa`": ("κ = 0.6, three labels, two rows a prompt", two_judges),
    "`length_controlled_win_rate`, even": ("0.5 at equal length", long_answers(0.0)),
    "`length_controlled_win_rate`, better": ("0.73 at equal length", long_answers(1.0)),
    "`bradley_terry`, strength": ("the strongest of four, all pairs on each prompt", strongest),
    "`bradley_terry`, probability": ("0.6 between neighbours", neighbours),
}


@dataclass(frozen=True)
class Coverage:
    """Counts of `sets` intervals: those that contain the truth, lie below it, lie above it, or do not exist."""

    sets: int
    held: int
    below: int
    above: int
    width: float

    @property
    def missing(self) -> int:
        """Data sets without an interval."""
        return self.sets - self.held - self.below - self.above

    @property
    def share(self) -> float:
        """Share that held the truth, of the intervals that were given."""
        return self.held / (self.sets - self.missing)


def coverage(draw: Draw, prompts: int, *, sets: int, seed: int = 0) -> Coverage:
    """Draw `sets` data sets of `prompts` prompts and count where their intervals lie."""
    generator = np.random.default_rng([seed, prompts])
    return tally([draw(generator, prompts, number) for number in range(sets)])


def tally(found: Sequence[Found]) -> Coverage:
    """Count where the intervals of `found` lie; an estimate without an interval counts as missing."""
    held = below = above = 0
    widths = []
    for estimate, truth in found:
        if estimate is None or estimate.interval is None:
            continue
        low, high = estimate.interval
        widths.append(high - low)
        held, below, above = held + (low <= truth <= high), below + (high < truth), above + (low > truth)
    return Coverage(len(found), held, below, above, float(np.mean(widths)) if widths else float("nan"))


def _cell(found: Coverage) -> str:
    share = f"{100 * found.share:.1f} %"
    share = share if LOW <= found.share <= HIGH else f"**{share}**"
    missing = f", {found.missing} not given" if found.missing else ""
    given = found.sets - found.missing
    return f"{share} ({100 * found.below / given:.1f} / {100 * found.above / given:.1f}; {found.width:.3f}{missing})"


def page(found: dict[str, dict[int, Coverage]], *, sets: int, seed: int, commit: str | None, seconds: float) -> str:
    """The page, every number from `found`."""
    missed = [
        f"{name} at {prompts} prompts ({100 * cell.share:.1f} %)"
        for name, cells in found.items()
        for prompts, cell in cells.items()
        if not LOW <= cell.share <= HIGH
    ]
    rows = [[name, DESIGNS[name][0], *(_cell(cells[prompts]) for prompts in PROMPTS)] for name, cells in found.items()]
    lines = [
        "# Do the intervals hold the truth?",
        "",
        f"Written by `make coverage` (`python -m calibration.coverage --sets {sets} --seed {seed}`), commit "
        f"{commit}, {seconds / 60:.0f} min on {machine()}, one process; numpy {np.__version__}.",
        "",
        f"{sets:,} data sets each, drawn from a model whose truth is known; intervals of nominal 95 % with "
        f"{RESAMPLES:,} resamples (the library takes 10,000): percentile from 200 prompts on, else expanded BCa. "
        "A cell is the share of intervals that hold the truth, in brackets the shares that lie below and above it and "
        f"the mean width. The noise of the share is ± {100 * 1.96 * np.sqrt(0.95 * 0.05 / sets):.1f} points. Bold: "
        f"outside {100 * LOW:.0f} to {100 * HIGH:.0f} %.",
        "",
        markdown_table(["interval", "data", *(f"{prompts} prompts" for prompts in PROMPTS)], rows),
        "",
        f"Outside: {'; '.join(missed)}." if missed else "None is outside.",
        "",
        "Of prompts that all went one way every resample is the same; the interval of a win rate is then Clopper's and "
        "Pearson's. `tests/evaluation/stats/test_few_prompts.py` holds the coverage of 2 to 20 prompts.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure all designs and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", type=int, default=2000, help="data sets per cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path, default=Path("docs/results/coverage.md"))
    arguments = parser.parse_args()
    started, commit = time.perf_counter(), git_commit()
    found: dict[str, dict[int, Coverage]] = {}
    for name, (_, draw) in DESIGNS.items():
        found[name] = {}
        for prompts in PROMPTS:
            found[name][prompts] = coverage(draw, prompts, sets=arguments.sets, seed=arguments.seed)
            print(f"{name}, {prompts}: {_cell(found[name][prompts])}", flush=True)
    seconds = time.perf_counter() - started
    text = page(found, sets=arguments.sets, seed=arguments.seed, commit=commit, seconds=seconds)
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
