"""Two policies on the same rows."""

import json

import numpy as np
import pytest

from held_out_logs import gaussian_rows, rows_of
from valuefree.errors import DataError
from valuefree.evaluation.held_out import Comparison, LoggedRows, compare, measure


def other_policy(rows, logratios):
    return LoggedRows(logratios, rows.rewards, rows.prompt_of, rows.lengths, rows.features)


def test_differences_are_those_of_the_measures():
    first = gaussian_rows(80, 4, kl=0.05)
    second = other_policy(first, 0.5 * first.logratios[::-1])
    found = compare(first, second)
    one, two = measure(first), measure(second)
    assert (found.first, found.second) == (one.ranking.value, two.ranking.value)
    assert found.difference.value == pytest.approx(one.ranking.value - two.ranking.value)
    assert one.gain is not None
    assert two.gain is not None
    assert found.gain_difference is not None
    assert found.gain_difference.value == pytest.approx(one.gain.gain.value - two.gain.gain.value)
    assert Comparison.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.parametrize("responses", [1, 3])
def test_swapping_the_policies_changes_the_sign(responses):
    first = gaussian_rows(100, responses, kl=0.05)
    second = other_policy(first, 0.7 * first.logratios + 0.1 * np.random.default_rng(1).normal(size=len(first)))
    found, swapped = compare(first, second), compare(second, first)
    assert found.difference.interval is not None
    assert swapped.difference.interval == pytest.approx(tuple(-end for end in found.difference.interval[::-1]))


def test_pairing_shortens_the_interval_of_like_policies():
    first = gaussian_rows(100, 4)
    second = other_policy(first, first.logratios + 0.05 * np.random.default_rng(1).normal(size=400))
    paired, alone = compare(first, second).difference.interval, measure(first).ranking.interval
    assert paired is not None
    assert alone is not None
    assert paired[1] - paired[0] < 0.5 * (alone[1] - alone[0])


def test_the_sentence_names_the_better_policy_and_the_failed_check():
    first = gaussian_rows(100, 4, correlation=0.7)
    second = other_policy(first, np.random.default_rng(1).normal(size=400) * 2)
    text = compare(first, second).sentence("RPO", "noise")
    assert text.startswith("On the same 100 report prompts RPO ranks responses better than noise: ")
    assert "Gains estimated from the log are not compared: second policy: the policy is too far" in text
    assert "noise ranks responses worse than RPO" in compare(second, first).sentence("noise", "RPO")
    same = compare(first, first).sentence("a", "b")
    assert "no difference between a and b is seen" in same
    assert "Difference of the gains estimated from the log: +.000." in same
    assert "not the reference's." in compare(first, first, sampled="not the reference's").sentence("a", "b")


def test_only_the_log_ratios_may_differ():
    first = gaussian_rows(20, 2)
    other = rows_of(first.logratios, first.rewards + 1, first.prompt_of, first.lengths)
    with pytest.raises(DataError, match="their `rewards` differ"):
        compare(first, other)
