"""A judge behind a server, on good days and bad: no verdict invented, none lost, none paid twice."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import openai._base_client
import pytest

from evaluation.judging.bad_server import (
    WRONG_LOGPROBS,
    BadServer,
    broken,
    busy,
    choice,
    completion,
    cut,
    cut_within,
    detail,
    fine,
    html,
    huge,
    no_choice,
    no_json,
    no_text,
    other_json,
    pinned,
    refused,
    refuses_logprobs,
    silent,
    too_long,
    unknown_model,
)
from valuefree.cli import main as cli
from valuefree.errors import JudgeError
from valuefree.evaluation import ServerJudge, judge
from valuefree.evaluation.judging.asking import Prices
from valuefree.evaluation.judging.backends import Settings

SURE_A = [{"A": math.log(0.9), "B": math.log(0.1)}]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 0.02)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def asks(server, **settings):
    return ServerJudge("m", server=server.address, **({"timeout_seconds": 0.4, "max_retries": 2} | settings))


def compare(server, pairs=1, **settings):
    prompts = [f"question {i}" for i in range(pairs)]
    kept = {name: settings.pop(name) for name in ("cache", "protocol", "prices") if name in settings}
    return judge(prompts, ["one"] * pairs, ["two"] * pairs, backend=asks(server, **settings), **kept)


# good days


def test_what_is_sent_is_the_question_and_nothing_of_its_own():
    with BadServer(fine("B", logprobs=[{"B": -0.01}])) as server:
        reply = asks(server).ask(["which?"], Settings(max_new_tokens=7))[0]
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "which?"}],
            "temperature": 0.0,
            "max_tokens": 7,
            "logprobs": True,
            "top_logprobs": 20,
        }
    ]
    assert (reply.text, reply.top, reply.sent, reply.input_tokens) == ("B", [("B", -0.01)], 1, 1)


def test_probabilities_of_the_server_are_read():
    with BadServer(fine("A", logprobs=SURE_A)) as server:
        result = compare(server)
    assert [opinion.source for pair in result.comparisons for opinion in pair.opinions] == ["probabilities"] * 2
    assert result.expected_win_rate().value == pytest.approx(0.5)
    assert result.comparisons[0].opinions[0].expected_score == pytest.approx(0.9)


def test_a_server_without_log_probabilities_is_asked_for_text_from_then_on():
    with BadServer(refuses_logprobs(fine("A is the correct answer."))) as server:
        result = compare(server, pairs=3, concurrency=1)
    assert server.counts == {400: 1, 200: 6}
    assert result.coverage == 1
    assert result.fallbacks() == {"no probabilities came with the answer": 6}


@pytest.mark.parametrize("name", WRONG_LOGPROBS)
def test_wrong_log_probabilities_make_no_verdict(name):
    """The text says B; whatever the numbers are, the verdict is the text's, and the fallback is counted."""
    with BadServer(fine("B", logprobs=WRONG_LOGPROBS[name])) as server:
        result = compare(server)
    assert [opinion.verdict for opinion in result.comparisons[0].opinions] == ["second", "second"]
    assert sum(result.fallbacks().values()) == 2


# bad days

PASSING = {  # the client tries again by itself
    "busy": busy(retry_after=0),
    "broken": broken,
    "cut": cut,
    "cut_within": cut_within,
    "silent": silent(60),
}
LASTING = {  # an answer, but none that holds a verdict or even a text; the next run asks again
    "html": html,
    "no_json": no_json,
    "other_json": other_json,
    "no_choice": no_choice,
    "no_text": no_text,
    "huge": huge(5_000_000, end="\nFinal verdict: A"),
    "too_long": too_long,
}


@pytest.mark.parametrize("day", PASSING)
def test_a_passing_fault_is_tried_again_and_answered_once(day):
    with BadServer(PASSING[day], fine("A")) as server:
        reply = asks(server).ask(["which?"], Settings())[0]
    assert (reply.text, reply.error, reply.sent) == ("A", None, 2)
    assert server.counts[200] == 1


def test_retry_after_is_honoured():
    with BadServer(busy(retry_after=0.8), fine("A")) as server:
        asks(server).ask(["which?"], Settings())
    assert server.asked[1].at - server.asked[0].at >= 0.79


