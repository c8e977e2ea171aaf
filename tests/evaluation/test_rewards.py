"""Comparing a policy with its reference: pairing, KL, reward functions and reward models."""

import sys

import numpy as np
import pytest
import torch
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForSequenceClassification

from conftest import TEXTS, make_llama, make_t5
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.generation import Decoding, generate, generate_ids
from valuefree.evaluation.rewards import evaluate, kl_to_reference, load_reward
from valuefree.models.load import add_adapter

SHORT = Decoding(max_new_tokens=6, batch_size=4)
PROMPTS = [*TEXTS, "the sea", "bread and pears"]


def length(prompts, responses):
    return [float(len(text)) for text in responses]


@pytest.mark.parametrize("make", [make_t5, make_llama])
def test_generation_is_seeded_ordered_and_leaves_the_global_state_alone(make, tokenizer):
    model = make(tokenizer)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = generate(model, tokenizer, PROMPTS, max_new_tokens=6, batch_size=4, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert generate(model, tokenizer, PROMPTS, max_new_tokens=6, batch_size=4, seed=1) == first
    assert generate(model, tokenizer, PROMPTS, max_new_tokens=6, batch_size=4, seed=2) != first
    assert len(first) == len(PROMPTS)


@pytest.mark.parametrize("make", [make_t5, make_llama])
def test_greedy_responses_do_not_depend_on_the_batch(make, tokenizer):
    model = make(tokenizer)
    alone = generate(model, tokenizer, PROMPTS, max_new_tokens=6, temperature=0, batch_size=1)
    assert generate(model, tokenizer, PROMPTS, max_new_tokens=6, temperature=0, batch_size=6) == alone


def test_a_response_carries_its_end_and_nothing_behind_it(tokenizer):
    _, answers = generate_ids(make_t5(tokenizer), tokenizer, PROMPTS, SHORT.exact(seed=0), samples=3)
    assert len(answers) == 18
    for ids in answers:
        assert tokenizer.eos_token_id not in ids[:-1]


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"max_new_tokens": 0}])
def test_impossible_decoding_is_an_error(wrong):
    with pytest.raises(ConfigError):
        Decoding(**wrong)


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


@pytest.mark.parametrize("make", [make_t5, make_llama])
def test_a_kl_needs_a_reference_of_the_same_dtype(make, tokenizer):
    policy, half = make(tokenizer), make(tokenizer).to(torch.bfloat16)
    with pytest.raises(ConfigError, match="no adapter to switch off; pass reference="):
        kl_to_reference(policy, tokenizer, PROMPTS, None, SHORT)
    with pytest.raises(ConfigError, match=r"bfloat16 and the reference of torch\.float32.*Load both"):
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


def test_reward_function_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(
        "def words(prompts, responses):\n    return [len(r.split()) for r in responses]\n"
    )
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert load_reward("my_rewards:words")(["a"], ["one two"]) == [2]
    assert sys.path == path
    for wrong in ("my_rewards:none", "no_such_module:f", "math:pi"):
        with pytest.raises(ConfigError):
            load_reward(wrong)


def test_reward_model_by_folder(tmp_path, tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=1,
        pad_token_id=0,
    )
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "rm")
    tokenizer.save_pretrained(tmp_path / "rm")
    score = load_reward(str(tmp_path / "rm"))
    scores = score(["the sea"] * 2, ["is wide", "and blue apples"])
    assert len(scores) == 2
    assert scores[0] != scores[1]
    assert score(["the sea"], ["is wide"])[0] == pytest.approx(scores[0], abs=1e-5)
    with pytest.raises(ConfigError, match="could not load a reward model"):
        load_reward(str(tmp_path / "nothing"))
