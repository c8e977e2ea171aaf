"""Standardising rewards."""

import math

import numpy as np
import pytest

from valuefree.data import RewardScaler
from valuefree.errors import ConfigError, DataError


def test_mean_zero_and_variance_one_over_the_fitted_rows():
    scaler = RewardScaler.fit([1.0, 3.0])
    assert (scaler.mean, scaler.scale) == (2.0, 1.0)
    assert scaler.transform([1, 3, 5]).tolist() == [-1, 1, 3]


def test_travels_as_a_dict_and_as_a_file(tmp_path):
    scaler = RewardScaler.fit([0.1, 0.7, 5])
    assert RewardScaler.from_dict(scaler.to_dict()) == scaler
    scaler.save(tmp_path)
    assert RewardScaler.load(tmp_path) == scaler


def test_equal_rewards_keep_their_scale_and_are_mentioned(caplog):
    scaler = RewardScaler.fit([4.0] * 3)
    assert scaler.transform([4.0]).tolist() == [0.0]
    assert "nothing to learn" in caplog.text


@pytest.mark.parametrize("rewards", [[0.1] * 300, [0.1 + 0.2, 0.3] * 10, [0.0] * 3, [-1e300] * 3])
def test_rewards_that_differ_by_rounding_are_equal(caplog, rewards):
    """The mean of 300 times 0.1 is not 0.1 in floats, and 0.1 + 0.2 is not 0.3."""
    assert RewardScaler.fit(rewards).scale == 1.0
    assert "nothing to learn" in caplog.text


def test_a_small_spread_is_kept():
    assert RewardScaler.fit([1.0, 1.0 + 2e-9]).scale == pytest.approx(1e-9, rel=1e-6)
    assert RewardScaler.fit([1e-20, 3e-20]).scale == pytest.approx(1e-20)


def test_wrong_input_is_an_error():
    for values in ([], [1.0, math.nan]):
        with pytest.raises(DataError):
            RewardScaler.fit(values)
    for state in ({"mean": 0.0}, {"mean": 0, "scale": 1, "x": 2}, {"mean": 0, "scale": 0}):
        with pytest.raises(ConfigError):
            RewardScaler.from_dict(state)


def test_no_refit_on_other_rows():
    scaler = RewardScaler.fit(np.array([0.0, 10.0]))
    assert scaler.transform([100.0]).tolist() == [19.0]