@pytest.mark.parametrize("day", [*PASSING, *LASTING])
def test_a_lasting_fault_is_a_failure_and_no_verdict(day):
    behaviour = (PASSING | LASTING)[day]
    with BadServer(behaviour) as server:
        result = compare(server)
    assert (result.coverage, result.asked.failed, result.win_rate()) == (0.0, 2, None)
    assert result.asked.requests == len(server.asked)
    assert len(result.asked.first_error) < 1000


def test_all_bad_days_at_once_and_the_next_run_asks_for_what_is_missing(tmp_path):
    """22 questions, each with a fault of its own first; after two runs every question has one whole answer, kept."""
    days = [*PASSING.values(), *(day for day in LASTING.values() if day is not too_long)]
    first_time: Counter[str] = Counter()

    def choose(asked):
        number = int(re.search(r"question (\d+)", asked.text)[1])
        first_time[asked.text] += 1
        return days[number] if first_time[asked.text] == 1 else fine("B is better.")

    file = str(tmp_path / "cache.jsonl")
    with BadServer(choose=choose) as server:
        one = compare(server, pairs=11, cache=file, concurrency=4, timeout_seconds=2.0)
        assert (one.asked.answered, one.asked.failed) == (10, 12)
        assert one.coverage == pytest.approx(5 / 11)
        two = compare(server, pairs=11, cache=file, concurrency=4, timeout_seconds=2.0)
        assert (two.asked.cached, two.asked.answered, two.coverage) == (10, 12, 1.0)
        three = compare(server, pairs=11, cache=file)
        assert (three.asked.cached, three.asked.requests) == (22, 0)
    assert set(server.times.values()) == {2}  # its fault, and its answer
    assert two.win_rate().value == 0.5


def test_a_key_that_is_refused_ends_the_run_and_is_written_nowhere(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    with BadServer(refused) as server, pytest.raises(JudgeError) as error:
        compare(server, api_key_env="MY_KEY", cache=str(tmp_path / "c.jsonl"))
    written = "".join(file.read_text() for file in tmp_path.iterdir())
    assert "sk-very-secret" not in str(error.value) + written + caplog.text


OPENAI_400 = {"message": "Unsupported parameter: use 'max_completion_tokens'.", "code": "unsupported_parameter"}


def openai_400(handler, asked):
    handler.reply(400, json.dumps({"error": OPENAI_400}).encode())


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (unknown_model, "the model does not exist"),
        (pinned, "Server is pinned to 'other'; requested 'm'"),
        (detail(422, [{"loc": ["body", "model"], "msg": "no model m"}]), "no model m"),
        (openai_400, "max_completion_tokens"),
    ],
)
def test_what_every_question_would_meet_ends_the_run_at_once(day, words):
    """One request, no second one without log-probabilities; the message has model, address and the server's words."""
    with BadServer(day) as server, pytest.raises(JudgeError) as error:
        compare(server, pairs=50, concurrency=1)
    assert len(server.asked) == 1
    for said in (f"the server {server.address}/ refuses model 'm'", words, "--served-name"):
        assert said in str(error.value)
    assert "same command" not in str(error.value)


def test_a_refusal_of_one_question_ends_no_run_and_is_not_sent_twice():
    """Status 400 to one question of three, of the m's context or naming it: log-probabilities were taken before."""

    def choose(asked):
        long = "question 1" in asked.text
        return detail(400, "context of m is exceeded") if long else fine("A", logprobs=SURE_A)

    with BadServer(choose=choose) as server:
        result = compare(server, pairs=3, concurrency=1)
    assert (result.asked.answered, result.asked.failed, result.asked.requests) == (4, 2, 6)
    assert "context of m is exceeded" in result.asked.first_error
    with BadServer(fine("A"), pinned) as server:
        later = compare(server, pairs=3, concurrency=1)
    assert (later.asked.answered, later.asked.failed) == (1, 5)


def test_log_probabilities_refused_with_403_are_left_out():
    forbidden = detail(403, "You are not allowed to request logprobs from this model")
    with BadServer(choose=lambda asked: forbidden if asked.body.get("logprobs") else fine("A")) as server:
        result = compare(server, concurrency=1)
    assert (result.coverage, server.counts) == (1.0, {403: 1, 200: 2})


def test_a_run_that_ends_early_says_what_is_kept(tmp_path):
    """The key expires after three answers."""
    cache = tmp_path / "c.jsonl"
    with BadServer(fine("A"), fine("A"), fine("A"), refused) as server, pytest.raises(JudgeError) as error:
        compare(server, pairs=50, concurrency=1, cache=str(cache))
    assert f"Answers so far: 3, kept in {cache}" in str(error.value)
    with BadServer() as server:
        assert compare(server, pairs=50, cache=str(cache)).asked.cached == 3


