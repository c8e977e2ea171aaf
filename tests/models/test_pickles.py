"""Weights in pickle files are refused before they are opened, and the command in the error converts them."""

import pickle
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import make_llama
from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.bertscore import BertScore
from valuefree.evaluation.metrics.toxicity import Toxicity
from valuefree.models.load import load_model
from valuefree.models.pickles import check_adapter_weights, check_weights
from valuefree.models.reward_model import load_reward_model


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def folder(tokenizer, tmp_path):
    """A model whose weights are a hostile pickle."""
    make_llama(tokenizer).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Payload(tmp_path / "marker")}))
    return tmp_path / "model"


@pytest.mark.parametrize("load", [load_model, load_reward_model, Toxicity, lambda name: BertScore(name, 1)])
def test_pickled_weights_are_refused_unread(folder, load):
    with pytest.raises(ConfigError, match=r"are pickles, pytorch_model.bin, which are not read.* convert them: python"):
        load(str(folder))
    assert not (folder.parent / "marker").exists()


def test_pickled_adapters_are_refused_unread_and_the_command_converts_them(tmp_path):
    weights = {"layer.lora_A.weight": torch.arange(6.0).reshape(2, 3)}
    torch.save(weights, tmp_path / "adapter_model.bin")
    with pytest.raises(ConfigError, match=r"are a pickle, adapter_model.bin, which is not read") as raised:
        check_adapter_weights(str(tmp_path))
    command = shlex.split(str(raised.value).rpartition("convert it: ")[2])
    assert (command[:2], len(command)) == (["python", "-c"], 3)
    exec(command[2], {})
    assert torch.equal(load_file(tmp_path / "adapter_model.safetensors")["layer.lora_A.weight"], weights.popitem()[1])
    check_adapter_weights(str(tmp_path))


def test_the_command_converts_a_model(tokenizer, tmp_path):
    """transformers reads its own pickles with ``weights_only``."""
    folder = tmp_path / "model"
    model = make_llama(tokenizer)
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ConfigError) as raised:
        check_weights(str(folder), "AutoModelForCausalLM")
    command = shlex.split(str(raised.value).rpartition("convert them: ")[2].rpartition(" (and")[0])
    exec(command[2], {})
    tokenizer.save_pretrained(f"{folder}-safe")
    converted, _ = load_model(f"{folder}-safe")
    assert torch.equal(converted.lm_head.weight, model.lm_head.weight)


def test_an_adapter_without_weights_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"has no adapter_model.safetensors"):
        check_adapter_weights(str(tmp_path))
