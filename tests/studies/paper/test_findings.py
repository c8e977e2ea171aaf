"""Each rule decides as it says, and flips when the numbers flip."""

import json

import pytest

from studies.paper.cells import Pair
from studies.paper.claims import claim_findings, trials_of
from studies.paper.claims.plan import CONDITIONS, EQ_19
from studies.paper.judging import JudgeSpec
from studies.paper.methods import METHODS
from studies.paper.published import CLAIMS, METRICS
from studies.paper.rules import MEASURED_ELSEWHERE, NOT_RUN, RULES, findings
from studies.paper.verdicts import Finding, decide
from tests.studies.paper.made import STRONG, TINY, WEAK

WON, LOST, OPEN = [1.0] * 8, [0.0] * 8, [1.0] * 4 + [0.0] * 4
REWARD, MISTRAL = JudgeSpec("reward"), JudgeSpec("mistral-7b-instruct-v0.3", "http://there/v1")
QUALITY = [metric.ours for metric in METRICS if metric.better == "higher"]


def verdict(made, claim):
    (found,) = [one for one in findings(made.results) if one.claim == claim]
    return found.verdict


def said(made, claim):
    return next(one.text for one in findings(made.results) if one.claim == claim)


@pytest.mark.parametrize(
    ("sides", "outcome"),
    [
        ([1, 1], "supported"),
        ([1, 0], "undecided"),
        ([0, 0], "undecided"),
        ([], "not tested"),
        ([1, -1], "contradicted"),
        ([0, -1], "contradicted"),
    ],
)
def test_decide(sides, outcome):
    assert decide(sides) == outcome


def test_every_claim_has_one_finding_and_the_rules_are_about_claims(make):
    made = make()
    keys = [claim.key for claim in CLAIMS]
    assert [one.claim for one in findings(made.results)] == keys
    assert set(RULES) | set(MEASURED_ELSEWHERE) | set(NOT_RUN) <= set(keys)
    assert not set(RULES) & (set(MEASURED_ELSEWHERE) | set(NOT_RUN))
    for one in findings(made.results):
        assert one.text.endswith("."), one
        assert not one.text.endswith((": .", "over: ."))


def test_an_empty_study_decides_nothing_but_what_needs_no_run(make):
    decided = {one.claim: one.verdict for one in findings(make().results) if one.verdict != "not tested"}
    assert decided == {"no-value-model": "supported", "no-value-gradient": "supported"}


def test_triplets_suffice_where_rpo_was_trained_on_them(make):
    made = make()
    made.cell("RPO", steps=20)
    assert verdict(made, "triplets-suffice") == "supported"
    assert said(made, "triplets-suffice").startswith("1 runs at τ = 1 were trained on rows of prompt, response")


def claim_rows():
    """One row of each run that the statements of section VI look for."""
    shared = {"method": EQ_19, "world": "short", "seed": 0, "gap": 0.5, "gap_reference": 1.0, "value_bias": -0.1}
    coverage = [
        shared | {"experiment": "coverage", "condition": condition, "responses": count}
        for condition in CONDITIONS
        for count in (1, 4)
    ]
    return coverage + [shared | {"experiment": "reference", "reference": tilt, "reward": 1.0} for tilt in (-1.0, 1.0)]


def test_what_is_measured_elsewhere_is_found_by_its_name():
    """Each beginning names statements of the other study."""
    names = [one.claim for one in claim_findings(claim_rows())]
    for begins in MEASURED_ELSEWHERE.values():
        assert any(name.startswith(begins) for name in names), begins


@pytest.mark.parametrize(
    ("verdicts", "outcome"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "undecided"], "undecided"),
        (["supported", "contradicted"], "contradicted"),
    ],
)
def test_verdicts_from_elsewhere_are_put_together(make, monkeypatch, verdicts, outcome):
    made = make()
    made.row(trials_of()[0], [{"experiment": "coverage"}], folder="claims")
    named = [Finding(f"{MEASURED_ELSEWHERE['limit-few']} ({n})", v, "") for n, v in enumerate(verdicts)]
    monkeypatch.setattr("studies.paper.rules.claim_findings", lambda rows: named)
    assert verdict(made, "limit-few") == outcome
    assert verdict(made, "limit-modes") == "not tested"


# ------------------------------------------------------------------------------------------------------------ metrics


