"""Generation through a server: what is sent, and what becomes of every kind of bad answer."""

import builtins
import json
import logging
import sys
import threading

import openai._base_client
import pytest

from evaluation.judging.bad_server import (
    BadServer,
    broken,
    busy,
    cut,
    cut_within,
    fine,
    html,
    no_choice,
    no_json,
    no_text,
    other_json,
    refused,
    status,
    too_long,
    unknown_model,
)
from valuefree.cli import main as cli
from valuefree.cli.options.generate import GenerateConfig
from valuefree.errors import ConfigError, DataError, ServingError
from valuefree.evaluation import openai_client
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.openai_client import generate_remote, request_options

KEY = "sk-of-the-test"
DEFAULTS = {"max_retries": 2, "api_key_env": "OPENAI_API_KEY"}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 1e-3)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 1e-3)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with BadServer() as it:
        yield it


def ask(server, prompts, decoding=None, **settings):
    return generate_remote(
        prompts, server=server.address, model="m", decoding=decoding or Decoding(), **DEFAULTS | settings
    )


def test_answers_come_in_the_order_of_the_prompts(server):
    prompts = [f"prompt {number}" for number in range(20)]
    assert ask(server, prompts, concurrency=5) == [f"answer to {prompt}" for prompt in prompts]
    assert {asked.path for asked in server.asked} == {"/v1/chat/completions"}


def test_the_request_carries_messages_and_decoding(server):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    ask(server, [messages, "plain"], Decoding(max_new_tokens=7, temperature=0.5, top_k=9, top_p=0.8), concurrency=1)
    first, second = server.bodies
    assert first["messages"] == messages
    assert second["messages"] == [{"role": "user", "content": "plain"}]
    sent = {name: first[name] for name in ("model", "max_tokens", "temperature", "top_k", "top_p")}
    assert sent == {"model": "m", "max_tokens": 7, "temperature": 0.5, "top_k": 9, "top_p": 0.8}
    assert "repetition_penalty" not in first


def test_what_is_off_is_not_sent():
    assert request_options(Decoding(top_k=0, top_p=1.0))["extra_body"] is None
    greedy = request_options(Decoding(temperature=0.0, repetition_penalty=1.2))
    assert (greedy["temperature"], greedy["top_p"], greedy["extra_body"]) == (0.0, 1.0, {"repetition_penalty": 1.2})


def test_a_seed_depends_on_the_prompt_and_not_on_its_company(server):
    ask(server, ["a", "b", "b"], concurrency=1)
    ask(server, ["b"], concurrency=1)
    ask(server, ["b"], Decoding(seed=1), concurrency=1)
    a, b, again, alone, other = (request["seed"] for request in server.bodies)
    assert len({a, b, again, other}) == 4
    assert b == alone
    assert all(0 <= seed < 2**31 for seed in (a, b, again, other))


@pytest.mark.parametrize("day", [broken, busy(), cut, cut_within], ids=lambda day: day.__name__)
def test_a_bad_day_that_passes_is_tried_again(server, day):
    server.days["p"] = [day, day, fine()]
    assert ask(server, ["p"]) == ["answer to p"]
    assert server.times["p"] == 3


