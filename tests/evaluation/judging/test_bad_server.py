"""The server of the tests does what its names say, seen by a plain HTTP client."""

import http.client
import json
import math
import threading
import time
import urllib.error
import urllib.request

import pytest

from evaluation.judging.bad_server import (
    WRONG_LOGPROBS,
    BadServer,
    broken,
    busy,
    cut,
    cut_within,
    fine,
    html,
    huge,
    no_choice,
    no_json,
    no_text,
    refused,
    refuses_logprobs,
    silent,
    status,
    unknown_model,
)


def post(server, text="p", *, timeout=10.0, **more):
    """Status, headers and body of the answer."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
    request = urllib.request.Request(f"{server.address}/chat/completions", body, headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def said(server, text="p", **more):
    return json.loads(post(server, text, **more)[2])["choices"][0]["message"]["content"]


def test_behaviours_come_in_turn_and_the_last_for_good():
    with BadServer(busy(retry_after=3), broken, fine("A")) as server:
        answers = [post(server) for _ in range(4)]
    assert [code for code, _, _ in answers] == [429, 500, 200, 200]
    assert answers[0][1]["Retry-After"] == "3"
    assert server.counts == {429: 1, 500: 1, 200: 2}
    assert server.times == {"p": 4}


def test_behaviours_by_prompt_and_by_request():
    with BadServer(choose=lambda asked: fine(asked.body["model"] + asked.text)) as server:
        server.days["odd"] = [broken, fine("better")]
        assert said(server, "x") == "mx"
        assert post(server, "odd")[0] == 500
        assert [said(server, "odd"), said(server, "odd")] == ["better", "better"]
        assert said(server, "x") == "mx"


def test_requests_are_recorded():
    with BadServer() as server:
        before = time.monotonic()
        assert said(server, "first", seed=3) == "answer to first"
        said(server, "second")
    one, two = server.asked
    assert (one.number, one.text, one.body["seed"], one.path) == (0, "first", 3, "/v1/chat/completions")
    assert one.headers["Authorization"] == "Bearer secret"
    assert before <= one.at <= two.at <= time.monotonic()
    assert [body["messages"][0]["content"] for body in server.bodies] == ["first", "second"]


@pytest.mark.parametrize(
    ("behave", "code", "words"),
    [
        (status(400, "logprobs is not supported"), 400, b"logprobs is not supported"),
        (unknown_model, 404, b"does not exist"),
        (refused, 401, b"Bearer secret"),
        (html, 200, b"<html>"),
        (no_json, 200, b"{ not json"),
        (no_choice, 200, b'"choices": []'),
        (no_text, 200, b'"content": null'),
    ],
)
def test_bad_answers(behave, code, words):
    with BadServer(behave) as server:
        found, _, body = post(server)
    assert found == code
    assert words in body
    assert server.counts[code] == 1


def test_connections_are_cut_before_and_within_the_answer():
    with BadServer(cut, cut_within) as server:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError, urllib.error.URLError)):
            post(server)
        with pytest.raises(http.client.IncompleteRead):
            post(server)
        assert len(server.asked) == 2
        assert not server.counts


def expect_no_answer(server):
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError, urllib.error.URLError)):
        post(server, timeout=60)


def test_silence_ends_with_the_server():
    with BadServer(silent(60)) as server:
        with pytest.raises(TimeoutError):
            post(server, timeout=0.1)
        waiting = threading.Thread(target=expect_no_answer, args=(server,), daemon=True)
        waiting.start()
        while len(server.asked) < 2:
            time.sleep(0.01)
        started = time.monotonic()
    waiting.join(timeout=5)
    assert not waiting.is_alive()
    assert time.monotonic() - started < 5


def test_an_answer_of_five_megabytes():
    with BadServer(huge(end="B")) as server:
        text = said(server)
    assert len(text) == 5_000_001
    assert text.endswith("word B")


def test_usage_is_words_or_left_out():
    with BadServer(fine("A is better", usage=True), fine("A", usage=False)) as server:
        first, second = (json.loads(post(server, "two words")[2]) for _ in range(2))
    assert first["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert "usage" not in second


def test_log_probabilities_in_openais_form():
    with BadServer(refuses_logprobs(fine("A")), fine("A", logprobs=[{"A": -0.1, "B": -2.4}])) as server:
        assert post(server, logprobs=True)[0] == 400
        (position,) = json.loads(post(server, logprobs=True)[2])["choices"][0]["logprobs"]["content"]
    assert (position["token"], position["logprob"], position["bytes"]) == ("A", -0.1, [65])
    assert [(top["token"], top["logprob"]) for top in position["top_logprobs"]] == [("A", -0.1), ("B", -2.4)]
    with BadServer(refuses_logprobs(fine("A"))) as server:
        assert said(server) == "A"


@pytest.mark.parametrize("name", WRONG_LOGPROBS)
def test_wrong_log_probabilities_reach_the_client(name):
    with BadServer(fine("A", logprobs=WRONG_LOGPROBS[name])) as server:
        sent = json.loads(post(server)[2])["choices"][0]["logprobs"]
    if name == "nan":
        assert math.isnan(sent["content"][0]["logprob"])
    else:
        assert "content" in sent


def test_requests_at_once_are_counted():
    with BadServer(fine("A", wait_seconds=0.2)) as server:
        threads = [threading.Thread(target=post, args=(server,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.counts[200] == 5
    assert 2 <= server.most_at_once <= 5