def with_metrics(made, rpo, other, *, names=QUALITY, others=("KTO", "DRO"), taus=(1.0,)):
    """Values of RPO's two runs and of the others'."""
    for tau in taus:
        for seed in range(2):
            made.cell("RPO", seed, tau, metrics=dict.fromkeys(names, rpo[seed]))
            for name in others:
                made.cell(name, seed, tau, metrics=dict.fromkeys(names, other[seed]))
    return made


BETTER, WORSE, EITHER = (0.5, 0.6), (0.3, 0.401), (0.6, 0.3)


@pytest.mark.parametrize(
    ("rpo", "other", "outcome"),
    [
        (BETTER, WORSE, "supported"),  # by 0.2 and 0.199
        (WORSE, BETTER, "contradicted"),
        (EITHER, WORSE, "undecided"),  # by 0.3, and −0.1
    ],
)
def test_beats_baselines(make, rpo, other, outcome):
    assert verdict(with_metrics(make(), rpo, other), "beats-baselines") == outcome


def test_most_metrics_are_enough_unless_one_speaks_against(make):
    def better(seed):
        """In three of five, equal in two."""
        return dict(zip(QUALITY, (0.5 + 0.001 * seed,) * 3 + (0.4, 0.4), strict=True))

    made = make()
    for seed in range(2):
        made.cell("RPO", seed, metrics=better(seed))
        for other in ("KTO", "DRO"):
            made.cell(other, seed, metrics=dict.fromkeys(QUALITY, 0.4))
    assert verdict(made, "beats-baselines") == "supported"
    for seed in range(2):
        made.cell("RPO", seed, metrics=better(seed) | {QUALITY[-1]: 0.3 + 0.001 * seed})
    assert verdict(made, "beats-baselines") == "undecided"


@pytest.mark.parametrize(
    ("rpo", "other", "outcome"),
    [(WORSE, BETTER, "supported"), (BETTER, WORSE, "contradicted"), (EITHER, WORSE, "undecided")],
)
def test_less_toxic_is_the_lower_value(make, rpo, other, outcome):
    made = with_metrics(make(), rpo, other, names=["toxicity"])
    assert verdict(made, "less-toxic") == outcome
    assert verdict(made, "beats-baselines") == "not tested"  # toxicity is none of the quality metrics


@pytest.mark.parametrize(
    ("rpo", "other", "outcome"),
    [(BETTER, WORSE, "supported"), (WORSE, BETTER, "contradicted"), (EITHER, WORSE, "undecided")],
)
def test_normalisation_metrics(make, rpo, other, outcome):
    made = with_metrics(make(), rpo, other, others=("RPO-noNorm",), taus=(0.1, 1.0, 5.0))
    assert verdict(made, "normalisation-metrics") == outcome


def test_metrics_that_were_not_measured_are_named(make):
    made = with_metrics(make(), BETTER, WORSE, names=["bleu"])
    assert "not measured: BERTScore, ROUGE-L, SacreBLEU, METEOR" in said(made, "beats-baselines")


@pytest.mark.parametrize(
    ("rpo", "other", "outcome"),
    [(WORSE, BETTER, "supported"), (BETTER, WORSE, "contradicted"), (EITHER, WORSE, "undecided")],
)
def test_normalisation_toxicity(make, rpo, other, outcome):
    made = with_metrics(make(), rpo, other, names=["toxicity"], others=("RPO-noNorm",), taus=(0.1, 1.0, 5.0))
    assert verdict(made, "normalisation-toxicity") == outcome


@pytest.mark.parametrize(
    ("values", "noise", "outcome"),
    [
        ((0.49, 0.5, 0.51), 0.0, "supported"),
        ((0.4, 0.5, 0.6), 0.0, "contradicted"),
        ((0.4, 0.5, 0.6), 0.3, "undecided"),  # the second seed's differences are of the other sign
    ],
)
def test_normalisation_stable(make, values, noise, outcome):
    """A range over τ of 4 % and of 40 % of the mean; up to 5 % is called stable, more contradicts where it is shown."""
    made = make()
    for tau, value in zip(made.taus, values, strict=True):
        made.cell("RPO", 0, tau, metrics={"bleu": value + 2 * noise * (value - 0.5)})
        made.cell("RPO", 1, tau, metrics={"bleu": value - 2 * noise * (value - 0.5) + 1e-9 * tau})
    assert verdict(made, "normalisation-stable") == outcome
    move = "4%" if outcome == "supported" else "40%"
    assert f"BLEU {move}" in said(made, "normalisation-stable")


