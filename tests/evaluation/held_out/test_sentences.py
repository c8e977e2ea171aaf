"""Sentences: the verdict first, and each warning where it applies and only there."""

from dataclasses import replace

import pytest

from held_out_logs import gaussian_rows, rows_of
from valuefree.evaluation.held_out import Gain, Learned, Needed, measure
from valuefree.evaluation.held_out.learned import Thumbs
from valuefree.evaluation.held_out.measure import thumbs_of
from valuefree.evaluation.held_out.wording import count, number, p_value, percent, with_interval
from valuefree.evaluation.stats import Estimate


def estimate(value, low, high):
    return Estimate(value, (low, high), 96)


GAIN = Gain(
    gain=estimate(0.055, 0.012, 0.101),
    plain=0.05,
    self_normalised=estimate(0.06, 0.02, 0.11),
    mean_weight=estimate(0.98, 0.9, 1.07),
    effective_share=0.81,
    kl_policy=estimate(0.03, 0.02, 0.04),
    kl_reference=estimate(0.03, 0.02, 0.04),
)
LEARNED = Learned(
    rows=384,
    prompts=96,
    by="pairs",
    compared=500,
    ranking=estimate(0.64, 0.581, 0.702),
    permutation_p=0.0003,
    shorter=estimate(0.55, 0.49, 0.61),
    partial_correlation=estimate(0.3, 0.2, 0.4),
    train_ranking=None,
    implied_tau=0.1,
    explained_share=estimate(0.1, 0.05, 0.16),
    progress=None,
    rms=0.3,
    gain=GAIN,
    no_gain=None,
    mean_weight=GAIN.mean_weight,
    effective_share=GAIN.effective_share,
    needed=Needed(640, 1234),
    evidence=True,
)
CHANCE = replace(LEARNED, ranking=estimate(0.52, 0.46, 0.58), permutation_p=0.21, evidence=False)


def said(learned, **changes):
    return " ".join(replace(learned, **changes).sentences())


def test_the_verdict_comes_first_with_its_numbers():
    assert LEARNED.sentences()[:2] == [
        "On 96 report prompts the policy ranks responses as the feedback does in 64.0 % [58.1, 70.2] of pairs (50 % is "
        "chance; permutation p = .0003).",
        "Choosing the shorter response agrees in 55.0 % [49.0, 61.0] of the same pairs. Given the length, log-ratio "
        "and reward correlate with .300 [.200, .400].",
    ]


def test_without_evidence_the_verdict_says_so_and_how_many_prompts_are_needed():
    first, second = CHANCE.sentences()[:2]
    assert "no evidence" in first
    assert "chance" in first
    assert "52.0 % [46.0, 58.0]" in first
    assert second == "About 640 report prompts would be needed to see 55 %."
    assert "640 report prompts are enough" in said(CHANCE, prompts=700)
    assert "needed to see 55 %" not in said(LEARNED)


def test_a_policy_against_the_feedback_is_named():
    text = said(CHANCE, ranking=estimate(0.4, 0.33, 0.47), explained_share=estimate(-0.05, -0.1, -0.01))
    assert "no evidence" in text
    assert "against the feedback" in text
    assert "correlation of log-ratio and reward is negative" in text


def test_the_untouched_reference_is_named():
    rows = gaussian_rows(30, 3)
    first, *others = measure(rows_of([0.0] * 90, rows.rewards, rows.prompt_of, rows.lengths), tau=0.1).sentences()
    assert "no evidence" in first
    assert "chance" in first
    assert "reference's log-probabilities" in first
    assert not any("shorter" in sentence or "settings" in sentence for sentence in others)


def test_rows_of_different_prompts_are_called_that_and_warned_about():
    assert "of pairs of responses to different prompts (" in said(LEARNED, by="rows")
    assert "Differences between prompts enter" in said(LEARNED, by="rows")
    adjusted = said(LEARNED, by="rows", adjusted=True)
    assert "of pairs of responses to different prompts (50 % is chance; permutation p = .0003)." in adjusted
    assert "what the prompt alone predicts is subtracted" in adjusted
    assert "Differences between prompts enter" not in adjusted
    assert "different prompts" not in said(LEARNED)
    assert "subtracted" not in said(LEARNED)


