"""What is asked, and what it may cost."""

import threading

import pytest

from evaluation.judging.judges import says
from valuefree.errors import ConfigError
from valuefree.evaluation import judge
from valuefree.evaluation.judging.asking import FAILURES_IN_A_ROW, Call, Prices, ask_all, estimate
from valuefree.evaluation.judging.backends import Reply, Settings, estimated_tokens
from valuefree.evaluation.judging.cache import JudgementCache
from valuefree.evaluation.judging.judge import Protocol
from valuefree.evaluation.judging.tables import pair_rows


class Metered:
    """A judge of 100 tokens a question and 10 an answer, `under_way` at most at a time, that fails where told to."""

    name, revision, probabilities, batch_size = "metered", "1", False, 1

    def __init__(self, *, concurrency=1, together=False, fails=lambda question: False, sent=1):
        self.concurrency, self.fails, self.sent = concurrency, fails, sent
        self.asked, self.most, self.now = [], 0, 0
        self.lock = threading.Lock()
        self.together = threading.Barrier(concurrency) if together else None

    def tokens(self, question):
        return 100

    def ask(self, questions, settings):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.asked += questions
        if self.together is not None:
            self.together.wait(timeout=20)
        with self.lock:
            self.now -= 1
        if self.fails(questions[0]):
            return [Reply(None, "failed", sent=self.sent)]
        return [Reply("A", input_tokens=100, output_tokens=10, sent=self.sent)]


def calls(number):
    return [Call(f"k{i}", "ab", f"q{i}") for i in range(number)]


SETTINGS = Settings(max_new_tokens=20)
PRICE = {"per_million_input": 1e4, "per_million_output": 1e5}  # 1 a question, 1 an answer of 10 tokens


def test_the_estimate_counts_what_the_cache_lacks():
    """3 of 5 left, 100 tokens in and 20 out each: 300 · .01 + 60 · .1 = 3 + 6."""
    cache = JudgementCache()
    ask_all(calls(2), Metered(), cache, SETTINGS)
    found = estimate(calls(5) + calls(1), Metered(), cache, SETTINGS, Prices(**PRICE))
    assert (found.calls, found.cached, found.input_tokens, found.output_tokens) == (5, 2, 300, 60)
    assert found.cost == pytest.approx(9.0)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_no_call_that_could_exceed_the_cap_is_made(concurrency):
    """An answer costs 2, and may cost 3 before it is there: under a cap of 9 at most four are made, and 8 is spent."""
    judge = Metered(concurrency=concurrency)
    asked = ask_all(calls(20), judge, JudgementCache(), SETTINGS, prices=Prices(**PRICE, cap=9.0))
    assert asked.cost <= 9.0
    assert (asked.answered, asked.not_asked) == (4, 16)
    assert asked.answered == len(judge.asked)
    assert "spending cap of 9" in asked.stopped


def test_failures_are_charged_with_what_they_may_have_cost():
    """Three requests for one failure: 3 × 100 tokens in."""
    asked = ask_all(calls(1), Metered(fails=lambda q: True, sent=3), JudgementCache(), SETTINGS, prices=Prices(**PRICE))
    assert (asked.failed, asked.requests, asked.input_tokens, asked.output_tokens) == (1, 3, 300, 0)
    assert asked.cost == pytest.approx(3.0)


def test_tokens_that_are_guessed_are_labelled_so():
    """A function counts none: questions are guessed at, answers count with the cap. A judge's own counts are plain."""
    own = judge(["p"], ["a"], ["b"], backend=Metered(), protocol=Protocol(max_new_tokens=20))
    assert (own.asked.estimated, dict(pair_rows(own))["requests, tokens in, tokens out"]) == (0, "2, 200, 20")
    backend, _ = says(lambda first, second: "A")
    guessed = judge(["p"], ["a"], ["b"], backend=backend, protocol=Protocol(max_new_tokens=20))
    label = "requests, tokens in (about), tokens out (at most)"
    said = f"2, {guessed.asked.input_tokens}, 40; estimated in 2 calls"
    assert (guessed.asked.estimated, dict(pair_rows(guessed))[label]) == (2, said)
    again = ask_all(calls(1), Metered(sent=2), JudgementCache(), SETTINGS)
    assert again.estimated == 1  # what the failed try cost is a guess