# ------------------------------------------------------------------------------------------------------------- judges


def with_rates(made, scores, others=("SFT", "KTO", "DRO"), taus=(1.0,), judges=(REWARD,)):
    for judge in judges:
        for tau in taus:
            for other in others:
                made.judged(judge, "RPO", other, scores, tau=tau)
    return made


@pytest.mark.parametrize("claim", ["wins-everywhere", "answers"])
@pytest.mark.parametrize(("scores", "outcome"), [(WON, "supported"), (LOST, "contradicted"), (OPEN, "undecided")])
def test_wins_are_rates_above_one_half(make, claim, scores, outcome):
    assert verdict(with_rates(make(), scores), claim) == outcome


def test_one_baseline_that_wins_is_enough_against_wins_everywhere(make):
    made = with_rates(make(), WON)
    made.judged(REWARD, "RPO", "DRO", LOST)
    assert verdict(made, "wins-everywhere") == "contradicted"
    made.judged(REWARD, "RPO", "DRO", OPEN)
    assert verdict(made, "wins-everywhere") == "undecided"


@pytest.mark.parametrize("claim", ["wins-everywhere", "answers", "judges-agree"])
def test_a_baseline_without_verdicts_leaves_the_claim_open(make, claim):
    made = with_rates(make(), WON, others=("SFT", "KTO"), judges=(REWARD, WEAK))
    assert verdict(made, claim) == "undecided"
    assert "Not judged: DRO" in said(made, claim)
    made = with_rates(made, LOST, others=("KTO",), judges=(REWARD, WEAK))
    assert verdict(made, claim) == "contradicted"


@pytest.mark.parametrize(
    ("scores", "outcome"),
    [
        ([1.0] * 200, "supported"),
        ([1.0] * 160 + [0.0] * 40, "undecided"),  # 80 %, its interval on both sides
        ([1.0] * 120 + [0.0] * 80, "contradicted"),  # 60 %
    ],
)
def test_wide_margins(make, scores, outcome):
    made = with_rates(make(prompts=200, judges=(MISTRAL,)), scores, judges=(MISTRAL,))
    assert verdict(made, "wide-margins") == outcome


def test_wide_margins_are_often_not_always(make):
    made = with_rates(make(prompts=40, judges=(MISTRAL,)), [1.0] * 40, judges=(MISTRAL,))
    made.judged(MISTRAL, "RPO", "DRO", LOST)
    assert verdict(made, "wide-margins") == "supported"  # two of three
    made.judged(MISTRAL, "RPO", "KTO", LOST)
    assert verdict(made, "wide-margins") == "undecided"


def test_claims_about_language_models_are_not_tested_by_a_reward_function(make):
    made = with_rates(make(), LOST)
    with_rates(made, LOST, others=("RPO-noNorm",), taus=(0.1, 1.0, 5.0))
    assert verdict(made, "wide-margins") == verdict(made, "normalisation-judges") == "not tested"
    assert verdict(with_rates(made, LOST, judges=(WEAK,)), "wide-margins") == "not tested", "Mistral is asked for"


@pytest.mark.parametrize(
    ("second", "outcome"), [(WON, "supported"), (LOST, "contradicted"), (OPEN, "undecided"), (None, "not tested")]
)
def test_judges_agree_takes_two(make, second, outcome):
    made = with_rates(make(judges=(WEAK, STRONG)), WON, judges=(WEAK,))
    if second is not None:
        with_rates(made, second, judges=(STRONG,))
    assert verdict(made, "judges-agree") == outcome


@pytest.mark.parametrize(
    ("scores", "outcome"),
    [
        ([1.0] * 200, "supported"),
        ([1.0] * 180 + [0.0] * 20, "undecided"),  # 90 %
        ([1.0] * 140 + [0.0] * 60, "contradicted"),  # 70 %
    ],
)
def test_normalisation_judges(make, scores, outcome):
    made = with_rates(make(prompts=200), scores, others=("RPO-noNorm",), taus=(0.1, 1.0, 5.0), judges=(WEAK,))
    assert verdict(made, "normalisation-judges") == outcome


