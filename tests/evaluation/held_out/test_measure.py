"""The whole measure: edges, invariances, evidence under the null, JSON, features, training rows."""

import json

import numpy as np
import pytest

from held_out_logs import gaussian_rows, rows_of
from valuefree.errors import DataError
from valuefree.evaluation.held_out import Learned, LoggedRows, measure, quick_measures
from valuefree.evaluation.held_out.contrasts import comparison_of, contrasts_of
from valuefree.evaluation.held_out.measure import is_evidence
from valuefree.evaluation.held_out.ranking import accuracy_estimates, permutation_p, rank_pairs
from valuefree.evaluation.held_out.ridge import fit_ridge


def evidence(rows, seed):
    contrasts = contrasts_of(rows, comparison_of(rows))
    (ranking,) = accuracy_estimates([rank_pairs(contrasts, contrasts.logratios)], seed=seed)
    return is_evidence(ranking, permutation_p(contrasts, seed=seed))


@pytest.mark.parametrize(("prompts", "responses"), [(25, 2), (40, 1)])
def test_evidence_is_rare_without_learning_and_usual_with_it(prompts, responses):
    """At most 5 % under the null, here of 250 logs, and most of the time at a correlation of .7."""
    null = [evidence(gaussian_rows(prompts, responses, correlation=0, seed=seed), seed) for seed in range(250)]
    assert np.mean(null) <= 0.05 + 1.96 * np.sqrt(0.05 * 0.95 / 250)
    learned = [
        evidence(gaussian_rows(prompts, responses, correlation=0.7, between=0, seed=seed), seed) for seed in range(40)
    ]
    assert np.mean(learned) > 0.6


