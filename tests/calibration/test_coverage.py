"""The page of coverage, from made-up counts, and the counting itself."""

import numpy as np
import pytest

from calibration.coverage import DESIGNS, PROMPTS, Coverage, coverage, page
from valuefree.evaluation.stats import Estimate


def test_intervals_below_around_and_above_the_truth_are_told_apart() -> None:
    intervals = iter([(0.0, 1.0), (0.0, 0.4), (0.6, 1.0), None])

    def draw(generator: np.random.Generator, prompts: int, seed: int) -> tuple[Estimate, float]:
        return Estimate(0.5, next(intervals), prompts), 0.5

    found = coverage(draw, 20, sets=4)
    assert (found.held, found.below, found.above, found.missing) == (1, 1, 1, 1)
    assert found.share == pytest.approx(1 / 3)
    assert found.width == pytest.approx((1.0 + 0.4 + 0.4) / 3)


def test_what_misses_is_bold_and_named() -> None:
    good, bad = Coverage(1000, 950, 20, 30, 0.1), Coverage(1000, 900, 60, 40, 0.1)
    found = {name: dict.fromkeys(PROMPTS, good) for name in DESIGNS}
    found["`clustered_mean`"] = {20: bad, 48: good, 200: good}
    text = page(found, sets=1000, seed=0, commit="abc", seconds=60)
    assert "**90.0 %** (6.0 / 4.0; 0.100)" in text
    assert "Outside: `clustered_mean` at 20 prompts (90.0 %)." in text
    assert "commit abc" in text


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_knows_its_truth(name: str) -> None:
    """Mean of the estimates over data sets of 300 prompts, within four standard errors of the truth."""
    draw = DESIGNS[name][1]
    generator = np.random.default_rng(0)
    found = [draw(generator, 300, seed) for seed in range(12)]
    values = np.array([estimate.value for estimate, _ in found if estimate])
    assert abs(values.mean() - found[0][1]) < 4 * values.std(ddof=1) / np.sqrt(len(values)) + 0.01
