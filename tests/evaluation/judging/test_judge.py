"""`judge`: both orders, what is unjudged stays so, and every rate by hand."""

import numpy as np
import pytest

from evaluation.judging.judges import down, prefers, says
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation import judge, judge_by_reward
from valuefree.evaluation.judging.cache import JudgementCache
from valuefree.evaluation.judging.judge import Protocol
from valuefree.evaluation.judging.labels import Labels
from valuefree.evaluation.judging.outcomes import CATEGORIES, count_categories
from valuefree.evaluation.judging.prompts import PROMPTS, JudgePrompt
from valuefree.evaluation.judging.tables import pair_rows
from valuefree.evaluation.stats import p_shown

# Seven pairs, one of each kind: what the judge says with the first system's answer shown first, and shown second.
KINDS = {
    "win": ("A", "B"),
    "loss": ("B", "A"),
    "neutral": ("Neutral", "Neutral"),
    "disagreement": ("A", "A"),
    "half win": ("A", "Neutral"),
    "half loss": ("Neutral", "A"),
    "unjudged": ("A", "no idea"),
}


def one_of_each(**settings):
    prompts = [f"p{i}" for i in range(7)]
    mine, theirs = [f"mine {kind}" for kind in KINDS], [f"theirs {kind}" for kind in KINDS]

    def answer(first, second):
        kind = first.split(" ", 1)[1]
        return KINDS[kind][0 if first.startswith("mine") else 1]

    backend, asked = says(answer)
    return judge(prompts, mine, theirs, backend=backend, **settings), asked


def test_every_kind_of_pair_is_counted_where_it_belongs():
    result, asked = one_of_each()
    assert count_categories(result.comparisons) == dict.fromkeys(CATEGORIES, 1)
    assert [pair.category for pair in result.comparisons] == list(KINDS)
    assert [pair.score for pair in result.comparisons] == [1, 0, 0.5, 0.5, 0.75, 0.25, None]
    assert len(asked) == result.asked.answered == 14


def test_rates_by_hand():
    """Judged 6 of 7: mean (1 + 0 + .5 + .5 + .75 + .25)/6 = .5; verdicts for the first (1 + 0 + 0 + .5 + .5 + 0)/6."""
    result, _ = one_of_each()
    assert result.coverage == pytest.approx(6 / 7)
    assert (result.win_rate().value, result.win_rate().n) == (pytest.approx(0.5), 6)
    assert result.preferred_rate().value == pytest.approx(2 / 6)
    assert result.bounds() == pytest.approx((3 / 7, 4 / 7))
    assert (result.outcomes().wins, result.outcomes().ties, result.outcomes().losses) == (2, 2, 2)
    # Of the verdicts that name a place, by prompt: win A, B; loss B, A; A, A; A; A; and A of the unjudged pair.
    assert result.first_position_rate().value == pytest.approx((0.5 + 0.5 + 1 + 1 + 1 + 1) / 6)
    assert result.flip_rate().value == pytest.approx(1 / 6)
    assert result.unread() == {"no label stands as an answer": 1}
    assert result.to_dict()["categories"]["unjudged"] == 1
    assert "1 of 7 pairs are unjudged" in result.report()


def test_four_won_and_six_tied_show_no_preference():
    """The interval of .7 excludes ½, but p of 4 : 0 is 2 / 2⁴ = .125."""
    result = judge([f"p{i}" for i in range(10)], ["long"] * 4 + ["s"] * 6, ["s"] * 10, backend=prefers(len))
    assert result.win_rate().interval[0] > 0.5
    first_line = result.report().splitlines()[0]
    assert first_line.endswith("4 / 6 / 0 (sign test p = 0.125); p is not below .05: no preference is shown.")


def test_a_judge_that_always_picks_the_first_place_shows_nothing():
    """In one order it would give 100 %; in both it gives ½ exactly, and the report says that it looks at places."""
    backend, _ = says(lambda first, second: "A")
    result = judge(["p", "q", "r"], ["a", "b", "c"], ["d", "e", "f"], backend=backend)
    assert result.win_rate().value == 0.5
    assert (result.first_position_rate().value, result.flip_rate().value) == (1.0, 1.0)
    assert "changes with the order in 3 of 3 pairs" in result.report()


@pytest.mark.parametrize(("pairs", "conclusion"), [(2, "no preference is shown"), (6, "this judge prefers A")])
def test_a_few_unanimous_prompts_show_no_preference(pairs, conclusion):
    """With two wins of two, ½ is as likely as not to do the same; from six on the sign test has p < .05."""
    result = judge([f"p{i}" for i in range(pairs)], ["long"] * pairs, ["s"] * pairs, backend=prefers(len))
    low, high = result.win_rate().interval
    assert (low > 0.5, high) == (pairs == 6, 1.0)
    first_line = result.report().splitlines()[0]
    assert conclusion in first_line
    assert f"{pairs} / 0 / 0 (sign test {p_shown(2 * 0.5**pairs)})" in first_line
    assert result.flip_rate().interval == pytest.approx((0.0, 1 - low))


