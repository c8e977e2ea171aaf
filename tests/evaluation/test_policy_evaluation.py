"""A policy against its reference: pairing, completions, the adapter as reference, and errors."""

import numpy as np
import pytest
import torch
from peft import LoraConfig

from conftest import TEXTS, make_llama, make_t5
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.generation import Decoding
from valuefree.evaluation.policy_evaluation import evaluate
from valuefree.models.adapters import add_adapter

SHORT = Decoding(max_new_tokens=6, batch_size=4)
PROMPTS = [*TEXTS, "the sea", "bread and pears"]


def length(prompts, responses):
    return [float(len(text)) for text in responses]


@pytest.mark.parametrize("make", [make_t5, make_llama])
def test_a_policy_equal_to_its_reference_gains_nothing(make, tokenizer):
    result = evaluate(
        make(tokenizer), tokenizer, PROMPTS, length, reference=make(tokenizer), decoding=SHORT, samples_per_prompt=2
    )
    assert result.gain.value == 0
    assert result.outcomes.ties == 6
    assert result.kl.value == pytest.approx(0, abs=1e-4)
    assert result.samples[0]["policy"] == result.samples[0]["reference"]


def test_completions_are_all_samples_with_their_own_rewards(tokenizer):
    """Two rows a prompt, in the order of the prompts; the mean of a prompt's rewards is the evaluation's."""
    policy, reference = make_t5(tokenizer, seed=1), make_t5(tokenizer, seed=2)
    result = evaluate(
        policy, tokenizer, PROMPTS, length, reference=reference, decoding=SHORT, samples_per_prompt=2, kl_prompts=0
    )
    assert [row["prompt"] for row in result.completions] == [prompt for prompt in PROMPTS for _ in range(2)]
    for who, means in (("policy", result.policy_rewards), ("reference", result.reference_rewards)):
        rewards = [row["rewards"][who] for row in result.completions]
        assert rewards == [float(len(row["responses"][who])) for row in result.completions]
        np.testing.assert_array_equal(np.reshape(rewards, (-1, 2)).mean(axis=1), means)
    assert result.samples[1]["policy"] == result.completions[2]["responses"]["policy"]
    assert "completions" not in result.to_dict()


def test_the_adapter_switched_off_is_the_reference(tokenizer):
    base = make_llama(tokenizer)
    expected = evaluate(base, tokenizer, PROMPTS, length, reference=base, decoding=SHORT, kl_prompts=0)
    torch.manual_seed(0)
    policy = add_adapter(base, LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False))
    result = evaluate(policy, tokenizer, PROMPTS, length, decoding=SHORT)
    np.testing.assert_array_equal(result.reference_rewards, expected.reference_rewards)
    assert (result.gains != 0).any()
    assert result.kl.value > 0


def test_the_gain_is_paired_on_prompts(tokenizer):
    calls = []

    def reward(prompts, responses):
        calls.append(prompts)
        return [float(PROMPTS.index(prompt)) + (10 if len(calls) == 1 else 0) for prompt in prompts]

    model = make_t5(tokenizer)
    result = evaluate(model, tokenizer, PROMPTS, reward, reference=model, decoding=SHORT, kl_prompts=0)
    assert calls[0] == calls[1] == PROMPTS
    assert (result.gain.value, result.gain.interval) == (10, None)  # no two gains differ: no interval
    assert (result.outcomes.wins, result.kl) == (6, None)
    assert result.to_dict()["held_out"] == PROMPTS


def test_no_reference_no_prompts_or_bad_rewards_are_errors(tokenizer):
    model = make_t5(tokenizer)
    with pytest.raises(ConfigError, match="no adapter"):
        evaluate(model, tokenizer, PROMPTS, length)
    with pytest.raises(DataError, match="no prompts"):
        evaluate(model, tokenizer, [], length, reference=model)
    with pytest.raises(DataError, match="6 values that are not finite"):
        evaluate(model, tokenizer, PROMPTS, lambda p, r: [np.nan] * len(p), reference=model, decoding=SHORT)
    with pytest.raises(DataError, match="expected one each"):
        evaluate(model, tokenizer, PROMPTS, lambda p, r: [1.0], reference=model, decoding=SHORT)