def test_a_judge_whose_winner_changes_with_the_order_decides_nothing(make):
    """All lost; its verdicts flip in 2 of 8 pairs, and it counts, then in 6 of 8, and it does not."""
    made = make()
    for flipped, counts in ((2, True), (6, False)):
        for other in ("SFT", "KTO", "DRO"):
            made.judged(WEAK, "RPO", other, LOST)
            file = Pair("RPO", other).file(made.folder, WEAK.key, TINY.name, 0)
            content = json.loads(file.read_text())
            for number, row in enumerate(content["verdicts"]):
                row["opinions"] = row["opinions"] * 2
                if number < flipped:
                    row |= {"category": "disagreement", "score": 0.5}
            file.write_text(json.dumps(content))
        assert made.results.flip_rate(WEAK.title) == flipped / 8
        assert (WEAK.title in made.results.reliable_judges) == counts
        assert verdict(made, "wins-everywhere") == ("contradicted" if counts else "not tested")


@pytest.mark.parametrize(("at_5", "outcome"), [(WON, "supported"), (LOST, "contradicted"), (OPEN, "undecided")])
def test_tau_moderate_is_about_one_and_above(make, at_5, outcome):
    made = with_rates(make(), WON, others=("SFT",))
    with_rates(made, at_5, others=("SFT",), taus=(5.0,))
    with_rates(made, LOST, others=("SFT",), taus=(0.1,))  # says nothing of it
    assert verdict(made, "tau-moderate") == outcome


def test_tau_moderate_takes_a_larger_temperature(make):
    made = with_rates(make(taus=(0.1, 1.0)), WON, others=("SFT",))
    assert verdict(made, "tau-moderate") == "undecided"


# ------------------------------------------------------------------------------------------------- temperature, reward


def with_gains(made, method, by_tau):
    made.cell("SFT", 0, None, rewards=[0.0] * 8)
    for tau, gain in by_tau.items():
        made.cell(method, 0, tau, rewards=[gain + 0.01 * (k - 3.5) * tau for k in range(8)])
    return made


@pytest.mark.parametrize(("claim", "method"), [("tau-robust", "RPO"), ("normalisation-tau", "RPO-noNorm")])
def test_a_gain_that_moves_with_the_temperature_contradicts(make, claim, method):
    assert verdict(with_gains(make(), method, {0.1: 1.0, 1.0: 1.0, 5.0: 1.0}), claim) == "undecided"
    assert verdict(with_gains(make(), method, {0.1: 1.0, 1.0: 2.0, 5.0: 1.0}), claim) == "contradicted"


def test_without_a_reward_function_nothing_is_said_of_gains(make):
    made = make()
    made.cell("SFT", 0, None)
    made.cell("RPO", 0)
    for claim in ("tau-robust", "normalisation-tau"):
        assert said(made, claim) == "fewer than two temperatures of it were run and rewarded."


@pytest.mark.parametrize(
    ("kls", "outcome"),
    [((9.0, 3.0, 1.0), "supported"), ((1.0, 3.0, 9.0), "contradicted"), ((3.0, 3.0, 1.0), "undecided")],
)
def test_tau_sharpness(make, kls, outcome):
    made = make()
    for tau, kl in zip(made.taus, kls, strict=True):
        for seed in range(2):
            made.cell("RPO", seed, tau, kl=kl + 0.01 * seed)
    assert verdict(made, "tau-sharpness") == outcome


def test_tau_sharpness_of_single_runs_is_open(make):
    made = make()
    for tau, kl in zip(made.taus, (9.0, 3.0, 1.0), strict=True):
        made.cell("RPO", 0, tau, kl=kl)
    assert verdict(made, "tau-sharpness") == "undecided"


@pytest.mark.parametrize(
    ("others", "outcome"),
    [([3.0, 3.1, 3.2], "supported"), ([1.0, 1.1, 1.2], "contradicted"), ([1.0, 2.0, 4.0], "undecided")],
)
def test_faster(make, others, outcome):
    made = make()
    made.timing({"RPO": [2.0, 2.0, 2.0], "KTO": [4.0, 4.1, 4.2], "DRO": others})
    assert verdict(made, "faster") == outcome
    assert "KTO at width 64 takes 2.05 of RPO's time" in said(made, "faster")


def test_a_value_model_would_contradict(make, monkeypatch):
    monkeypatch.setitem(METHODS, "RPO", METHODS["DRO"])
    made = make(methods=("SFT",))
    assert verdict(made, "no-value-model") == "contradicted"
