"""Several responses to a prompt are the same whether the prompt is computed once or once for each."""

import pytest
import torch
from peft import LoraConfig
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    Lfm2Config,
    Lfm2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from conftest import MAKERS, TEXTS, make_llama
from valuefree.evaluation import generation
from valuefree.evaluation.generation import Decoding, generate_ids
from valuefree.models.adapters import add_adapter
from valuefree.models.prompt_states import prompt_states

PROMPTS = [*TEXTS, "the sea", "bread and pears"]
GREEDY = Decoding(max_new_tokens=10, batch_size=7, temperature=0)  # batches cut through the responses to a prompt
FAMILIES = {
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": 4}),
    "gemma3": (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        {"head_dim": 16, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "lfm2": (Lfm2ForCausalLM, Lfm2Config, {"layer_types": ["conv", "full_attention"]}),  # not only keys and values
}


def make(kind, tokenizer):
    if kind in MAKERS:
        return MAKERS[kind](tokenizer)
    if kind == "adapter":
        return add_adapter(make_llama(tokenizer), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    model, config, settings = FAMILIES[kind]
    common = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    made = model(config(**common, **heads, **ends, **settings)).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(3)  # far from uniform
    return made


@pytest.mark.parametrize("decoding", [GREEDY, GREEDY.exact(seed=3)], ids=["greedy", "sampled"])
@pytest.mark.parametrize("kind", [*MAKERS, "adapter", *FAMILIES])
def test_a_prompt_computed_once_gives_the_same_responses(kind, decoding, tokenizer, monkeypatch):
    model = make(kind, tokenizer)
    shared, calls = prompt_states, []

    def counted(*args):
        calls.append(shared(*args))
        return calls[-1]

    monkeypatch.setattr(generation, "prompt_states", counted)
    once = generate_ids(model, tokenizer, PROMPTS, decoding, samples=3)
    monkeypatch.setattr(generation, "prompt_states", lambda *_: None)
    assert generate_ids(model, tokenizer, PROMPTS, decoding, samples=3) == once
    assert [states is not None for states in calls] == [kind != "lfm2"] * 3


def test_the_prompts_are_run_once(tokenizer):
    model, tokens = make_llama(tokenizer), []
    model.get_input_embeddings().register_forward_hook(lambda module, given, output: tokens.append(given[0].numel()))
    asked, answers = generate_ids(model, tokenizer, PROMPTS[:1], GREEDY, samples=5)
    steps = len(answers[0])
    assert sum(tokens) == len(asked[0]) - 1 + 5 * steps


def test_a_prompt_of_one_token_leaves_nothing_to_share(tokenizer):
    batch = {"input_ids": torch.tensor([[5], [6]]), "attention_mask": torch.ones(2, 1, dtype=torch.long)}
    assert prompt_states(make_llama(tokenizer), batch, [0, 0, 1]) is None
