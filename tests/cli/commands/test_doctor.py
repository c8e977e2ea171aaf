"""What `valuefree doctor` prints, as JSON and as text, and its exit."""

import json
import platform

import pytest
from peft import LoraConfig, get_peft_model

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
    assert text.index("memory to train") < text.index("free disk") < text.index("Versions")
    assert "serving by transformers serve" in text
    assert "folder" in text
    assert "memory to train, all weights" in text
    assert f"next: valuefree init FILE --model {tmp_path}" in text


def test_a_model_that_cannot_be_loaded_is_an_error_after_the_rest(capsys):
    with pytest.raises(ConfigError, match="`hf download some/model`"):
        cli.run(["doctor", "--model", "some/model", "--json"])
    assert "offline mode" in json.loads(capsys.readouterr().out)["model"]["error"]


def test_the_adapter_of_a_run_is_counted(tmp_path, tokenizer, capsys):
    """Rank 1 on the q of 4 attentions: (inputs + outputs) parameters each."""
    make_t5(tokenizer).save_pretrained(tmp_path / "base")
    model = make_t5(tokenizer).from_pretrained(tmp_path / "base")
    adapted = get_peft_model(model, LoraConfig(r=1, target_modules=["q"]))
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    adapted.save_pretrained(tmp_path / "run" / "model")
    cli.run(["doctor", "--model", str(tmp_path / "run"), "--json"])
    assert json.loads(capsys.readouterr().out)["model"]["adapter"] == trained > 0
