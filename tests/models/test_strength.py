"""Strength: the reference at 0, the policy at 1, and what is saved has the strength that was applied."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from conftest import make_llama, make_t5
from valuefree.errors import ConfigError
from valuefree.models.adapters import reference_context
from valuefree.models.strength import strength_of

IDS = torch.arange(3, 9)[None]


def logits(model):
    decoder = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model.eval()(input_ids=IDS, **decoder).logits


def with_adapter(tokenizer, **settings):
    torch.manual_seed(0)
    model = get_peft_model(
        make_llama(tokenizer), LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", **settings)
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return model


@pytest.fixture(params=["adapter", "weights"])
def policy_and_reference(request, tokenizer):
    if request.param == "adapter":
        model = with_adapter(tokenizer)
        with reference_context(model):
            base = logits(model)
        return model, None, base
    reference = make_t5(tokenizer)
    model = copy.deepcopy(reference)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model, reference, logits(reference)


def test_strength_0_is_the_reference_and_strength_1_the_policy(policy_and_reference):
    policy, reference, base = policy_and_reference
    trained = logits(policy)
    strength = strength_of(policy, reference)
    with strength.at(0.0):
        torch.testing.assert_close(logits(policy), base)
    with strength.at(1.0):
        torch.testing.assert_close(logits(policy), trained)
    with strength.at(0.5):
        assert not torch.allclose(logits(policy), trained)
        assert not torch.allclose(logits(policy), base)
    assert torch.equal(logits(policy), trained)  # to the last bit


def test_weights_move_linearly(tokenizer):
    reference = make_t5(tokenizer)
    policy = copy.deepcopy(reference)
    with torch.no_grad():
        policy.shared.weight.add_(1.0)
    strength_of(policy, reference).apply(0.25)
    torch.testing.assert_close(policy.shared.weight, reference.shared.weight + 0.25)


def test_applying_twice_multiplies(policy_and_reference):
    policy, reference, _ = policy_and_reference
    strength = strength_of(policy, reference)
    with strength.at(2.0):
        expected = logits(policy)
    strength.apply(2.0)
    torch.testing.assert_close(logits(policy), expected)


def test_a_saved_adapter_has_its_strength_in_any_loader(tmp_path, tokenizer):
    policy = with_adapter(tokenizer, alpha_pattern={"q_proj": 8})
    strength_of(policy).apply(0.5)
    expected = logits(policy)
    policy.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(make_llama(tokenizer), tmp_path)
    torch.testing.assert_close(logits(loaded), expected)


def test_what_cannot_be_scaled_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="modules_to_save"):
        strength_of(with_adapter(tokenizer, modules_to_save=["lm_head"]))
    with pytest.raises(ConfigError, match="no adapter"):
        strength_of(make_t5(tokenizer))
    with pytest.raises(ConfigError, match="positive"):
        strength_of(with_adapter(tokenizer)).apply(0.0)
