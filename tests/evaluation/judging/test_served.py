"""`valuefree judge` through `transformers serve` with SmolLM2-135M-Instruct: a real, weak judge."""

import json
import math

import pytest

from valuefree.cli import main as cli
from valuefree.evaluation import LocalJudge, ServerJudge, judge
from valuefree.evaluation.judging.backends import Settings
from valuefree.evaluation.judging.cache import JudgementCache
from valuefree.evaluation.judging.judge import Protocol
from valuefree.evaluation.judging.prompts import PROMPTS
from valuefree.models.load import load_model

PAIRS = [
    ("What is the capital of France?", "The capital of France is Paris.", "Fish swim in the sea."),
    ("Name a fruit.", "An apple.", "A hammer is a tool for driving nails."),
    ("What colour is the sky on a clear day?", "Blue.", "The sky is where birds fly."),
]
PROMPTS_, GOOD, BAD = (list(column) for column in zip(*PAIRS, strict=True))


@pytest.mark.slow
def test_a_real_judge_is_asked_in_both_orders_and_resumed(smollm2_server, tmp_path, capsys):
    for name, texts in (("good", GOOD), ("bad", BAD)):
        rows = [{"prompt": p, "response": r} for p, r in zip(PROMPTS_, texts, strict=True)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ["judge", str(tmp_path / "good.jsonl"), str(tmp_path / "bad.jsonl"), "--judge", smollm2_server.model]
    command += ["--server", smollm2_server.address, "--concurrency", "2", "--out", str(tmp_path / "run")]
    cli.run(command)
    said = capsys.readouterr().out
    (pair,) = json.loads((tmp_path / "run/judge.json").read_text())["runs"][0]["pairs"]
    assert pair["asked"]["answered"] == pair["asked"]["requests"] == 6
    assert pair["asked"]["input_tokens"] > 6 * 100  # the server's own counts
    assert pair["fallbacks"] == {"no probabilities came with the answer": 6}  # it sends none, with status 200
    assert "the first position is picked" in said
    cli.run(command)
    (pair,) = json.loads((tmp_path / "run/judge.json").read_text())["runs"][0]["pairs"]
    assert (pair["asked"]["cached"], pair["asked"]["requests"]) == (6, 0)


@pytest.mark.slow
def test_the_server_and_the_same_weights_in_this_process_say_the_same(smollm2_server):
    served = ServerJudge(smollm2_server.model, server=smollm2_server.address, name="m", concurrency=1)
    local = LocalJudge(*load_model(smollm2_server.model), name="m")
    questions = ["Say A or B: which letter comes first?", "Which answer is better?\nA: Paris.\nB: Berlin.\nSay A or B."]
    settings = Settings(max_new_tokens=12)
    there, here = (judge_.ask(questions, settings) for judge_ in (served, local))
    assert [reply.text.strip() for reply in there] == [reply.text.strip() for reply in here]
    assert [reply.input_tokens for reply in there] == [reply.input_tokens for reply in here]
    for reply in here:
        token, logprob = max(reply.top, key=lambda entry: entry[1])
        assert reply.text.strip().startswith(token.strip())
        assert math.exp(logprob) <= 1


def test_what_a_real_model_says_instead_of_a_letter_is_no_verdict(smollm2):
    """To the paper's prompt it answers the instruction itself, "A hammer is a tool …" among others: A is an article.

    The labels have less than half of the probability, so the text is read, and every opinion says so.
    """
    local = LocalJudge(*load_model(str(smollm2)), name="m")
    answers = judge(PROMPTS_, GOOD, BAD, backend=local, protocol=Protocol(prompt=PROMPTS["paper"], max_new_tokens=8))
    opinions = [opinion for pair in answers.comparisons for opinion in pair.opinions]
    assert [opinion.verdict for opinion in opinions] == [None] * 6
    assert {(opinion.source, opinion.fallback) for opinion in opinions} == {
        ("text", "the labels have less than half of the probability")
    }
    cache = JudgementCache()
    cache.salt = "s"  # else the delimiters are others each time, and so may be what a weak judge says
    protocol = Protocol(max_new_tokens=8)
    guarded = judge(PROMPTS_[:1], GOOD[:1], BAD[:1], backend=local, protocol=protocol, cache=cache)
    assert guarded.comparisons[0].category == "disagreement"  # it says A in both orders
    assert guarded.first_position_rate().value == 1.0