def test_swapping_the_systems_mirrors_the_rate():
    prompts, one, two = [f"p{i}" for i in range(9)], ["x" * (i % 4) + "." for i in range(9)], ["xx"] * 9
    forth = judge(prompts, one, two, backend=prefers(len)).win_rate()
    back = judge(prompts, two, one, backend=prefers(len)).win_rate()
    assert forth.value == pytest.approx(1 - back.value)


def test_equal_and_empty_answers_are_decided_without_a_call():
    backend, asked = says(lambda first, second: "A")
    result = judge(["p"] * 4, ["same", "", "x", " "], ["same ", "y", "\n", ""], backend=backend)
    assert not asked
    assert [pair.decided for pair in result.comparisons] == ["identical", "empty", "empty", "identical"]
    assert [pair.score for pair in result.comparisons] == [0.5, 0.0, 1.0, 0.5]
    assert result.to_dict()["decided"] == {"identical": 2, "empty": 2}
    assert result.first_position_rate() is None


def test_a_failed_call_is_unjudged_and_never_neutral():
    backend, _ = says(down)
    result = judge(["p", "q"], ["a", "b"], ["c", "d"], backend=backend)
    assert (result.win_rate(), result.coverage, result.bounds()) == (None, 0.0, (0.0, 1.0))
    assert (result.asked.failed, result.asked.missing, result.asked.first_error) == (4, 4, "down")
    assert result.report().startswith("None of 2 pairs is judged")


def test_failures_are_asked_again_and_answers_are_not(tmp_path):
    texts = (["p", "q"], ["a", "b"], ["c", "d"])
    flaky, asked = says(lambda first, second: down("", "") if "b" in (first, second) else "A")
    with JudgementCache(tmp_path / "c.jsonl") as cache:
        first = judge(*texts, backend=flaky, cache=cache)
    assert (first.asked.answered, first.asked.failed) == (2, 2)
    works, asked = says(lambda first, second: "A")
    again = judge(*texts, backend=works, cache=str(tmp_path / "c.jsonl"))
    assert (again.asked.cached, again.asked.answered, len(asked), again.coverage) == (2, 2, 2, 1.0)
    third = judge(*texts, backend=works, cache=str(tmp_path / "c.jsonl"))
    assert (third.asked.cached, third.asked.answered, len(asked)) == (4, 0, 2)


def test_the_same_pair_twice_is_asked_once():
    backend, asked = says(lambda first, second: "A")
    result = judge(["p", "p"], ["a", "a"], ["b", "b"], backend=backend)
    assert (len(asked), len(result.judged), result.win_rate().n) == (2, 2, 1)


def test_prompts_are_the_units_of_the_interval():
    """Forty pairs on two prompts are two observations."""
    prompts = ["p"] * 20 + ["q"] * 20
    result = judge(prompts, ["long"] * 20 + ["s"] * 20, ["mid"] * 40, backend=prefers(len))
    assert (result.win_rate().value, result.win_rate().n) == (0.5, 2)
    low, high = result.win_rate().interval
    assert high - low > 0.9


def test_a_single_order_is_placed_by_seed_and_labelled():
    prompts, one, two = [f"p{i}" for i in range(40)], ["a"] * 40, ["b"] * 40
    backend, asked = says(lambda first, second: "A")
    result = judge(prompts, one, two, backend=backend, orders=1)
    assert len(asked) == 40
    placed = [pair.opinions[0].order for pair in result.comparisons]
    assert 10 < placed.count("ab") < 30
    assert "orders:1-random" in result.signature
    assert "One order only" in result.report()
    again = judge(prompts, one, two, backend=backend, orders=1)
    assert [pair.opinions[0].order for pair in again.comparisons] == placed
    other = judge(prompts, one, two, backend=backend, protocol=Protocol(orders=1, seed=1), orders=1)
    assert [pair.opinions[0].order for pair in other.comparisons] != placed
    with pytest.raises(ConfigError, match="orders"):
        judge(prompts, one, two, backend=backend, protocol=Protocol(), orders=1)


def test_a_reward_function_judges_without_asking():
    result = judge_by_reward(["p", "q", "r"], ["aa", "b", "cc"], ["a", "bb", "dd"], lambda p, r: [len(x) for x in r])
    assert [pair.category for pair in result.comparisons] == ["win", "loss", "neutral"]
    assert (result.win_rate().value, result.asked.requests, result.flip_rate()) == (0.5, 0, None)
    assert not any("without a call" in name for name, _ in pair_rows(result))
    empty = judge_by_reward(["p"], ["aa"], [""], lambda p, r: [-len(x) for x in r])
    assert empty.comparisons[0].category == "loss"  # an empty answer has a reward like any other
    assert "prompt:none" in result.signature


