"""Weights that do not fit their config: missing, foreign, mismatched and damaged tensors are errors that name them."""

import json
import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from conftest import MAKERS, make_llama, make_t5
from valuefree.errors import ConfigError
from valuefree.models.load import load_model
from valuefree.models.reward_model import load_reward_model

FIRST_BLOCK = {"t5": "decoder.block.0.", "llama": "model.layers.0.", "gpt2": "transformer.h.0."}


def saved(kind: str, tokenizer, folder: Path) -> Path:
    MAKERS[kind](tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder / "model.safetensors"


def rewrite(file: Path, change) -> None:
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def without(part: str):
    return lambda weights: {name: tensor for name, tensor in weights.items() if part not in name}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("load", [load_model, lambda folder: load_reward_model(folder, new_head=True)])
def test_a_file_without_the_first_block_names_five_of_its_tensors(kind, load, tokenizer, tmp_path):
    file = saved(kind, tokenizer, tmp_path)
    lost = sorted(name for name in load_file(file) if FIRST_BLOCK[kind] in name and not name.endswith(".attn.bias"))
    rewrite(file, without(FIRST_BLOCK[kind]))
    with pytest.raises(ConfigError) as refused:
        load(str(tmp_path))
    assert f"Tensors {len(lost)} missing: " in str(refused.value)
    assert all(name in str(refused.value) for name in lost[:5])
    assert lost[5] not in str(refused.value)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("load", [load_model, lambda folder: load_reward_model(folder, new_head=True)])
def test_the_first_block_of_another_model_is_foreign(kind, load, tokenizer, tmp_path):
    """Block 7 of a model with two blocks."""
    file = saved(kind, tokenizer, tmp_path)
    name = next(name for name in load_file(file) if FIRST_BLOCK[kind] in name and "norm" in name.replace("ln", "norm"))
    foreign = name.replace(".0.", ".7.", 1)
    rewrite(file, lambda weights: weights | {foreign: weights[name].clone()})
    with pytest.raises(ConfigError, match=rf"1 that the model does not have: {re.escape(foreign)}"):
        load(str(tmp_path))


def test_a_tensor_of_another_shape(tokenizer, tmp_path):
    file = saved("llama", tokenizer, tmp_path)
    rewrite(file, lambda weights: weights | {"model.norm.weight": torch.ones(16)})
    with pytest.raises(ConfigError, match=r"1 of another shape: model\.norm\.weight \(16,\) in place of \(32,\)"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_a_truncated_file_is_one_message(kind, size, tokenizer, tmp_path):
    file = saved(kind, tokenizer, tmp_path)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ConfigError, match=r"could not load (?s:.)*model\.safetensors is cut or damaged"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("files", [(), ("tokenizer.json", "tokenizer_config.json", "model.safetensors")])
def test_a_folder_without_a_configuration_is_one_message(files, tokenizer, tmp_path):
    saved("llama", tokenizer, tmp_path / "whole")
    (tmp_path / "part").mkdir()
    for name in files:
        (tmp_path / "whole" / name).rename(tmp_path / "part" / name)
    with pytest.raises(ConfigError, match=r"could not load (?s:.)*the folder has no config\.json"):
        load_model(str(tmp_path / "part"))


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_and_their_copies_are_no_faults(tied, tokenizer, tmp_path):
    """Old files of T5 hold each copy of the shared embedding, and a bias that the model has no more."""
    saved("t5", tokenizer, tmp_path)
    folder = tmp_path / "llama"
    make_llama(tokenizer, tie_word_embeddings=tied).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    load_model(str(folder))

    def old(weights):
        bias = weights["decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].clone()
        copies = {f"{part}.embed_tokens.weight": weights["shared.weight"].clone() for part in ("encoder", "decoder")}
        return weights | copies | {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": bias}

    rewrite(tmp_path / "model.safetensors", old)
    shared = load_file(tmp_path / "model.safetensors")["shared.weight"]
    assert torch.equal(load_model(str(tmp_path))[0].shared.weight, shared)


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_a_new_head_may_be_missing_but_a_reward_model_needs_its_own(kind, tokenizer, tmp_path, caplog):
    saved(kind, tokenizer, tmp_path)
    made, _ = load_reward_model(str(tmp_path), new_head=True)
    assert not caplog.records  # nor a table of keys
    with pytest.raises(ConfigError, match=r"missing: (classification_head\.dense\.bias|score\.weight)"):
        load_reward_model(str(tmp_path))
    made.save_pretrained(tmp_path / "own")
    tokenizer.save_pretrained(tmp_path / "own")
    load_reward_model(str(tmp_path / "own"))


@pytest.fixture(params=["t5", "llama"])
def adapter(request, tokenizer, tmp_path) -> Path:
    """The file of an adapter of rank 2 on a saved model."""
    saved(request.param, tokenizer, tmp_path)
    model = {"t5": make_t5, "llama": make_llama}[request.param](tokenizer)
    model.name_or_path = str(tmp_path)
    folder = tmp_path / "adapter"
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder / "adapter_model.safetensors"


def test_an_adapter_with_its_own_tensors_alone_is_loaded(adapter):
    stored = load_file(adapter)
    load_model(str(adapter.parent))
    lost = sorted(stored)[0]
    rewrite(adapter, without(lost))
    with pytest.raises(ConfigError, match="Tensors 1 missing: base_model"):
        load_model(str(adapter.parent))
    rewrite(adapter, lambda _: stored | {f"base_model.model.other.{k}.lora_A.weight": torch.ones(2) for k in range(6)})
    with pytest.raises(ConfigError, match=r"6 that the model does not have: .*other\.0\..*other\.4\.lora_A.weight …"):
        load_model(str(adapter.parent))
    rewrite(adapter, lambda _: stored | {lost: torch.ones(7, 7)})
    with pytest.raises(ConfigError, match="could not load the adapter"):
        load_model(str(adapter.parent))


def test_a_damaged_or_pickled_adapter_is_one_message(adapter):
    content = adapter.read_bytes()
    adapter.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match="could not load the adapter"):
        load_model(str(adapter.parent))
    adapter.rename(adapter.with_suffix(".bin"))
    with pytest.raises(ConfigError, match=r"adapter_model\.bin, which is not read, because it can hold code"):
        load_model(str(adapter.parent))
