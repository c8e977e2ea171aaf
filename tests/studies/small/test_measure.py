"""The KL from samples against exact enumeration, and what else is measured."""

import itertools

import pytest
import torch

from studies.small.measure import _response_logits, interval_over_groups, measure, sample_kls, variety
from studies.small.models import KINDS, make_model, make_tokenizer
from studies.small.world import sample
from valuefree.batches.collate import collate
from valuefree.batches.rendering import prompt_ids

PROMPT = "short calm note about sea and boat :"


def two_policies(kind):
    tokenizer = make_tokenizer(kind)
    policy, reference = (make_model(kind, tokenizer, seed=seed).eval() for seed in (1, 2))
    if kind == "decoder":
        with torch.no_grad():  # its random weights are nearly uniform; these are not
            for model in (policy, reference):
                model.get_input_embeddings().weight.mul_(8)
    return tokenizer, policy, reference


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_has_one_token_per_word_and_no_separator(kind):
    tokenizer = make_tokenizer(kind)
    assert prompt_ids(tokenizer, PROMPT, encoder_decoder=kind == "t5") == tokenizer(PROMPT)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_wise_kl_has_the_mean_of_the_log_ratio_over_all_responses(kind):
    """Over every response of at most two tokens, weighted by its probability, both are the KL itself."""
    tokenizer, policy, reference = two_policies(kind)
    end, size = tokenizer.eos_token_id, len(tokenizer)
    first = [token for token in range(size) if token != end]
    responses = [[end], *([a, b] for a, b in itertools.product(first, range(size)))]
    prompts = [prompt_ids(tokenizer, PROMPT, encoder_decoder=kind == "t5")] * len(responses)
    batch = collate(prompts, responses, pad_token_id=0, encoder_decoder=kind == "t5")
    kls, ratios = sample_kls(policy, reference, batch)
    with torch.no_grad():
        token_logps = _response_logits(policy, batch)
    ids = torch.tensor([token for response in responses for token in response])
    owner = torch.tensor([row for row, response in enumerate(responses) for _ in response])
    logps = torch.zeros(len(responses), dtype=torch.float64).index_add(0, owner, token_logps[range(len(ids)), ids])
    weights = logps.exp()
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)
    exact = float((weights * ratios).sum())
    assert exact > 0.05
    assert float((weights * kls).sum()) == pytest.approx(exact, rel=1e-5)
    assert (kls >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_on_samples_both_estimates_agree_within_their_error_and_the_token_wise_has_less(kind):
    tokenizer, policy, reference = two_policies(kind)
    asked, answers, _ = sample(policy, tokenizer, [PROMPT] * 16, 32, seed=0)
    kls, ratios = sample_kls(policy, reference, collate(asked, answers, pad_token_id=0, encoder_decoder=kind == "t5"))
    assert abs(float((kls - ratios).mean())) < 4 * float((kls - ratios).std()) / len(kls) ** 0.5
    assert float(kls.std()) < float(ratios.std())


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_is_at_zero_from_itself_and_the_same_seed_gives_the_same_numbers(kind):
    tokenizer, policy, reference = two_policies(kind)
    prompts = [PROMPT, "long dark note about fire and hill :"]
    same = measure(policy, policy, tokenizer, prompts, samples=4, seed=3)
    assert same.kl == same.kl_logratio == 0
    found = [measure(policy, reference, tokenizer, prompts, samples=4, seed=3) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].kl_low < found[0].kl < found[0].kl_high
    assert found[0].samples == 8


def test_variety_counts_runs_of_words():
    assert variety(["a b a", "b a"], 1) == 2 / 5
    assert variety(["a b a", "b a"], 2) == 2 / 3  # ab, ba, ba
    assert variety(["a"], 2) == 0


def test_the_interval_is_over_prompts_not_samples():
    # means of the groups are 1 and 3: t of one degree of freedom is 12.7062, standard error 1
    low, high = interval_over_groups(torch.tensor([0.0, 2, 2, 4]).numpy(), 2)
    assert (low, high) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-3)