def test_length_is_blamed_only_where_nothing_is_left_at_equal_length():
    alone = {"shorter": estimate(0.7, 0.65, 0.75), "partial_correlation": estimate(0.02, -0.05, 0.09)}
    assert "length alone may explain" in said(LEARNED, **alone)
    assert "length alone" not in said(LEARNED, **(alone | {"shorter": LEARNED.shorter}))
    assert "length alone" not in said(LEARNED, **(alone | {"partial_correlation": LEARNED.partial_correlation}))
    assert "Choosing the longer response agrees in 70.0 % [65.0, 75.0]" in said(
        LEARNED, shorter=estimate(0.3, 0.25, 0.35)
    )


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (estimate(0.91, 0.88, 0.94), "On training rows: 91.0 % [88.0, 94.0]: most of what was learned there is memor"),
        (estimate(0.75, 0.71, 0.79), "11 points of it are memorisation"),
        (estimate(0.66, 0.61, 0.71), "does not differ clearly"),
        (Estimate(0.66, None, 1), "On training rows: 66.0 %."),
    ],
)
def test_memorisation_is_judged_by_the_gap(train, words):
    assert words in said(LEARNED, train_ranking=train)


def test_a_timid_policy_is_told_to_move():
    """The explained share is progress times implied temperature over τ, here .18 · 5."""
    share = estimate(0.9, 0.8, 1.0)
    text = said(LEARNED, tau=0.1, implied_tau=0.5, progress=estimate(0.18, 0.1, 0.26), explained_share=share)
    assert "The policy has made 18.0 % [10.0, 26.0] of the move that the settings ask for. Raise" in text


def test_a_policy_at_the_optimum_of_noisy_rewards_is_not_told_to_move():
    """Reliability .3: progress .3, explained share .3, and the implied temperature is τ."""
    changes = {"progress": estimate(0.3, 0.2, 0.4), "explained_share": estimate(0.3, 0.2, 0.4), "implied_tau": 0.1}
    text = said(LEARNED, tau=0.1, **changes)
    assert "Raise" not in text
    assert "With noisy rewards" in text
    full = said(LEARNED, tau=0.1, **(changes | {"progress": estimate(0.9, 0.8, 1.0)}))
    assert full.count("of the move that the settings ask for.") == 1
    assert "noisy" not in full


def test_a_policy_that_moves_too_far_is_told_to_stay_closer():
    text = said(LEARNED, tau=0.1, implied_tau=0.04, progress=estimate(0.5, 0.4, 0.6))
    assert "moves further than the rewards justify" in text
    assert "fit a temperature of .040, and the objective has .100. Raise tau" in text
    assert "further" not in said(LEARNED, tau=0.1, implied_tau=0.09, progress=estimate(0.5, 0.4, 0.6))


def test_gain_and_why_there_is_none():
    text = said(LEARNED)
    assert "Gain in reward, estimated from the log: +.055 [+.012, +.101]." in text
    assert "at a KL of .030 nats from the reference. Self-normalised: +.060; mean weight" in text
    assert "1,300 report prompts" in said(LEARNED, gain=replace(GAIN, gain=estimate(0.02, -0.02, 0.06)))
    assert "1,300" not in text
    none = said(LEARNED, gain=None, no_gain="the rows come from another model.")
    assert "No gain is estimated from the log: the rows come from another model." in none
    assert "Warning: the ranking is better" in said(LEARNED, gain=replace(GAIN, gain=estimate(-0.05, -0.1, -0.01)))


