"""Quantised base weights, as far as a machine without a GPU can tell: errors, what is asked for, and the cache key."""

import copy
from importlib.machinery import ModuleSpec

import pytest
import torch
from transformers import BitsAndBytesConfig

from conftest import make_llama
from valuefree.cli.commands.train import train
from valuefree.cli.options.train import TrainConfig
from valuefree.errors import ConfigError
from valuefree.models import load, quantization
from valuefree.models.load import load_model
from valuefree.training.reference_scores import scoring_context


@pytest.fixture
def folder(tmp_path, tokenizer):
    make_llama(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


@pytest.fixture
def gpu(monkeypatch):
    """A machine that says it has a GPU; `package`: whether it has bitsandbytes."""

    def pretend(*, package: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(quantization, "find_spec", lambda name: ModuleSpec(name, None) if package else None)

    return pretend


def test_without_a_gpu_or_the_package_nothing_is_read(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="needs a CUDA or ROCm GPU"):
        load_model("no/such-model", quantize="4bit")
    with pytest.raises(ConfigError, match="needs a CUDA or ROCm GPU"):
        train(TrainConfig(data="no such rows.jsonl", quantize="8bit"))
    gpu(package=False)
    with pytest.raises(ConfigError, match="pip install bitsandbytes"):
        load_model("no/such-model", quantize="4bit")
    with pytest.raises(ConfigError, match="choose from 4bit, 8bit"):
        load_model("no/such-model", quantize="2bit")


@pytest.mark.parametrize("quantize", ["4bit", "8bit"])
def test_transformers_is_asked_for_the_bits_on_the_device_of_this_process(folder, monkeypatch, gpu, quantize):
    asked = {}
    plain = load.AutoModelForCausalLM.from_pretrained

    def from_pretrained(name, **options):
        asked.update({key: options.pop(key) for key in ("quantization_config", "device_map")}, dtype=options["dtype"])
        return plain(name, **options)

    gpu(package=True)
    monkeypatch.setattr(load.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    monkeypatch.setattr(load, "accelerator_device", lambda: torch.device("cuda", 1))
    load_model(folder, dtype="bfloat16", quantize=quantize)
    config = asked["quantization_config"].to_dict()
    assert asked["device_map"] == {"": torch.device("cuda", 1)}
    assert asked["dtype"] == torch.bfloat16
    if quantize == "8bit":
        assert (config["load_in_8bit"], config["load_in_4bit"]) == (True, False)
    else:
        assert (config["load_in_4bit"], config["bnb_4bit_quant_type"]) == (True, "nf4")
        assert (config["bnb_4bit_compute_dtype"], config["bnb_4bit_use_double_quant"]) == ("bfloat16", True)


def test_a_gguf_file_is_not_quantised_again(tmp_path, tokenizer, gpu, monkeypatch):
    gpu(package=True)
    monkeypatch.setattr(load, "load_tokenizer", lambda name, **_: tokenizer)
    monkeypatch.setattr(load, "split_gguf", lambda name, file: (str(tmp_path), "policy.gguf"))
    with pytest.raises(ConfigError, match="is a GGUF file"):
        load_model(str(tmp_path / "policy.gguf"), quantize="4bit")


def test_scores_of_quantised_weights_have_a_key_of_their_own(tokenizer):
    """Equal tensors, so that the configuration alone makes the difference; quantised tensors differ as well."""
    plain = make_llama(tokenizer)
    keys = {scoring_context(plain, None)}
    for settings in ({"load_in_4bit": True}, {"load_in_8bit": True}):
        model = copy.deepcopy(plain)
        model.config.quantization_config = BitsAndBytesConfig(**settings)
        keys.add(scoring_context(model, None))
    assert len(keys) == 3


def test_full_fine_tuning_of_quantised_weights_is_refused():
    with pytest.raises(ConfigError, match="quantize needs lora_rank above 0"):
        TrainConfig(data="rows.jsonl", quantize="4bit", lora_rank=0)
    with pytest.raises(ConfigError, match="nothing reads --quantize"):
        TrainConfig(data="rows.jsonl", quantize="4bit", objective="reward-model")