@pytest.mark.parametrize(
    ("day", "tries", "words"),
    [
        (broken, 3, "out of memory"),
        (busy(), 3, "429"),
        (cut, 3, "Connection error"),
        (cut_within, 3, "Connection error"),
        (too_long, 1, "the prompt is too long"),
        (html, 1, "Please log in"),
        (no_json, 1, ""),
        (other_json, 1, "no chat completion"),
        (no_choice, 1, "no chat completion"),
        (no_text, 1, "a choice without text"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_day_that_stays_is_none_and_counted(server, caplog, day, tries, words):
    server.days["p"] = [day]
    with caplog.at_level(logging.WARNING, logger="valuefree"):
        assert ask(server, ["p", "q"]) == [None, "answer to q"]
    assert server.times["p"] == tries
    assert "1 of 2 prompts have no answer (first error: " in caplog.text
    assert words in caplog.text


def test_a_server_that_does_not_know_top_k_is_not_asked_again_and_again(server):
    """`transformers serve` answers 422 to fields that openai does not define; the error says what to leave off."""
    server.behaviours = [status(422, "Unexpected fields in the request: {'top_k'}")]
    with pytest.raises(ConfigError, match=r"may not know top_k: .*Leave them off \(top_k 0"):
        ask(server, ["p", "q", "r"], concurrency=1)
    assert len(server.asked) <= 2  # the next one may be under way
    assert ask(server, ["p"], Decoding(top_k=0)) == [None]


def test_an_empty_answer_is_an_answer(server):
    server.days["p"] = [fine("")]
    assert ask(server, ["p"]) == [""]


def test_a_slow_try_is_given_up(server):
    late = threading.Event()
    server.days["p"] = [lambda handler, asked: late.wait(5), fine()]
    assert ask(server, ["p"], timeout_seconds=0.05) == ["answer to p"]
    late.set()


def test_a_server_that_is_gone_is_not_asked_for_everything(server, monkeypatch):
    monkeypatch.setattr(openai_client, "FAILURES_IN_A_ROW", 3)
    server.days = {f"p{number}": [broken] for number in range(100)}
    prompts = ["fine", *server.days]
    assert ask(server, prompts, concurrency=1, max_retries=0) == ["answer to fine", *[None] * 100]
    assert len(server.bodies) < 10


def test_repeated_requests_are_told_once_per_repetition(server, caplog):
    server.days = {name: [broken, broken, fine()] for name in ("p", "q")}
    assert ask(server, ["p", "q"], max_retries=2) == ["answer to p", "answer to q"]
    told = [record.getMessage() for record in caplog.records if "a request to" in record.getMessage()]
    assert [text.rsplit(": ", 1)[1] for text in told] == ["try 2 of 3", "try 3 of 3"]


@pytest.mark.parametrize("day", [refused, unknown_model], ids=lambda day: day.__name__)
def test_a_refusal_stops_at_once_and_keeps_the_key_to_itself(server, day):
    server.days["p"] = [day]
    with pytest.raises(ConfigError, match="refuses model 'm'") as raised:
        ask(server, ["p"])
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"concurrency": 0}, "concurrency=0"),
        ({"timeout_seconds": 0.0}, "timeout_seconds=0"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"api_key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY .* is not set"),
        ({"decoding": Decoding(no_repeat_ngram_size=3)}, "no_repeat_ngram_size=3"),
        ({"server": "localhost:8000"}, "expected an address"),
    ],
)
def test_settings_that_cannot_be_meant(settings, words):
    with pytest.raises(ConfigError, match=words):
        generate_remote(["p"], **{"server": "http://127.0.0.1:1/v1", "model": "m", "decoding": Decoding()} | settings)


def test_without_openai_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "openai":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'valuefree\[serving\]'"):
        generate_remote(["p"], server="http://127.0.0.1:1/v1", model="m", decoding=Decoding())


# ------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def job(server, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("one\ntwo\nthree\n")
    out = tmp_path / "new" / "answers.jsonl"
    return [
        "generate",
        str(prompts),
        "--server",
        server.address,
        "--model",
        "m",
        "--max-retries",
        "1",
        "--out",
        str(out),
    ], out


def answers(out):
    return [(row["prompt"], row["response"]) for row in map(json.loads, out.read_text().splitlines())]


def test_the_verb_writes_every_answer(job, capsys):
    arguments, out = job
    cli.run(arguments)
    assert answers(out) == [(prompt, f"answer to {prompt}") for prompt in ("one", "two", "three")]
    assert f"written: {out}" in capsys.readouterr().out


def test_the_verb_sends_top_k_only_where_it_is_given(job, server):
    """The interface has no such field, and `transformers serve` refuses it."""
    arguments, _ = job
    cli.run(arguments)
    assert all("top_k" not in body for body in server.bodies)
    with pytest.raises(ConfigError, match=r"answers.jsonl exists. Name another file by --out, or pass --overwrite"):
        cli.run([*arguments, "--top-k", "50"])
    cli.run([*arguments, "--top-k", "50", "--overwrite"])
    assert server.bodies[-1]["top_k"] == 50


