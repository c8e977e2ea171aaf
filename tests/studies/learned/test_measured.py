"""What is computed of a stored curve: the measures by hand, the halves, the interval beside the truth."""

import numpy as np
import pytest

from studies.learned.measured import (
    GAIN,
    LOSS,
    MEASURES,
    PROGRESS,
    RANKING,
    REWEIGHTED,
    TRAINING_LOSS,
    joint,
    measured_curve,
    measures_of,
    squared_loss,
)
from studies.learned.points import logged_columns
from valuefree.evaluation.held_out import LoggedRows, measure
from valuefree.evaluation.stats import Estimate


def rows(logratios, rewards, prompt_of=None):
    prompt_of = np.zeros(len(rewards), dtype=int) if prompt_of is None else prompt_of
    return LoggedRows(np.array(logratios, float), np.array(rewards, float), prompt_of, np.full(len(rewards), 5))


@pytest.fixture
def drawn():
    """40 prompts × 4 rows, weights that follow the rewards a little."""
    generator = np.random.default_rng(0)
    rewards = generator.normal(size=160)
    return rows(0.1 * rewards + 0.05 * generator.normal(size=160) - 0.005, rewards, np.repeat(np.arange(40), 4))


def test_squared_loss_by_hand():
    """ρ̃ = ±1, r̃/τ = ±2: ½ · 1."""
    assert squared_loss(rows([0.0, 2.0], [1.0, 3.0]), tau=0.5) == pytest.approx(0.5)


def test_measures_are_those_of_the_package(drawn):
    found, learned = measures_of(drawn, drawn, tau=2.0), measure(drawn, tau=2.0)
    assert learned.gain is not None
    assert learned.progress is not None
    expected = [learned.ranking.value, learned.gain.gain.value, learned.progress.value]
    assert [found[RANKING], found[GAIN], found[PROGRESS]] == pytest.approx(expected)
    assert found[LOSS] == found[TRAINING_LOSS] == -squared_loss(drawn, 2.0)
    without = measures_of(drawn, drawn, tau=None)
    assert without[PROGRESS] is without[LOSS] is None
    assert all(without[name] is not None for name in MEASURES)


def test_a_refused_gain_has_no_checked_value(drawn):
    far = LoggedRows(60 * drawn.logratios, drawn.rewards, drawn.prompt_of, drawn.lengths)
    found = measures_of(far, far, tau=None)
    assert found[GAIN] is None
    assert found[REWEIGHTED] is not None


def test_the_truths_error_widens_the_interval_on_the_side_of_the_truth():
    """The estimate's upper half-width .3 and the truth's lower one .4: up to .5 apart."""
    estimate = Estimate(0.0, (-0.1, 0.3), 10)
    assert joint(estimate, Estimate(0.49, (0.09, 0.6), 10))
    assert not joint(estimate, Estimate(0.51, (0.11, 0.6), 10))
    assert not joint(estimate, Estimate(-0.2, (-0.3, -0.1), 10))


def test_a_curve_is_measured_on_halves_of_its_prompts(drawn):
    """Even prompts are half 0; its truth is that of the odd prompts."""
    true_gains = np.tile([0.1, 0.3], 20)
    point = {"report": logged_columns(drawn), "training": logged_columns(drawn), "true_gains": true_gains.tolist()}
    curve = [{"scale": scale, "sampled_logratios": [0.1, 0.3], **point} for scale in (0.5, 1.0)]
    curve[0] |= {"tau": None}
    first, second = measured_curve(curve)
    assert first["half_gains"] == pytest.approx([0.3, 0.1])
    assert (first["kl"], second["gain"], first["step"]) == (pytest.approx(0.2), pytest.approx(0.2), 0)
    assert first["chosen"] == [1.0, 1.0]
    even = drawn.select_prompts(np.arange(0, 40, 2))
    assert second["halves"][0][RANKING] == measure(even).ranking.value
    with pytest.raises(ValueError, match="40 prompts have rows and 3 a true gain"):
        measured_curve([{**curve[0], "true_gains": [0.1] * 3}])
