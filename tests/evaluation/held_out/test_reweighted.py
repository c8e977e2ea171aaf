"""The reweighted gain: by hand, its limits, and its paired difference."""

import numpy as np
import pytest

from held_out_logs import gaussian_rows, rows_of
from valuefree.evaluation.held_out.contrasts import comparison_of, contrasts_of
from valuefree.evaluation.held_out.reweighted import reweighted_difference, reweighted_gain


def gain(rows):
    return reweighted_gain(contrasts_of(rows, comparison_of(rows)))


def scaled(rows, factor):
    return rows_of(factor * rows.logratios, rewards=rows.rewards, prompt_of=rows.prompt_of, lengths=rows.lengths)


def test_two_prompts_by_hand():
    rows = rows_of([np.log(3.0), 0.0, 0.0, 0.0], [1.0, 0.0, 5.0, 5.0], [0, 0, 1, 1])
    assert gain(rows) == pytest.approx((0.75 - 0.5) / 2)


def test_one_response_per_prompt_by_hand():
    rows = rows_of([np.log(3.0), 0.0, 0.0], [1.0, 0.0, 0.0], [0, 1, 2])
    assert gain(rows) == pytest.approx(3 / 5 - 1 / 3)


def test_it_lies_between_0_for_the_reference_and_the_gain_of_the_first_choice():
    rows = gaussian_rows(50, 4)
    first = np.mean(
        [
            rows.rewards[at][rows.logratios[at].argmax()] - rows.rewards[at].mean()
            for at in (np.flatnonzero(rows.prompt_of == prompt) for prompt in range(50))
        ]
    )
    assert gain(scaled(rows, 0.0)) == pytest.approx(0.0)
    assert gain(scaled(rows, 1e4)) == pytest.approx(first)


def test_a_constant_per_prompt_changes_nothing():
    rows = gaussian_rows(30, 4)
    shift = np.random.default_rng(1).normal(size=30)[rows.prompt_of]
    moved = rows_of(rows.logratios + shift, rows.rewards - 2 * shift, rows.prompt_of)
    assert gain(moved) == pytest.approx(gain(rows))


@pytest.mark.parametrize("responses", [1, 4])
def test_the_difference_is_paired_and_its_interval_holds_the_difference(responses):
    rows = gaussian_rows(200, responses, kl=0.05)
    found = reweighted_difference(scaled(rows, 2.0), rows)
    assert found.value == pytest.approx(gain(scaled(rows, 2.0)) - gain(rows))
    assert found.interval[0] > 0
    assert reweighted_difference(rows, rows).value == 0
    assert reweighted_difference(rows, rows).interval is None