def test_no_connection_names_the_address():
    with BadServer() as server:
        address = server.address
    reply = ServerJudge("m", server=address, timeout_seconds=0.4, max_retries=0).ask(["which?"], Settings())[0]
    assert reply.error == f"no connection to {address}/: APIConnectionError: Connection error."


def test_the_cap_holds_with_a_servers_own_counts():
    """A word of the question is a token: the run stops before the cap, and says how many calls are missing."""
    with BadServer(fine("A")) as server:
        prices = Prices(per_million_input=1e6, per_million_output=0, cap=1000)
        result = compare(server, pairs=40, prices=prices, concurrency=2)
    assert result.asked.cost <= 1000
    assert 0 < result.asked.answered == server.counts[200] < 80
    assert result.asked.not_asked == 80 - result.asked.answered


def test_a_server_that_changes_its_model_is_told_on():
    """Half of the answers say that another model gave them."""

    def answers_as(model):
        def behave(handler, asked):
            body = json.loads(completion([choice("A")]))
            handler.reply(200, json.dumps(body | {"model": model}).encode())

        return behave

    with BadServer(choose=lambda asked: answers_as("m-2" if "question 1" in asked.text else "m-1")) as server:
        result = compare(server, pairs=2)
    assert result.setup.served == ("m-1", "m-2")
    assert "several models: m-1, m-2" in result.report()


def test_no_more_requests_are_under_way_than_allowed():
    with BadServer(fine("A", wait_seconds=0.05)) as server:
        compare(server, pairs=10, concurrency=3)
    assert server.most_at_once == 3


# the command


def outputs(folder, pairs):
    for name in ("one", "two"):
        rows = [{"prompt": f"question {i}", "response": f"{name} {i}"} for i in range(pairs)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ["judge", str(folder / "one.jsonl"), str(folder / "two.jsonl"), "--judge", "m", "--out", str(folder / "run")]


def test_exit_status_and_summary_say_what_is_missing(tmp_path, capsys):
    command = outputs(tmp_path, 6)
    lost = "question 2"
    with BadServer(choose=lambda asked: broken if lost in asked.text else fine("A")) as server:
        command += ["--server", server.address, "--max-retries", "0"]
        with pytest.raises(JudgeError, match=r"2 calls without an answer \(InternalServerError.*out of memory"):
            cli.run(command)
        assert "83% judged" in capsys.readouterr().out
        lost = "nothing"
        cli.run(command)
    assert server.counts == {500: 2, 200: 12}
    found = json.loads((tmp_path / "run/judge.json").read_text())
    assert (found["missing_calls"], found["runs"][0]["pairs"][0]["coverage"]) == (0, 1.0)


def started(command):
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", "valuefree", *command], **pipes)


def test_killed_in_the_middle_it_makes_exactly_the_calls_that_were_missing(tmp_path):
    """SIGKILL after some of 60 answers; the next run asks for what the cache lacks, each once, and loses nothing."""
    cache = tmp_path / "run/judgements.jsonl"
    with BadServer(fine("A", wait_seconds=0.05)) as server:
        command = [*outputs(tmp_path, 30), "--server", server.address, "--concurrency", "2"]
        process = started(command)
        until = time.monotonic() + 60
        while server.counts[200] < 15 and time.monotonic() < until:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        time.sleep(0.3)  # answers under way arrive nowhere
        kept = {row["key"] for row in map(json.loads, cache.read_bytes().split(b"\n")[1:-1])}
        asked_before = len(server.asked)
        # What was answered and not kept was on its way at the kill: at most the two that were under way.
        assert 15 - 2 <= len(kept) <= asked_before <= len(kept) + 2
        process = started(command)
        _, complaints = process.communicate(timeout=120)
        assert process.returncode == 0, complaints
        assert len(server.asked) - asked_before == 60 - len(kept)
    rows = [json.loads(line) for line in cache.read_text().splitlines()[1:]]
    assert len(rows) == len({row["key"] for row in rows}) == 60
    assert sum(times == 2 for times in server.times.values()) == asked_before - len(kept)
    assert json.loads((tmp_path / "run/judge.json").read_text())["runs"][0]["pairs"][0]["coverage"] == 1.0
