"""What `valuefree doctor` prints, as JSON and as text, and its exit."""

import json
import platform

import pytest

from conftest import make_t5
from valuefree.cli import main as cli
from valuefree.cli.commands import doctor
from valuefree.errors import ConfigError


def test_json_without_a_model(monkeypatch, capsys):
    extras = {"here": (("json",), "no command"), "absent": (("json", "no_such_module"), "pip install it")}
    monkeypatch.setattr(doctor, "EXTRAS", extras)
    cli.run(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["python"] == platform.python_version()
    assert found["extras"] == {"here": None, "absent": "pip install it"}
    assert found["machine"]["speed"] > 0
    assert "model" not in found


def test_a_model_that_fits(tmp_path, tokenizer, capsys):
    make_t5(tokenizer).save_pretrained(tmp_path)
    cli.run(["doctor", "--model", str(tmp_path)])
    text = capsys.readouterr().out
    assert "folder" in text
    assert "memory to train, all weights" in text
    assert f"next: valuefree init FILE --model {tmp_path}" in text


def test_a_model_that_cannot_be_loaded_is_an_error_after_the_rest(capsys):
    with pytest.raises(ConfigError, match="`hf download some/model`"):
        cli.run(["doctor", "--model", "some/model", "--json"])
    assert "offline mode" in json.loads(capsys.readouterr().out)["model"]["error"]
