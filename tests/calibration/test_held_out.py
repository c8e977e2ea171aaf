"""The page of held-out coverage: designs know their truth, and the page reports what it is given."""

import numpy as np
import pytest

from calibration.coverage import Coverage
from calibration.held_out import NULLS, PROMPTS, REWARDS, GainCell, gain_cell, page
from valuefree.evaluation.held_out.weights import estimate_gain, weigh


@pytest.mark.parametrize("kind", REWARDS)
@pytest.mark.parametrize("responses", [1, 4])
def test_every_design_knows_its_gain(kind: str, responses: int) -> None:
    generator = np.random.default_rng(0)
    found = [REWARDS[kind](generator, 500, responses, 0.1) for _ in range(40)]
    values = np.array([estimate_gain(rows, weigh(rows), tau=None).gain.value for rows, _ in found])
    assert abs(values.mean() - found[0][1]) < 4 * values.std(ddof=1) / np.sqrt(40)


def test_the_checks_leave_out_data_sets_and_nothing_else() -> None:
    cell = gain_cell("thumbs", 1, 0.5, 80, sets=40, seed=0)
    assert (cell.checked.sets, cell.every.sets, cell.every.missing) == (40, 40, 0)
    assert 0 < cell.checked.missing < 40
    assert 0.2 < cell.effective_share < 0.6


def test_the_page_marks_what_is_outside() -> None:
    good, bad = Coverage(1000, 950, 20, 30, 0.1), Coverage(1000, 850, 110, 40, 0.1)
    cells = {prompts: GainCell(good, good, good, 0.5) for prompts in PROMPTS}
    gains = {("Gaussian", 1, 0.1): cells, ("thumbs", 4, 0.5): cells | {80: GainCell(bad, good, good, 0.5)}}
    text = page(gains, {(4, 80): good}, [0.02] * len(NULLS), command="c", commit="abc", seconds=60)
    assert "**85.0 %** (11.0 / 4.0; 0.050)" in text
    assert "Outside: thumbs, 4 responses, KL 0.5, 80 prompts (85.0 %)." in text
    assert "commit abc" in text
    assert "| thumbs | 2 | 100 | 2.0 % |" in text
