"""What `transformers serve` does, as far as a judge relies on it."""

import json
import urllib.error
import urllib.request

import pytest

from evaluation.judging.real_server import real_server

QUESTION = [{"role": "user", "content": "Which answer is better?\nA: Paris.\nB: Berlin.\nSay A or B."}]


def post(address, **body):
    """Status and body of a chat completion."""
    data = json.dumps({"messages": QUESTION, "temperature": 0.0, "max_tokens": 8} | body).encode()
    request = urllib.request.Request(f"{address}/chat/completions", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.slow
def test_a_real_server_answers_counts_tokens_and_leaves_out_log_probabilities(smollm2_server):
    """It ignores `logprobs`, with status 200: that they are missing has to be read off the answer."""
    status, plain = post(smollm2_server.address, model=smollm2_server.model)
    assert status == 200
    assert plain["choices"][0]["message"]["content"].strip()
    assert plain["usage"]["prompt_tokens"] > 20
    assert 1 <= plain["usage"]["completion_tokens"] <= 8
    status, asked = post(smollm2_server.address, model=smollm2_server.model, logprobs=True, top_logprobs=20)
    assert status == 200
    assert asked["choices"] == plain["choices"]  # greedy: the same words, and nothing beside them
    assert not asked["choices"][0].get("logprobs")


@pytest.mark.slow
def test_it_accepts_one_name_of_a_model_and_no_field_that_openai_does_not_define(smollm2_server):
    status, body = post(smollm2_server.address, model="another")
    assert (status, "pinned to" in body["detail"]) == (400, True)
    status, body = post(smollm2_server.address, model=smollm2_server.model, top_k=5)
    assert (status, "top_k" in body["detail"]) == (422, True)


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path):
    """A folder without a model: it exits, and the error carries the end of its log."""
    with pytest.raises(RuntimeError, match="ended with") as raised, real_server(tmp_path, tmp_path / "log"):
        pass
    assert "Traceback" in str(raised.value) or "Error" in str(raised.value)
