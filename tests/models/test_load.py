"""Loading: folders of either kind, GGUF, errors; dropout."""

import urllib.error

import pytest
import torch
from peft import LoraConfig

from conftest import make_llama, make_t5
from valuefree.demo.smollm2 import smollm2_file
from valuefree.errors import ConfigError
from valuefree.models import names
from valuefree.models.adapters import add_adapter, has_adapter
from valuefree.models.load import load_model, model_of_run
from valuefree.models.modules import disable_dropout, is_encoder_decoder


@pytest.mark.parametrize("make", [make_t5, make_llama])
def test_a_local_folder_of_either_kind(tmp_path, tokenizer, make):
    model = make(tokenizer)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, loaded_tokenizer = load_model(str(tmp_path))
    assert is_encoder_decoder(loaded) == is_encoder_decoder(model)
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert loaded_tokenizer("the sea")["input_ids"] == tokenizer("the sea")["input_ids"]


def test_dtype(tmp_path, tokenizer):
    make_llama(tokenizer).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_model(str(tmp_path), dtype="bfloat16")[0].dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="choose from float32"):
        load_model(str(tmp_path), dtype="int8")


def test_no_such_model(tmp_path, monkeypatch):
    """A path is not looked for on the hub; the nearest name beside it is given."""
    (tmp_path / "run-1").mkdir()
    with pytest.raises(ConfigError, match=f"no such model folder: .*; did you mean {tmp_path / 'run-1'}"):
        load_model(str(tmp_path / "rum-1"))
    monkeypatch.chdir(tmp_path)
    for name in ("./nothing", "weights.gguf", "a b", "run-1/model"):
        with pytest.raises(ConfigError, match="no such model folder"):
            load_model(name)
    with pytest.raises(ConfigError, match="the local cache does not have it, and HF_HUB_OFFLINE is set"):
        load_model("google/flan-t5-smalll")


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError(OSError("Name or service not known"))

    monkeypatch.setattr(names.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(names.urllib.request, "urlopen", refuse)
    names.unreachable.cache_clear()
    with pytest.raises(ConfigError, match=r"does not have it, and https://.* cannot be reached \(Name or service"):
        load_model("google/flan-t5-smalll")
    names.unreachable.cache_clear()


def test_pickled_weights_are_refused(tmp_path, tokenizer):
    model = make_llama(tokenizer)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"are pickles, pytorch_model\.bin, which are not read"):
        load_model(str(tmp_path))


def test_two_gguf_files_need_a_choice(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match="holds 2 GGUF files"):
        load_model(str(tmp_path))


def test_an_adapter_of_a_model_named_by_a_relative_path_loads_from_another_directory(tmp_path, tokenizer, monkeypatch):
    make_llama(tokenizer).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    model, _ = load_model("base")
    add_adapter(model, LoraConfig(r=2, target_modules="all-linear")).save_pretrained("adapter")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    policy, _ = load_model(str(tmp_path / "adapter"))
    assert has_adapter(policy)
    assert policy.peft_config["default"].base_model_name_or_path == str(tmp_path / "base")


def test_dropout_is_found_in_modules_and_in_fields(tokenizer):
    model = make_llama(tokenizer, attention_dropout=0.1)
    assert disable_dropout(model) == 2
    assert disable_dropout(model) == 0
    assert model.model.layers[0].self_attn.attention_dropout == 0.0


@pytest.mark.slow
def test_gguf_loads_saves_and_loads_again_with_equal_logits(tmp_path):
    model, tokenizer = load_model(str(smollm2_file()))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, same = load_model(str(tmp_path))
    ids = torch.tensor([tokenizer("The sea is wide")["input_ids"]])
    assert same("The sea is wide")["input_ids"] == ids[0].tolist()
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, again(input_ids=ids).logits)


def test_the_folder_of_a_run_stands_for_its_model(tokenizer, tmp_path):
    make_llama(tokenizer).save_pretrained(tmp_path / "run" / "model")
    tokenizer.save_pretrained(tmp_path / "run" / "model")
    model, _ = load_model(str(tmp_path / "run"))
    assert model.config.model_type == "llama"
    assert model_of_run(str(tmp_path / "run")) == str(tmp_path / "run" / "model")
    assert model_of_run(str(tmp_path / "run" / "model")) == str(tmp_path / "run" / "model")
    assert model_of_run("google/flan-t5-small") == "google/flan-t5-small"


def test_the_dropout_that_an_adapter_asks_for_stays(tokenizer):
    model = add_adapter(make_t5(tokenizer), LoraConfig(r=2, target_modules="all-linear", lora_dropout=0.3))
    disable_dropout(model)
    kept = [module.p for name, module in model.named_modules() if name.endswith("lora_dropout.default")]
    assert kept
    assert set(kept) == {0.3}
