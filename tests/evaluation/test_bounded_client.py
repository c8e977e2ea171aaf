"""Answers without an end, enormous ones, redirects, and keys that a server repeats."""

import gzip
import json
import logging
import time

import openai._base_client
import pytest

from evaluation.judging.bad_server import BadServer, choice, completion, fine, status
from valuefree.cli import main as cli
from valuefree.errors import ConfigError, JudgeError
from valuefree.evaluation import ServerJudge, bounded_client
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.judging.backends import Settings
from valuefree.evaluation.openai_client import Answer, ask

KEY = "sk-of-the-test"


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 1e-3)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")


def answer(server, **settings):
    settings = {"api_key_env": "MY_KEY", "max_retries": 3} | settings
    return next(iter(ask(["p"], server=server.address, model="m", decoding=Decoding(), **settings)))


def flowing(piece, pause=0.0):
    """Sends the head of an answer, then pieces without an end."""

    def behave(handler, asked):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.close_connection = True
        while not handler.server.closing.wait(pause):
            try:
                handler.wfile.write(piece)
            except OSError:  # the client has hung up
                return

    return behave


def test_an_answer_of_a_byte_now_and_then_ends_in_time_and_is_not_asked_for_again():
    """A byte every 20 ms is never silent for the 0.2 s of a read; the whole answer may take 0.2 s."""
    with BadServer(flowing(b" ", 0.02)) as server:
        began = time.monotonic()
        found = answer(server, timeout_seconds=0.2)
    assert found == Answer(None, "RefusedAnswer: the answer began and did not end within 0.2 s")
    assert time.monotonic() - began < 5
    assert len(server.asked) == 1


def test_an_answer_without_an_end_is_read_up_to_its_bound(monkeypatch):
    monkeypatch.setattr(bounded_client, "MOST_BYTES", 100_000)
    with BadServer(flowing(b" " * 10_000)) as server:
        found = answer(server)
    assert found == Answer(None, "RefusedAnswer: the answer is longer than 100,000 bytes")
    assert len(server.asked) == 1


def test_a_judge_counts_such_answers_as_missing(monkeypatch):
    monkeypatch.setattr(bounded_client, "MOST_BYTES", 100_000)
    with BadServer(flowing(b" " * 10_000)) as server:
        (reply,) = ServerJudge("m", server=server.address).ask(["which?"], Settings())
    assert (reply.text, reply.error) == (None, "RefusedAnswer: the answer is longer than 100,000 bytes")


def test_a_compressed_answer_is_refused_unread():
    body = gzip.compress(completion([choice("x" * 10_000_000)]))
    with BadServer(lambda handler, asked: handler.reply(200, body, Content_Encoding="gzip")) as server:
        assert answer(server).error == "RefusedAnswer: the answer is compressed, which was not asked for"
    assert server.asked[0].headers["Accept-Encoding"] == "identity"


def test_deeply_nested_json_is_an_answer_without_text():
    with BadServer(lambda handler, asked: handler.reply(200, b"[" * 200_000)) as server:
        assert answer(server).error == "RefusedAnswer: the answer is JSON that is nested too deeply"


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_neither_prompt_nor_key_follows_a_redirect(code):
    with BadServer(fine()) as other, BadServer(status(code, "moved", Location=f"{other.address}/")) as server:
        with pytest.raises(ConfigError, match=f"the server redirects to {other.address}/, which is not followed"):
            answer(server)
        with pytest.raises(JudgeError, match="which is not followed"):
            ServerJudge("m", server=server.address).ask(["which?"], Settings())
    assert (len(server.asked), other.asked) == (2, [])


def test_the_key_of_openai_stays_here():
    with BadServer(fine("A")) as server:
        assert answer(server, api_key_env=None).text == "A"
        assert ServerJudge("m", server=server.address).ask(["which?"], Settings())[0].text == "A"
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer none"] * 2


def test_a_refusal_without_a_key_says_how_to_name_one():
    with BadServer(status(401, "no key")) as server:
        with pytest.raises(ConfigError, match="No key was sent; --api-key-env NAME"):
            answer(server, api_key_env=None)
        with pytest.raises(JudgeError, match="No key was sent; --api-key-env NAME"):
            ServerJudge("m", server=server.address).ask(["which?"], Settings())


ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in KEY)


@pytest.mark.parametrize(
    "body",
    [
        completion([choice(f"your key is {KEY}")]),
        completion([choice("your key is KEY")]).replace(b"KEY", ESCAPED.encode()),
    ],
    ids=["plain", "escaped"],
)
def test_a_key_in_an_answer_is_replaced_before_anything_reads_it(body, caplog):
    with BadServer(lambda handler, asked: handler.reply(200, body)) as server, caplog.at_level(logging.WARNING):
        assert answer(server).text == "your key is ***"
    assert "the server repeats the key" in caplog.text
    assert KEY not in caplog.text


def test_an_answer_that_repeats_a_short_key_as_a_word_stays_as_it_is(monkeypatch):
    """Servers without a key are often given one such as EMPTY."""
    monkeypatch.setenv("MY_KEY", "EMPTY")
    with BadServer(fine("The set is EMPTY.")) as server:
        assert answer(server).text == "The set is EMPTY."


def test_no_file_of_a_run_and_nothing_printed_holds_the_key(tmp_path, capsys):
    """The judge's answers, its model name, its tokens and an error page repeat the key."""
    for name, texts in (("a", ["x", "y"]), ("b", ["y", "z"])):
        rows = [json.dumps({"prompt": str(i), "response": text}) for i, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    tokens = {"content": [{"top_logprobs": [{"token": KEY, "logprob": -1}]}]}
    spilled = json.dumps(json.loads(completion([choice(f"A {KEY}", tokens)])) | {"model": KEY}).encode()

    def spill(handler, asked):
        handler.reply(200, spilled)

    with BadServer(spill, status(500, KEY), spill) as server:
        command = ["judge", f"a={tmp_path / 'a.jsonl'}", f"b={tmp_path / 'b.jsonl'}", "--judge", "m", "--server"]
        command += [server.address, "--api-key-env", "MY_KEY", "--max-retries", "0", "--out", str(tmp_path / "out")]
        with pytest.raises(JudgeError, match="1 call without an answer") as raised:
            cli.run([*command, "--concurrency", "1"])
    assert {asked.headers["Authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
    printed = capsys.readouterr()
    assert KEY not in str(raised.value) + printed.out + printed.err
    written = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert len(written) > 4
    assert [file for file, content in written.items() if KEY.encode() in content] == []
    assert b"A ***" in b"".join(written.values())