@pytest.mark.parametrize("responses", [1, 4])
def test_the_order_of_rows_changes_nothing_but_the_resamples(responses):
    rows = gaussian_rows(60, responses)
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = rows_of(*(column[order] for column in (rows.logratios, rows.rewards, rows.prompt_of, rows.lengths)))
    first, second = measure(rows, tau=0.1), measure(shuffled, tau=0.1)
    for name in ("ranking", "shorter", "explained_share", "partial_correlation", "progress"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.value == pytest.approx(other.value), name
        assert one.interval == pytest.approx(other.interval), name
    assert first.gain is not None
    assert second.gain is not None
    assert first.gain.gain.interval == pytest.approx(second.gain.gain.interval)
    assert first.permutation_p == pytest.approx(second.permutation_p, abs=0.02)


def test_a_constant_per_prompt_changes_no_comparison_within_prompts():
    rows = gaussian_rows(40, 3)
    shift = np.random.default_rng(2).normal(size=40)[rows.prompt_of]
    moved = rows_of(rows.logratios + shift, rows.rewards - 3 * shift, rows.prompt_of, rows.lengths)
    first, second = measure(rows, sampled="-"), measure(moved, sampled="-")
    assert first.ranking == second.ranking
    assert (first.permutation_p, first.compared) == (second.permutation_p, second.compared)
    assert first.rms == pytest.approx(second.rms)


def test_the_scale_of_the_rewards_scales_gain_and_temperature_only():
    rows = gaussian_rows(60, 3)
    first = measure(rows, tau=0.1)
    second = measure(rows_of(rows.logratios, 10 * rows.rewards, rows.prompt_of, rows.lengths), tau=1.0)
    assert first.ranking == second.ranking
    assert first.progress is not None
    assert second.progress is not None
    assert first.progress.value == pytest.approx(second.progress.value)
    assert second.implied_tau == pytest.approx(10 * (first.implied_tau or 0))
    assert first.gain is not None
    assert second.gain is not None
    assert second.gain.gain.value == pytest.approx(10 * first.gain.gain.value)


@pytest.mark.parametrize("responses", [1, 3])
def test_results_survive_json(responses):
    found = measure(gaussian_rows(60, responses, kl=0.02), train=gaussian_rows(30, responses, seed=1), tau=0.1)
    assert found.gain is not None
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert Learned.from_dict(json.loads(text)) == found


def test_shorter_is_measured_on_the_same_pairs():
    """The shorter response has the larger reward in two pairs of three; the third pair has equal lengths (½)."""
    rows = rows_of(np.zeros(6), [0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2], [9, 5, 7, 3, 4, 4])
    assert measure(rows, sampled="-").shorter.value == pytest.approx(2.5 / 3)


def test_training_rows_are_ranked_beside_the_held_out_rows():
    rows = gaussian_rows(60, 3)
    found = measure(rows, train=gaussian_rows(50, 3, correlation=0.95, seed=3))
    assert found.train_ranking is not None
    assert found.train_ranking.value > 0.85 > found.ranking.value
    assert found.train_ranking.n == 50
    equal = rows_of(np.arange(4), np.ones(4), [0, 0, 1, 1])
    assert measure(rows, train=equal).train_ranking is None


def test_one_prompt_and_unmoved_policies_have_values_without_intervals():
    found = measure(rows_of([0.1, 0.2, 0.4], [1, 2, 3]), tau=0.1)
    assert (found.by, found.ranking.value, found.ranking.interval, found.evidence) == ("pairs", 1.0, None, False)
    assert found.permutation_p == pytest.approx(1 / 6, abs=0.015)
    assert found.gain is None
    rows = gaussian_rows(40, 3)
    found = measure(rows_of(np.zeros(120), rows.rewards, rows.prompt_of, rows.lengths), tau=0.1)
    assert (found.ranking.value, found.permutation_p, found.rms, found.evidence) == (0.5, 1.0, 0.0, False)
    assert (found.needed.ranking, found.needed.gain, found.implied_tau) == (None, None, None)
    assert found.gain is not None
    assert found.gain.gain.value == 0


def test_errors_name_the_value():
    with pytest.raises(DataError, match="all 3 held-out rewards are 1"):
        measure(rows_of([1, 2, 3], [1, 1, 1]))
    with pytest.raises(DataError, match="tau=0"):
        measure(gaussian_rows(20, 2), tau=0.0)


def test_prompts_needed_are_those_of_the_textbook():
    """Single pairs at chance: p (1 − p) (1.96 + 0.84)² / .05² = 785 prompts."""
    generator = np.random.default_rng(0)
    rows = rows_of(generator.normal(size=4000), np.tile([0, 1], 2000), np.repeat(np.arange(2000), 2))
    assert measure(rows, sampled="-").needed.ranking == pytest.approx(785, rel=0.01)


# ------------------------------------------------------------------------------------------------------------- features


def with_features(prompts, seed, *, weight):
    """One response; log-ratio and reward share only what the features say about the prompt."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(prompts, 3))
    shared = weight * features[:, 0]
    logratios, rewards = (shared + generator.normal(size=prompts) for _ in range(2))
    return LoggedRows(0.1 * logratios, rewards, np.arange(prompts), np.full(prompts, 9), features)


def test_features_remove_differences_between_prompts_that_look_like_learning():
    rows, train = with_features(400, 0, weight=1.5), with_features(600, 1, weight=1.5)
    raw, adjusted = measure(rows, sampled="-"), measure(rows, train=train, sampled="-")
    assert (raw.by, raw.adjusted, adjusted.adjusted) == ("rows", False, True)
    assert raw.evidence
    assert raw.ranking.value > 0.7
    assert abs(adjusted.ranking.value - 0.5) < 0.05
    assert adjusted.train_ranking is not None
    assert abs(adjusted.train_ranking.value - 0.5) < 0.05  # leave-one-out residuals


def test_features_of_another_width_are_an_error():
    train = with_features(50, 1, weight=1.0)
    other = LoggedRows(train.logratios, train.rewards, train.prompt_of, train.lengths, np.zeros((50, 2)))
    with pytest.raises(DataError, match="have 3, the training prompts 2"):
        measure(with_features(50, 0, weight=1.0), train=other)


def test_left_out_predictions_are_those_of_fits_without_the_prompt():
    """At strength zero (many prompts, strong signal) PRESS residuals equal refitting; noise alone predicts the mean."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 3))
    targets = np.stack([features @ [1.0, -2.0, 3.0] + 1e-3 * generator.normal(size=60), generator.normal(size=60)], 1)
    fitted = fit_ridge(features, targets)
    kept = np.arange(60) != 7
    design = np.column_stack([np.ones(60), features])
    refitted = np.linalg.lstsq(design[kept], targets[kept, 0], rcond=None)[0]
    assert fitted.left_out[7, 0] == pytest.approx(float(design[7] @ refitted), abs=2e-3)
    assert fitted(features)[:, 0] == pytest.approx(targets[:, 0], abs=1e-2)
    assert fitted(features)[:, 1].std() < 0.4


def test_fewer_prompts_than_features_are_fitted_too():
    generator = np.random.default_rng(0)
    fitted = fit_ridge(generator.normal(size=(10, 30)), generator.normal(size=(10, 2)))
    assert np.isfinite(fitted(generator.normal(size=(4, 30)))).all()


# ---------------------------------------------------------------------------------------------------------------- quick


@pytest.mark.parametrize("responses", [1, 4])
def test_quick_measures_equal_the_full_ones(responses):
    rows = gaussian_rows(80, responses, kl=0.05)
    quick, full = quick_measures(rows, tau=0.1), measure(rows, tau=0.1)
    assert quick["ranking_accuracy"] == full.ranking.value
    assert quick["explained_share"] == pytest.approx(full.explained_share.value)
    assert full.progress is not None
    assert quick["progress"] == pytest.approx(full.progress.value)
    assert quick["rms_logratio"] == pytest.approx(full.rms)
    assert quick["effective_share"] == full.effective_share
    assert full.gain is not None
    assert quick["gain"] == pytest.approx(full.gain.gain.value)
    assert all(type(value) is float for value in quick.values())


def test_quick_measures_leave_out_what_does_not_apply():
    rows = gaussian_rows(80, 2, kl=2.0)
    assert "gain" not in quick_measures(rows)
    names = set(quick_measures(rows, sampled="the rows come from another model"))
    assert names == {"ranking_accuracy", "ranking_z", "explained_share", "reweighted_gain", "rms_logratio"}


def test_z_is_standard_normal_without_learning():
    values = [
        quick_measures(gaussian_rows(40, 3, correlation=0, seed=seed), sampled="-")["ranking_z"] for seed in range(400)
    ]
    assert abs(np.mean(values)) < 0.2
    assert np.std(values) == pytest.approx(1, abs=0.12)
