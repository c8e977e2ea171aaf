"""Sampling follows `Decoding` and the model alone, and stops where a response ends."""

import math

import datasets
import pytest
import torch
from peft import LoraConfig
from transformers import GenerationConfig

from chat_templates import CHATML, GEMMA, byte_tokenizer
from conftest import MAKERS, TEXTS, make_llama, make_t5
from valuefree.batches.collate import collate
from valuefree.batches.rendering import Limits, tokenize
from valuefree.errors import ConfigError
from valuefree.evaluation import LocalJudge
from valuefree.evaluation.generation import Decoding, generate, generate_ids, response_texts
from valuefree.evaluation.judging.backends import Settings
from valuefree.evaluation.kl import kl_to_reference
from valuefree.models.adapters import add_adapter
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import is_encoder_decoder
from valuefree.objectives import SFT
from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

PROMPTS = [*TEXTS, "the sea", "bread and pears"]
SHORT = Decoding(max_new_tokens=6, batch_size=4)
EXACT = Decoding(max_new_tokens=12, batch_size=32).exact(seed=3)
INHERITED = {
    "min_p": 0.9,
    "typical_p": 0.1,
    "epsilon_cutoff": 0.05,
    "eta_cutoff": 0.05,
    "top_h": 0.3,
    "min_length": 60,
    "min_new_tokens": 12,
    "num_beams": 3,
    "num_return_sequences": 2,
    "forced_bos_token_id": 9,
    "forced_eos_token_id": 11,
    "repetition_penalty": 3.0,
    "encoder_repetition_penalty": 9.0,
    "encoder_no_repeat_ngram_size": 1,
    "bad_words_ids": [[n] for n in range(20, 60)],
    "suppress_tokens": list(range(20, 60)),
    "begin_suppress_tokens": list(range(20, 90)),
    "sequence_bias": [[[33], 20.0]],
    "exponential_decay_length_penalty": (1, 3.0),
    "max_time": 1e-9,
}
OF_ENCODERS = {"forced_bos_token_id", "encoder_repetition_penalty", "encoder_no_repeat_ngram_size"}
SET_ALWAYS = {"repetition_penalty"}  # by `Decoding`; a judge sets it not
CASES = [(kind, name) for name in INHERITED for kind in ("t5", "llama") if name not in SET_ALWAYS]