def test_the_verb_keeps_the_answers_it_has_and_resumes(job, server, monkeypatch, capsys):
    arguments, out = job
    server.days["two"] = [broken, broken, fine()]
    monkeypatch.setattr(sys, "argv", ["valuefree", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "1 of 3 prompts have no answer (first error: InternalServerError" in error
    assert KEY not in error
    assert [prompt for prompt, _ in answers(out)] == ["one", "three"]
    cli.run([*arguments, "--resume"])
    assert [prompt for prompt, _ in answers(out)] == ["one", "three", "two"]
    assert (server.times["one"], server.times["three"]) == (1, 1)
    cli.run([*arguments, "--resume"])
    assert len(server.bodies) == 5


@pytest.mark.parametrize(
    "end", ["answer to thré".encode()[:-1], b"answer {to}", b'answer to three"', b'answer to three"}']
)
def test_resume_drops_a_line_that_was_cut(end, job):
    """In the middle of a character, behind a brace of the answer, before the end, and before the line break alone."""
    arguments, out = job
    cli.run(arguments)
    whole = out.read_bytes()
    out.write_bytes(whole[: whole.rindex(b"answer to three")] + end)
    cli.run([*arguments, "--resume"])
    assert out.read_bytes() == whole


def test_resume_asks_messages_and_odd_lines_once(server, tmp_path):
    rows = [
        {"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "line\u2028break\nand more"}]},
        {"prompt": "plain"},
    ]
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    prompts.write_text("\n".join(json.dumps(row) for row in rows))
    arguments = ["generate", str(prompts), "--server", server.address, "--model", "m", "--out", str(out)]
    cli.run([*arguments, "--resume"])
    cli.run([*arguments, "--resume"])
    assert len(server.bodies) == 2


def test_resume_refuses_another_kind_of_file(job):
    arguments, out = job
    out.parent.mkdir()
    out.write_text('{"text": "a novel"}\n')
    with pytest.raises(Exception, match="not a file of responses"):
        cli.run([*arguments, "--resume"])
    assert out.read_text() == '{"text": "a novel"}\n'


@pytest.mark.parametrize(
    "content",
    [
        b"a novel without a last line break",
        b'{"prompt": "one", "response": "r", "reward": 1}',
        b'{"prompt": "one", "response": "r", "reward": 1}\n',
        b'{"prompt": "one", "response": 3}\n',
        b"[" * 100_000 + b"\n",
        b'[\n{"prompt": "one", "response": "r"}\n]',
        b"\x89PNG\r\n\x1a\n\x00",
    ],
)
def test_resume_leaves_a_foreign_file_byte_for_byte(job, server, content):
    """The second case may have been cut, but its whole line has a field that answers have not."""
    arguments, out = job
    out.parent.mkdir()
    out.write_bytes(content)
    with pytest.raises(DataError, match=r"not a file of responses .* it is left as it is"):
        cli.run([*arguments, "--resume"])
    assert out.read_bytes() == content
    assert not server.bodies


def test_the_key_is_in_no_setting(job, capsys):
    arguments, _ = job
    cli.run([*arguments, "--dry-run"])
    printed = capsys.readouterr().out
    assert "server: " in printed
    assert KEY not in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"server": "http://x/v1", "dtype": "bfloat16"}, "nothing reads --dtype: with --server"),
        ({"concurrency": 2}, "nothing reads --concurrency: without --server"),
        ({"resume": True, "out": "outputs.json"}, "only JSON Lines can be added to"),
    ],
)
def test_contradictions_name_both(options, words):
    with pytest.raises(ConfigError, match=words):
        GenerateConfig(prompts="p.txt", **options)


def test_a_failed_prompt_is_an_error_of_its_own_class():
    assert issubclass(ServingError, RuntimeError)
