"""What the report says before training, against values worked by hand."""

import math

import pytest

from valuefree.partition import partition_report

LOGS = [math.log(0.5), math.log(0.2)]


def test_counts_sizes_and_coverage():
    report = partition_report(
        [1, 1, 1, 0, 5, 2, 2],
        [-1, -1, -2, -3, -1, -2, -3],
        [0, 0, 0, 0, 1, 2, 2],
        tau=1.0,
        response_of=[0, 0, 1, 2, 0, 0, 1],
    )
    assert (report.rows, report.prompts) == (7, 3)
    assert (report.duplicates, report.singletons, report.all_equal) == (1, 1, 1)
    assert report.sizes.tolist() == [4, 1, 2]
    coverage = [math.log(math.exp(-1) + math.exp(-2) + math.exp(-3)), -1, math.log(math.exp(-2) + math.exp(-3))]
    assert report.log_coverage.tolist() == pytest.approx(coverage)


def test_quantiles_by_prompt_are_kept_for_the_report():
    """Sizes 1, 2 and 4: the median is 2, a quarter of the way to it 1.5."""
    report = partition_report([1.0] * 7, [-9.0] * 7, [0, 1, 1, 2, 2, 2, 2], tau=1.0, estimator="mean")
    found = report.to_dict()
    sizes = found["per_prompt"]["sizes"]
    assert (sizes["0"], sizes["0.25"], sizes["0.5"], sizes["1"]) == (1.0, 1.5, 2.0, 4.0)
    assert set(found["per_prompt"]) == {"sizes", "log_coverage", "effective_sizes", "spreads", "values"}
    assert found["sentences"] == report.sentences()


def test_effective_size_of_the_weights():
    """Weights e^{r/τ} = (1, 1, 2): (Σw)²/Σw² = 16/6."""
    report = partition_report([0, 0, math.log(2)], [-50] * 3, [0] * 3, tau=1.0, estimator="monte_carlo")
    assert report.effective_sizes.tolist() == pytest.approx([16 / 6])


def test_level_share_of_the_initial_loss():
    """r = (1, −1), V̂ = .5, τ = 1, n = 2: within 1 + 1 = 2, level 2·.25 = .5; at κ = 2 weighted by ½."""
    value = {"estimator": "monte_carlo", "reference_rewards": [0.5], "reference_prompt_of": [0]}
    report = partition_report([1, -1], LOGS, [0, 0], tau=1.0, level=2.0, **value)
    assert report.level_share_unweighted == pytest.approx(0.5 / 2.5)
    assert report.level_share == pytest.approx(0.25 / 2.25)
    assert report.target_quantiles[0.5] == pytest.approx(-0.5)


def test_the_rule_for_the_temperature():
    """σ_within = √2 over 1 degree of freedom; n = 2: σ/√(2 log 2)."""
    report = partition_report([1, -1], LOGS, [0, 0], tau=0.1, estimator="monte_carlo")
    assert report.tau_floor == pytest.approx(math.sqrt(2) / math.sqrt(2 * math.log(2)))
    assert any("Raise tau" in warning for warning in report.warnings)


def test_eq_19_on_text_is_called_what_it_is():
    report = partition_report([1, 0, -1, 0.5], [-60, -80, -70, -90], [0, 0, 1, 1], tau=1.0)
    assert report.level_share > 0.99
    assert any("supervised fine-tuning on all responses" in warning for warning in report.warnings)
    assert any("the responses cover" in warning for warning in report.warnings)


def test_settings_without_a_problem():
    report = partition_report([1, 0, 1, 0], [-60] * 4, [0, 0, 1, 1], tau=1.0, estimator="mean", level=1.0)
    assert report.warnings == []
    assert "No problems found" in str(report)
    assert "100% compares the responses to a prompt, 0% compares prompts (at level 1; 0% at level ∞)" in str(report)


def test_single_responses_compare_prompts_and_that_is_no_problem():
    """All of the loss is level, and the targets follow the rewards: 1 − V̂ and −1 − V̂ for one V̂."""
    report = partition_report([1, -1, 1, -1], [-9] * 4, [0, 1, 2, 3], tau=1.0, estimator="mean", level=1.0)
    assert report.level_share == 1.0
    assert report.warnings == []
    assert "the loss compares prompts alone" in str(report)
    assert report.target_quantiles[0.0] == pytest.approx(-1)
    assert report.target_quantiles[1.0] == pytest.approx(1)


def test_single_responses_beside_several_do_not_hide_what_the_several_say():
    """Prompt 0 has (1, 0) and V̂ = −50 from a reference sample: its level is 2 · 50.5², its within part ½."""
    value = {"estimator": "monte_carlo", "reference_rewards": [-50.0, 0.0], "reference_prompt_of": [0, 1]}
    report = partition_report([1, 0, 1], [-9] * 3, [0, 0, 1], tau=1.0, **value)
    within, level = 0.5, 2 * 50.5**2
    assert report.level_share_several == pytest.approx(level / (level + within))
    assert any("close to supervised fine-tuning" in warning for warning in report.warnings)


@pytest.mark.parametrize(("tau", "warned"), [(1 / 12, False), (1 / 60, True)])
def test_targets_of_the_default_are_not_called_far(tau, warned):
    """Rewards ±1 within prompts have targets of ±12 nats at τ = 1/12, and of ±60 at 1/60."""
    prompt_of = [row // 2 for row in range(40)]
    report = partition_report([1, -1] * 20, [-60] * 40, prompt_of, tau=tau, estimator="mean")
    assert any("move very far" in warning for warning in report.warnings) is warned


def test_singletons_under_eq_19_are_warned_about():
    report = partition_report([1, -1], [-9, -9], [0, 1], tau=1.0)
    assert any("2 of 2 prompts have one response" in warning for warning in report.warnings)


def test_the_report_says_what_was_used():
    data = ([1, 0, 1, 0], [-1.0] * 4, [0, 0, 1, 1])
    report = partition_report(*data, tau=2.0, level=1.0, length_normalize=True, merge_duplicates=False)
    assert report.to_dict()["length_normalize"] is True
    assert report.sentences()[1] == (
        "V̂ by estimator reference: τ log Σ_j e^{ℓ_j + r_j/τ} over distinct responses (eq. 19). Settings: tau 2, prior "
        "strength on V̂ (level) 1, duplicates counted each time, log-probabilities as means per token."
    )
    assert "nats per token, median" in str(report)
    plain = partition_report(*data, tau=2.0, estimator="coverage", on_policy=False)
    assert plain.to_dict()["length_normalize"] is False
    assert "Settings: tau 2, prior strength on V̂ (level) ∞, responses that others wrote." in str(plain)
    assert "per token" not in str(plain)


def test_coverage_of_token_means_is_not_called_a_probability_of_responses():
    report = partition_report([1, 0], [-6.0, -7.0], [0, 0], tau=1.0, length_normalize=True)
    assert any("e^-6 of the reference's probability per token" in warning for warning in report.warnings)
