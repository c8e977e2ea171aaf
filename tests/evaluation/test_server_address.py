"""To whom a key is sent, and which addresses are refused without being shown."""

import pytest

from valuefree.cli.parse import parse
from valuefree.errors import ConfigError
from valuefree.evaluation.server_address import NO_KEY, key_for

OPENAI, MINE = "sk-of-openai", "sk-of-mine"


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", OPENAI)
    monkeypatch.setenv("MINE", f"{MINE}\n")
    monkeypatch.delenv("NONE_SET", raising=False)


@pytest.mark.parametrize(
    ("server", "named", "key"),
    [
        ("https://api.openai.com/v1", None, OPENAI),
        ("https://API.OpenAI.com:443/v1", None, OPENAI),
        ("https://api.openai.com.evil.example/v1", None, NO_KEY),
        ("https://openai.com/v1", None, NO_KEY),
        ("https://example.org/v1", None, NO_KEY),
        ("http://10.0.0.7:8000/v1", None, NO_KEY),
        ("http://localhost:8000/v1", None, NO_KEY),
        ("http://localhost:8000/v1", "MINE", MINE),
        ("http://127.0.0.1:8000/v1", "MINE", MINE),
        ("http://[::1]:8000/v1", "MINE", MINE),
        ("https://example.org/v1", "MINE", MINE),
        ("https://example.org/v1", "OPENAI_API_KEY", OPENAI),
    ],
)
def test_a_key_goes_to_the_host_it_is_meant_for(server, named, key):
    assert key_for(server, named) == key


@pytest.mark.parametrize("server", ["http://10.0.0.7/v1", "http://localhost.evil.example/v1", "http://127.1/v1"])
def test_a_key_over_http_to_another_machine_needs_permission(server):
    with pytest.raises(ConfigError, match="unencrypted, over http") as raised:
        key_for(server, "MINE")
    assert MINE not in str(raised.value)
    assert key_for(server, "MINE", key_over_http=True) == MINE


def test_the_key_of_openai_is_not_sent_over_http_either():
    with pytest.raises(ConfigError, match=r"the key in OPENAI_API_KEY would go to api\.openai\.com unencrypted"):
        key_for("http://api.openai.com/v1", None)


def test_a_named_variable_holds_a_key_that_a_request_can_carry(monkeypatch):
    with pytest.raises(ConfigError, match=r"NONE_SET .* is not set"):
        key_for("https://example.org/v1", "NONE_SET")
    monkeypatch.setenv("MINE", "sk-one\nsk-two")
    with pytest.raises(ConfigError, match="the key in MINE holds a character") as raised:
        key_for("https://example.org/v1", "MINE")
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize(
    ("server", "shown"),
    [
        ("https://user:sk-in-url@example.org/v1", "https://***@example.org/v1"),
        ("https://sk-in/url@api.openai.com/v1", "https://***@api.openai.com/v1"),
        ("user:sk-in-url@example.org/v1", "***@example.org/v1"),
        ("https://example.org/v1?key=sk-in-url", "https://example.org/v1?***"),
        ("https://example.org/v1#sk-in-url", "https://example.org/v1?***"),
        ("https://evil.example\\@api.openai.com/v1", "https://***@api.openai.com/v1"),
        ("ftp://example.org/v1", "ftp://example.org/v1"),
    ],
)
@pytest.mark.parametrize("verb", [["judge", "a.jsonl", "b.jsonl", "--judge", "m"], ["generate", "p.txt"]])
def test_an_address_that_may_hold_a_key_is_refused_and_not_shown(verb, server, shown):
    for refuse in (lambda: key_for(server, None), lambda: parse(verb[0], [*verb[1:], "--server", server])):
        with pytest.raises(ConfigError, match="without user, password") as raised:
            refuse()
        assert f"server is {shown!r};" in str(raised.value)
        assert "sk-in" not in str(raised.value)


@pytest.mark.parametrize("line", ["api_key_env: AWS_SECRET_ACCESS_KEY", "key_over_http: true"])
def test_a_recipe_does_not_choose_the_key(tmp_path, line):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"server: https://example.org/v1\n{line}\n")
    with pytest.raises(ConfigError, match=line.split(":")[0]):
        parse("generate", ["p.txt", "--config", str(recipe)])
