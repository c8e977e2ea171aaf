"""`valuefree merge`: what it writes and prints; it publishes only when it is told to."""

import json

import pytest
import torch
from safetensors.torch import load_file

from conftest import make_llama, make_t5
from valuefree.cli import main as cli
from valuefree.cli.commands import merge as module
from valuefree.runs.manifest import manifest


@pytest.fixture
def weights(tmp_path, chat_tokenizer):
    def make(maker):
        maker(chat_tokenizer).save_pretrained(tmp_path / "weights")
        chat_tokenizer.save_pretrained(tmp_path / "weights")
        return tmp_path / "weights"

    return make


@pytest.fixture
def pushed(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "push_to_hub", lambda *given: calls.append(given) or "https://hub/me/policy")
    return calls


def test_a_decoder_is_served_by_two_servers(weights, tmp_path, capsys, pushed):
    cli.run(["merge", str(weights(make_llama)), "--out", str(tmp_path / "merged")])
    said = capsys.readouterr().out
    assert f"# pip install 'transformers[serving]'\ntransformers serve {tmp_path / 'merged'}\n" in said
    assert f"vllm serve {tmp_path / 'merged'}" in said
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "model.generate(" in card
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "merged").iterdir()}
    assert len(modes) == 1
    assert pushed == []


def test_an_encoder_decoder_is_served_by_neither(weights, tmp_path, capsys, pushed):
    cli.run(["merge", str(weights(make_t5)), "--out", str(tmp_path / "merged")])
    said = capsys.readouterr().out
    assert "vLLM does not serve an encoder-decoder" in said
    assert f"valuefree generate prompts.jsonl --model {tmp_path / 'merged'}" in said
    assert "vllm serve" not in said
    assert pushed == []


def test_the_hub_gets_the_folder_on_request(weights, tmp_path, capsys, pushed):
    cli.run(["merge", str(weights(make_llama)), "--out", str(tmp_path / "merged"), "--push-to-hub", "me/policy"])
    assert pushed == [(tmp_path / "merged", "me/policy")]
    assert "uploaded: https://hub/me/policy" in capsys.readouterr().out


def test_a_run_on_quantised_weights_is_merged_into_the_full_ones_and_says_so(weights, tmp_path, capsys, pushed):
    run = tmp_path / "run"
    weights(make_llama).rename(run)
    record = manifest("train", {"model": "m", "quantize": "4bit"})
    (run / "manifest.json").write_text(json.dumps(record))
    cli.run(["merge", str(run), "--out", str(tmp_path / "merged")])
    assert "trained on the base model in 4bit, and is merged into its float32 weights" in capsys.readouterr().out
    assert "quantize 4bit" in (tmp_path / "merged" / "README.md").read_text()


def test_bfloat16_weights_are_saved_as_such(weights, tmp_path, pushed):

    cli.run(["merge", str(weights(make_llama)), "--out", str(tmp_path / "merged"), "--dtype", "bfloat16"])
    tensors = load_file(tmp_path / "merged" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