def test_numbers_as_they_are_printed():
    assert [number(value) for value in (0.0549, 0.9999, 1.234, 12.34, -0.00001, 2e130)] == [
        ".055",
        "1.000",
        "1.23",
        "12.3",
        ".000",
        "2.0e+130",
    ]
    assert number(-0.5, sign=True) == "-.500"
    assert with_interval(Estimate(0.5, None, 1), sign=True) == "+.500"
    assert percent(estimate(-0.0001, -0.01, 0.01)) == "0.0 % [-1.0, 1.0]"
    assert [p_value(value) for value in (0.0001, 0.00031, 0.049, 0.21, 1.0)] == [
        "p = .0001",
        "p = .0003",
        "p = .05",
        "p = .21",
        "p = 1",
    ]
    assert [count(value) for value in (7, 64, 641, 12_345)] == ["7", "64", "650", "13,000"]


@pytest.mark.parametrize(
    ("thumbs", "words"),
    [
        (Thumbs(0.5, 2.0), "share of thumbs up: 50.0 % in the logged rows → 52.8 % [50.6, 55.0] with the policy"),
        (Thumbs(0.5, 1.0), "50.0 % in the logged rows → 55.5 % [51.2, 60.1] with the policy"),
        (Thumbs(0.96, 1.0), "96.0 % in the logged rows → 100.0 % [97.2, 100.0] with the policy"),
    ],
    ids=["±1", "0/1", "no share above 1"],
)
def test_a_gain_in_thumbs_is_said_as_a_share_from_the_share_in_the_log(thumbs, words):
    """A gain of .055 [.012, .101] is half as many points of share where thumbs are −1 and 1."""
    assert words in said(LEARNED, thumbs=thumbs)
    assert "thumbs" not in said(LEARNED, thumbs=thumbs, gain=None, no_gain="too few")


@pytest.mark.parametrize(("low", "step"), [(-1.0, 2.0), (0.0, 1.0)])
def test_thumbs_are_rewards_of_two_values(low, step):
    """Prompts of 1 and 3 rows count alike: shares of 1 and of 1/3."""
    rows = rows_of([0.1, 0.2, -0.1, 0.0], [1.0, 1.0, low, low], [0, 1, 1, 1])
    assert thumbs_of(rows) == Thumbs(pytest.approx(2 / 3), step)
    assert thumbs_of(rows_of([0.1, 0.2], [1.0, 2.0])) is None


def test_the_summary_has_the_findings_that_decide():
    assert LEARNED.summary() == [LEARNED.sentences()[0], LEARNED.sentences()[-2]]
    assert LEARNED.sentences()[-2].endswith("[+.012, +.101].")


@pytest.mark.parametrize(("by", "needed"), [("pairs", 90), ("rows", 170)])
def test_few_report_prompts_say_nothing_but_evidence(by, needed):
    """The half-widths .052 and .072 at 80 prompts are .05 at 80 (.052 / .05)² = 87 and 80 (.072 / .05)² = 166."""
    few = replace(CHANCE, prompts=19, by=by)
    expected = (
        "19 report prompts are too few to say whether the policy ranks responses as the feedback does: about "
        f"{needed} are needed, and more for a small effect."
    )
    assert few.summary() == few.sentences() == [expected]
    assert "no evidence" in said(CHANCE, prompts=20, by=by)
    assert replace(LEARNED, prompts=19).sentences() == [LEARNED.sentences()[0].replace("96", "19")]


def test_next_steps_follow_the_doubts():
    length = replace(LEARNED, shorter=estimate(0.7, 0.65, 0.75), partial_correlation=estimate(0.02, -0.05, 0.09))
    none = replace(LEARNED, gain=None, no_gain="the rows come from another model.")
    assert LEARNED.next_steps(measured=False) == []
    assert ["--objective sft" in step for step in length.next_steps(measured=False)] == [True]
    assert ["--reward-function" in step for step in none.next_steps(measured=False)] == [True]
    assert none.next_steps(measured=True) == []
    assert ["at least 90 prompts" in step for step in replace(none, prompts=19).next_steps(measured=False)] == [True]
