"""One computation gives the values and the report."""

import numpy as np
import pytest
import torch

from valuefree.partition import PartitionSettings, fit_partition, partition_report, partition_values, rank_rewards
from valuefree.partition import regression as ridge

PROMPT_OF = [0, 0, 1, 1, 1, 2]
REWARDS = [1.0, -1.0, 0.5, 2.0, 0.5, 3.0]
LOGPS = [-3.0, -2.0, -4.0, -1.5, -4.0, -2.5]
RESPONSE_OF = [0, 1, 0, 1, 0, 0]
FEATURES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])


def test_the_regression_runs_once_for_values_and_report(monkeypatch):
    calls = []
    original = ridge._Spectrum.of
    monkeypatch.setattr(ridge._Spectrum, "of", lambda *given: calls.append(given) or original(*given))
    settings = PartitionSettings(tau=1.0, estimator="informed")
    partition = fit_partition(REWARDS, LOGPS, PROMPT_OF, settings, features=FEATURES)
    report = partition.report
    assert partition.report is report
    assert len(calls) == 1
    np.testing.assert_array_equal(report.values, partition.values_P.numpy())


@pytest.mark.parametrize("estimator", ["reference", "informed", "quantile", "mean"])
@pytest.mark.parametrize("merge", [True, False])
def test_values_and_report_are_those_of_the_public_functions(estimator, merge):
    settings = PartitionSettings(1.5, estimator, on_policy=True, merge_duplicates=merge, level=2.0)
    partition = fit_partition(REWARDS, LOGPS, PROMPT_OF, settings, response_of=RESPONSE_OF, features=FEATURES)
    knobs = {"tau": 1.5, "estimator": estimator, "features": FEATURES}
    distinct = {"response_of": RESPONSE_OF} if merge else {}
    assert torch.equal(partition.values_P, partition_values(REWARDS, LOGPS, PROMPT_OF, **knobs, **distinct))
    report = partition_report(
        REWARDS, LOGPS, PROMPT_OF, **knobs, response_of=RESPONSE_OF, level=2.0, merge_duplicates=merge
    )
    assert partition.report.to_dict() == report.to_dict()
    assert report.duplicates == 1
    assert report.settings == settings


def test_rewards_that_enter_the_target_are_ranks_under_quantile_alone():
    for estimator in ("mean", "quantile"):
        partition = fit_partition(REWARDS, LOGPS, PROMPT_OF, PartitionSettings(1.0, estimator))
        expected = rank_rewards(REWARDS, PROMPT_OF).tolist() if estimator == "quantile" else REWARDS
        assert partition.rewards_R.tolist() == expected


def test_duplicates_that_are_counted_each_time_change_eq_19():
    """Prompt 1 has e^{-4+.5} twice and e^{-1.5+2}; merged, the first counts once."""
    settings = [PartitionSettings(1.0, "reference", merge_duplicates=merge) for merge in (True, False)]
    once, twice = (fit_partition(REWARDS, LOGPS, PROMPT_OF, s, response_of=RESPONSE_OF).values_P for s in settings)
    assert once[1].item() == pytest.approx(np.log(np.exp(-3.5) + np.exp(0.5)))
    assert twice[1].item() == pytest.approx(np.log(2 * np.exp(-3.5) + np.exp(0.5)))


def test_an_author_that_is_left_open_counts_as_another():
    data = (torch.tensor([1.0, 0.0, 2.0]), torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([0, 0, 1]))
    open_, other = (fit_partition(*data, PartitionSettings(1.0, "coverage", given)) for given in (None, False))
    assert torch.equal(open_.values_P, other.values_P)
