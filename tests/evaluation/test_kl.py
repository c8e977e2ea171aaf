"""The KL to the reference: which references are refused. Its value is tested in test_generation.py."""

import pytest
import torch
from peft import LoraConfig

from conftest import TEXTS, make_llama, make_t5
from valuefree.errors import ConfigError
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.kl import kl_to_reference
from valuefree.evaluation.policy_evaluation import evaluate
from valuefree.models.adapters import add_adapter

SHORT = Decoding(max_new_tokens=6, batch_size=4)
PROMPTS = [*TEXTS, "the sea", "bread and pears"]


def length(prompts, responses):
    return [float(len(text)) for text in responses]


@pytest.mark.parametrize("make", [make_t5, make_llama])
def test_a_kl_needs_a_reference_of_the_same_dtype(make, tokenizer):
    policy, half = make(tokenizer), make(tokenizer).to(torch.bfloat16)
    with pytest.raises(ConfigError, match="no adapter to switch off; pass reference="):
        kl_to_reference(policy, tokenizer, PROMPTS, None, SHORT)
    with pytest.raises(ConfigError, match=r"bfloat16 weights and the reference torch\.float32.*Load both"):
        kl_to_reference(half, tokenizer, PROMPTS, policy, SHORT)
    with pytest.raises(ConfigError, match="Load both in the same dtype"):
        evaluate(half, tokenizer, PROMPTS, length, reference=policy, decoding=SHORT)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_2", "olora"])
def test_an_adapter_that_changed_the_base_weights_needs_a_reference(start, tokenizer):
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=start)
    policy = add_adapter(make_llama(tokenizer), config)
    with pytest.raises(ConfigError, match=f"init_lora_weights='{start}'.*untouched model as the reference"):
        kl_to_reference(policy, tokenizer, PROMPTS, None, SHORT)
    with pytest.raises(ConfigError, match=f"init_lora_weights='{start}'"):
        evaluate(policy, tokenizer, PROMPTS, length, decoding=SHORT)
    found = kl_to_reference(policy, tokenizer, PROMPTS, make_llama(tokenizer), SHORT)
    assert found.value == pytest.approx(0, abs=1e-4)