def sharpened(kind, tokenizer, seed=0):
    """A tiny model whose head is its own and far from uniform: it ends, and a cut-off cuts."""
    model = MAKERS[kind](tokenizer, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    head = torch.nn.Linear(32, len(tokenizer), bias=False)
    scale = 0.4 * (32**0.5 if kind == "t5" else 1.0)  # a T5 divides by the square root of its width
    head.weight.data = scale * torch.randn(head.weight.shape, generator=generator)
    head.weight.data[tokenizer.eos_token_id] *= 2
    model.set_output_embeddings(head)
    return model


@pytest.mark.parametrize(("kind", "name"), [case for case in CASES if case[0] == "t5" or case[1] not in OF_ENCODERS])
def test_samples_do_not_follow_the_models_generation_config(kind, name, tokenizer):
    model = sharpened(kind, tokenizer)
    _, expected = generate_ids(model, tokenizer, PROMPTS, EXACT, samples=4)
    setattr(model.generation_config, name, INHERITED[name])
    own = model.generation_config
    before = own.to_dict()
    assert generate_ids(model, tokenizer, PROMPTS, EXACT, samples=4)[1] == expected
    assert model.generation_config is own
    assert own.to_dict() == before


def test_the_kl_does_not_follow_the_models_generation_config(tokenizer):
    policy, reference = sharpened("llama", tokenizer, seed=1), sharpened("llama", tokenizer, seed=2)
    expected = kl_to_reference(policy, tokenizer, PROMPTS, reference, EXACT)
    for name in ("min_p", "num_beams", "forced_eos_token_id"):
        setattr(policy.generation_config, name, INHERITED[name])
    assert kl_to_reference(policy, tokenizer, PROMPTS, reference, EXACT) == expected


def test_an_adapter_samples_by_the_same_rules_and_keeps_its_models_generation_config(tokenizer):
    base = sharpened("llama", tokenizer)
    policy = add_adapter(base, LoraConfig(r=2, target_modules="all-linear"))
    _, expected = generate_ids(policy, tokenizer, PROMPTS, EXACT)
    own = base.generation_config
    own.min_p, own.min_length = 0.9, 7
    assert generate_ids(policy, tokenizer, PROMPTS, EXACT)[1] == expected
    assert policy.generation_config is base.generation_config is own


def test_the_models_generation_config_comes_back_after_an_error(tokenizer):
    model = make_llama(tokenizer)
    own = model.generation_config

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    model.forward = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        generate(model, tokenizer, PROMPTS)
    assert model.generation_config is own


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_exact_samples_have_the_distribution_that_response_logps_scores(kind, tokenizer):
    """First tokens of 4,000 samples against their probabilities, with a generation_config that would change them."""
    model = sharpened(kind, tokenizer)
    for name in ("forced_bos_token_id", "min_p", "suppress_tokens", "min_length"):
        setattr(model.generation_config, name, INHERITED[name])
    exact = Decoding(max_new_tokens=1, batch_size=500).exact(seed=0)
    asked, answers = generate_ids(model, tokenizer, ["the sea"], exact, samples=4000)
    tokens = list(range(len(tokenizer)))
    batch = collate(
        [asked[0]] * len(tokens), [[t] for t in tokens], pad_token_id=0, encoder_decoder=is_encoder_decoder(model)
    )
    with torch.no_grad():
        expected = response_logps(model, batch).total.exp()
    counts = torch.bincount(torch.tensor([ids[0] for ids in answers]), minlength=len(tokens))
    error = (counts / 4000 - expected).abs()
    assert float(expected.max()) > 0.05
    assert float((error / (expected * (1 - expected) / 4000).sqrt().clamp(min=1e-3)).max()) < 4.5


def test_an_encoder_decoder_starts_where_it_is_scored_from(tokenizer):
    model = make_t5(tokenizer)
    _, expected = generate_ids(model, tokenizer, PROMPTS, EXACT)
    model.generation_config.decoder_start_token_id = 5
    assert generate_ids(model, tokenizer, PROMPTS, EXACT)[1] == expected


# -------------------------------------------------------------------------------------------------------- the end


def always(model, *ids):
    """A model that says `ids`, one after the other, again and again, whatever it reads."""
    head = model.get_output_embeddings()
    plain, steps = head.forward, iter(range(10_000))

    def forward(hidden):
        logits = torch.full_like(plain(hidden), -1e4)
        logits[..., ids[next(steps) % len(ids)]] = 0.0
        return logits

    head.forward = forward
    return model


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_generation_stops_at_every_end_of_the_models_generation_config(kind, tokenizer):
    model = always(MAKERS[kind](tokenizer), 20, 5, 21)
    model.generation_config.eos_token_id = [1, 5]
    _, answers = generate_ids(model, tokenizer, ["the sea"], EXACT)
    assert answers == [[20, 5]]
    assert response_texts(model, tokenizer, answers) == [tokenizer.decode([20])]


@pytest.mark.parametrize(("template", "end"), [(CHATML, "<|im_end|>"), (GEMMA, "<end_of_turn>")])
def test_generation_stops_at_the_templates_end_of_turn_which_is_no_part_of_the_text(template, end):
    marks = ("<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>")
    tokenizer = byte_tokenizer(template, added=marks)
    letters = tokenizer("Hi", add_special_tokens=False)["input_ids"]
    model = always(make_llama(tokenizer), *letters, tokenizer.convert_tokens_to_ids(end), *letters)
    _, answers = generate_ids(model, tokenizer, ["2+2?"], EXACT)
    assert tokenizer.decode(answers[0]) == f"Hi{end}"
    model = always(make_llama(tokenizer), *letters, tokenizer.convert_tokens_to_ids(end), *letters)
    assert generate(model, tokenizer, ["2+2?"], max_new_tokens=8) == ["Hi"]
    model = always(make_llama(tokenizer), *letters, tokenizer.convert_tokens_to_ids(end), *letters)
    reply = LocalJudge(model, tokenizer, name="tiny").ask(["2+2?"], Settings(max_new_tokens=8))[0]
    assert reply.text == "Hi"


def test_prompts_are_generated_from_as_they_are_trained_on():
    tokenizer = byte_tokenizer()
    rows = datasets.Dataset.from_list([{"prompt": "What is 2+2?", "response": "Four", "reward": 1.0, "prompt_id": 0}])
    table, _ = tokenize(rows, tokenizer, limits=Limits(), encoder_decoder=False)
    asked, _ = generate_ids(make_llama(tokenizer), tokenizer, ["What is 2+2?"], EXACT)
    assert asked == table["prompt_ids"][:]
    assert tokenizer.decode(asked[0]) == "What is 2+2?\n"


def test_a_trained_model_is_saved_with_the_tokens_at_which_training_ends_responses(tmp_path):
    """So that other programs stop there, too; the ends it had before stay."""
    tokenizer = byte_tokenizer(CHATML, special=("<|im_start|>", "<|im_end|>"))
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model = make_llama(tokenizer)
    model.generation_config.eos_token_id = [1, 5]
    rows = [{"prompt": "2+2?", "response": text, "reward": len(text), "prompt_id": 0} for text in ("4", "Four")]
    args = PolicyTrainingArguments(output_dir=str(tmp_path), max_steps=1, report_to=[], use_cpu=True, disable_tqdm=True)
    trainer = PolicyTrainer(model, SFT(), args, datasets.Dataset.from_list(rows), processing_class=tokenizer)
    assert all(ids[-1] == end for ids in trainer.train_dataset.table["response_ids"])
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    assert set(GenerationConfig.from_pretrained(tmp_path / "model").eos_token_id) == {1, 5, end}


def test_a_local_judge_does_not_follow_its_generation_config(tokenizer):
    model = sharpened("llama", tokenizer)
    backend = LocalJudge(model, tokenizer, name="tiny")
    ask = [Settings(max_new_tokens=8), Settings(max_new_tokens=8, temperature=1.0, seed=1)]
    expected = [[reply.text for reply in backend.ask(PROMPTS, settings)] for settings in ask]
    for name in ("repetition_penalty", "min_p", "suppress_tokens", "min_length"):
        setattr(model.generation_config, name, INHERITED[name])
    replies = [backend.ask(PROMPTS, settings) for settings in ask]
    assert [[reply.text for reply in part] for part in replies] == expected
    assert all(math.isfinite(logprob) for reply in replies[0] for _, logprob in reply.top)


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
