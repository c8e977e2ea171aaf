"""The fingerprint of a model: equal where the function is, different where anything that determines it is."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from conftest import MAKERS, make_gpt2, make_llama, make_t5
from valuefree.errors import ConfigError
from valuefree.evaluation.judging.local_judge import LocalJudge
from valuefree.models.fingerprints import model_fingerprint
from valuefree.models.load import load_model


def base(model):
    return model_fingerprint(model, adapter=False)


def adapted(tokenizer, name="default", **settings):
    torch.manual_seed(0)
    knobs = {"r": 2, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, **settings}
    return get_peft_model(make_llama(tokenizer), LoraConfig(**knobs), adapter_name=name)


CHANGES = {  # fields that leave every weight as it is
    "rope_parameters": {"rope_type": "default", "rope_theta": 3.0},
    "rms_norm_eps": 1e-2,
    "hidden_act": "gelu",
    "num_attention_heads": 2,
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_that_acts_changes_the_fingerprint(field, tokenizer):
    plain = make_llama(tokenizer, head_dim=8)
    more = {"head_dim": 16, "num_key_value_heads": 1} if field == "num_attention_heads" else {"head_dim": 8}
    changed = make_llama(tokenizer, **{field: CHANGES[field]}, **more)
    changed.load_state_dict(plain.state_dict())
    assert base(changed) != base(plain)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_names_bytes_and_types_of_weights_count(make, tokenizer):
    assert base(make(tokenizer)) == base(make(tokenizer))
    assert base(make(tokenizer)) != base(make(tokenizer, seed=1))
    assert base(make(tokenizer)) != base(make(tokenizer).to(torch.bfloat16))
    assert len({base(one(tokenizer)) for one in (make_t5, make_llama, make_gpt2)}) == 3


def test_frequencies_that_are_not_saved_count(tokenizer):
    model = make_llama(tokenizer)
    before = base(model)
    model.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq * 2
    assert base(model) != before


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_folder_attention_dropout_and_sampling_do_not_count(make, tokenizer, tmp_path):
    model = make(tokenizer)
    before = base(model)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, _ = load_model(str(tmp_path), attn_implementation="eager")
    again.generation_config.temperature = 0.1
    for name, value in {"temperature": 0.1, "use_cache": False, "attention_dropout": 0.3, "eos_token_id": 2}.items():
        setattr(again.config, name, value)
    assert base(again) == before


ADAPTERS = {
    "lora_alpha": 64,
    "use_rslora": True,
    "target_modules": ["q_proj", "o_proj"],
    "use_dora": True,
    "r": 4,
}


@pytest.mark.parametrize("field", ADAPTERS)
def test_an_adapter_counts_where_it_is_in_force_and_only_there(field, tokenizer):
    plain = make_llama(tokenizer)
    one, other = adapted(tokenizer), adapted(tokenizer, **{field: ADAPTERS[field]})
    assert base(one) == base(other) == base(plain) == model_fingerprint(plain, adapter=True)
    assert len({model_fingerprint(model, adapter=True) for model in (one, other, plain)}) == 3


def test_adapter_and_copied_modules_of_any_name_leave_the_base_weights(tokenizer):
    """An adapter may be called as a module of the model is."""
    plain = make_llama(tokenizer)
    for name in ("default", "model", "q_proj"):
        model = adapted(tokenizer, name, modules_to_save=["lm_head"])
        assert base(model) == base(plain)
        with torch.no_grad():
            model.get_base_model().model.layers[0].mlp.up_proj.weight[0, 0] += 1
        assert base(model) != base(plain)


def test_the_path_of_the_base_model_does_not_count(tokenizer):
    one, other = adapted(tokenizer), adapted(tokenizer)
    other.peft_config["default"].base_model_name_or_path = "elsewhere"
    other.peft_config["default"].inference_mode = True
    assert model_fingerprint(one, adapter=True) == model_fingerprint(other, adapter=True)


def test_a_merged_adapter_is_no_reference(tokenizer):
    model = adapted(tokenizer)
    model.merge_adapter()
    with pytest.raises(ConfigError, match="unmerge_adapter"):
        base(model)
    model.unmerge_adapter()
    assert base(model)


def test_wrappers_do_not_count(tokenizer):
    model = make_llama(tokenizer)
    wrapper = nn.Module()
    wrapper.module = model
    assert base(wrapper) == base(model)


def test_a_judge_with_an_adapter_is_another_judge(tokenizer):
    judges = [LocalJudge(model, tokenizer, name="judge") for model in (make_llama(tokenizer), adapted(tokenizer))]
    assert judges[0].revision != judges[1].revision