def test_as_many_as_allowed_are_under_way():
    judge = Metered(concurrency=4, together=True)  # each call waits for three others
    asked = ask_all(calls(8), judge, JudgementCache(), SETTINGS)
    assert (judge.most, asked.answered, len(set(judge.asked))) == (4, 8, 8)


def test_a_judge_that_is_gone_is_not_asked_for_ever():
    judge = Metered(fails=lambda question: True)
    asked = ask_all(calls(100), judge, JudgementCache(), SETTINGS)
    assert asked.failed == len(judge.asked) == FAILURES_IN_A_ROW
    assert (asked.not_asked, asked.missing) == (100 - FAILURES_IN_A_ROW, 100)
    assert "failures in a row" in asked.stopped


def test_failures_that_are_few_stop_nothing():
    judge = Metered(fails=lambda question: question.endswith("7"))
    asked = ask_all(calls(100), judge, JudgementCache(), SETTINGS)
    assert (asked.answered, asked.failed, asked.stopped) == (90, 10, None)


def test_a_judge_that_cannot_be_asked_ends_the_run_and_keeps_what_came():
    def answer(first, second):
        return 7 if first == "c" else "A"

    judge, _ = says(answer)
    cache = JudgementCache()
    shown = "<BEGIN RESPONSE A n>\n{}\n<END RESPONSE A n><BEGIN RESPONSE B n>\nz\n<END RESPONSE B n>"
    todo = [Call(text, "ab", shown.format(text)) for text in "abcd"]
    with pytest.raises(ConfigError, match="gave int"):
        ask_all(todo, judge, cache, SETTINGS)
    assert {"a", "b"} <= set(cache.answers)


def test_an_exception_of_a_judge_function_is_passed_on_with_what_is_kept(tmp_path):
    """After two answers; the type stays, so that its traceback is read."""
    judge, _ = says(lambda first, second: KeyError("my fault") if first == "c" else "A")
    shown = "<BEGIN RESPONSE A n>\n{}\n<END RESPONSE A n><BEGIN RESPONSE B n>\nz\n<END RESPONSE B n>"
    todo = [Call(text, "ab", shown.format(text)) for text in "abcd"]
    for file, where in ((tmp_path / "c.jsonl", f"kept in {tmp_path / 'c.jsonl'}"), (None, "kept in no file")):
        with JudgementCache(file) as cache, pytest.raises(KeyError, match="my fault") as error:
            ask_all(todo, judge, cache, SETTINGS)
        (note,) = error.value.__notes__
        assert f"Answers so far: 2, {where}" in note


def test_no_answer_of_a_judge_function_is_a_failed_call():
    judge, _ = says(lambda first, second: None if first == "c" else "A")
    shown = "<BEGIN RESPONSE A n>\n{}\n<END RESPONSE A n><BEGIN RESPONSE B n>\nz\n<END RESPONSE B n>"
    asked = ask_all([Call(t, "ab", shown.format(t)) for t in "abcd"], judge, JudgementCache(), SETTINGS)
    assert (asked.answered, asked.failed, asked.first_error) == (3, 1, "scripted gave no answer (None)")


@pytest.mark.parametrize("prices", [{"per_million_input": -1.0}, {"cap": 5.0}])
def test_prices_that_say_nothing_are_refused(prices):
    with pytest.raises(ConfigError):
        Prices(**prices)


@pytest.mark.parametrize("settings", [{"max_new_tokens": 0}, {"temperature": -1.0}])
def test_settings_that_cannot_be_meant_are_refused(settings):
    with pytest.raises(ConfigError):
        Settings(**settings)


def test_the_tokens_of_a_question_count_its_codes_by_character_and_the_chat_template():
    """32 of the template; "END ", " x" and "." are 8 characters or 2 tokens; the code a018d37d has 8."""
    assert estimated_tokens("END a018d37d ok.") == 32 + 8 + 2