def test_the_signature_tells_protocols_apart():
    backend, _ = says(lambda first, second: "A")
    texts = (["p"], ["a"], ["b"])
    mine = JudgePrompt("mine", PROMPTS["guarded"].template, Labels.of("A,B,Tie"))
    protocols = [
        Protocol(),
        Protocol(prompt=mine),
        Protocol(temperature=1.0),
        Protocol(seed=1),
        Protocol(max_characters=9),
    ]
    assert len({judge(*texts, backend=backend, protocol=protocol).signature for protocol in protocols}) == 5


def test_reward_and_judge_agree_and_kappa_says_so():
    prompts, one, two = [f"p{i}" for i in range(12)], ["x" * (1 + i % 3) for i in range(12)], ["xx"] * 12
    by_judge = judge(prompts, one, two, backend=prefers(len))
    by_reward = judge_by_reward(prompts, one, two, lambda p, r: [len(x) for x in r])
    assert by_judge.agreement(by_reward).kappa.value == pytest.approx(1.0)
    reversed_ = judge_by_reward(prompts, one, two, lambda p, r: [-len(x) for x in r])
    # They agree on the four ties of twelve; labels are even for both, so chance agrees on a third: κ = 0.
    assert by_judge.agreement(reversed_).kappa.value == pytest.approx(0.0)
    with pytest.raises(DataError, match="same prompts"):
        by_judge.agreement(judge_by_reward(prompts[::-1], one, two, lambda p, r: [len(x) for x in r]))


def test_a_preference_for_length_is_told_from_a_preference():
    """P(win) = σ(difference in words), 1 word on average: the first system is ahead, but not at equal length."""
    rng = np.random.default_rng(0)
    prompts = [f"p{i}" for i in range(400)]
    lengths = {"x": rng.integers(6, 10, 400), "y": rng.integers(5, 9, 400)}
    one, two = (["w " * int(n) + f"{name}{i}" for i, n in enumerate(found)] for name, found in lengths.items())
    wins = {}
    for first, second, more in zip(one, two, lengths["x"] - lengths["y"], strict=True):
        wins[frozenset((first, second))] = first if rng.random() < 1 / (1 + np.exp(-more)) else second
    backend, _ = says(lambda first, second: "A" if wins[frozenset((first, second))] == first else "B")
    result = judge(prompts, one, two, backend=backend)
    controlled = result.length_controlled()
    assert result.win_rate().interval[0] > 0.55
    assert controlled.rate.interval[0] < 0.5 < controlled.rate.interval[1]
    assert controlled.correlation > 0.3


def test_a_judge_that_mostly_cannot_be_read_is_told_on():
    """Of eight answers none, six, or four can be read; a call that failed is no answer."""
    prompts, one, two = ["p", "q", "r", "s"], ["a", "b", "c", "d"], ["w", "x", "y", "z"]

    def report(says_so):
        backend, _ = says(lambda first, second: "A" if {first, second} & set(says_so) else "First, I consider")
        return judge(prompts, one, two, backend=backend).report()

    words = "of 8 answers cannot be read, most often because no label stands as an answer"
    assert f"8 {words}" in report("")
    assert "Verdicts are read as A, B, Neutral (--labels" in report("")
    assert f"6 {words}" in report("a")
    assert "cannot be read" not in report("ab")
    backend, _ = says(down)
    assert "cannot be read" not in judge(prompts, one, two, backend=backend).report()


@pytest.mark.parametrize("judging", [judge, judge_by_reward])
def test_a_response_that_is_no_text_is_named(judging):
    how = {"backend": prefers(len)} if judging is judge else {"reward_function": lambda p, r: [0.0] * len(r)}
    with pytest.raises(DataError, match=r"responses_b\[1\] is None, not text \(2 of 3 are not\)"):
        judging(["p", "q", "r"], ["a", "b", "c"], ["d", None, 3], **how)


@pytest.mark.parametrize("sizes", [(2, 1, 2), (0, 0, 0)])
def test_unequal_or_no_texts_are_refused(sizes):
    p, a, b = (["x"] * size for size in sizes)
    with pytest.raises(DataError, match="as many of each"):
        judge(p, a, b, backend=prefers(len))


def test_a_judge_without_probabilities_cannot_be_read_by_them():
    with pytest.raises(ConfigError, match="gives none"):
        judge(["p"], ["a"], ["b"], backend=prefers(len), protocol=Protocol(read="probabilities"))
