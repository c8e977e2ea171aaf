"""response_logps against the model's own logits, and what must not matter: padding, side, chunks, sharing."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from conftest import MAKERS, TEXTS, make_llama, make_t5
from valuefree.data.batching import IGNORED, Collator, collate, collate_shared
from valuefree.data.rendering import Limits, tokenize
from valuefree.errors import ConfigError
from valuefree.logprobs import POSITION_RESTARTS, response_logps, shares_prompts
from valuefree.models import is_encoder_decoder

PROMPTS = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16]]
RESPONSES = [[20, 21, 22, 1], [30, 1], [23, 24, 25, 26, 27, 1]]


def batch_of(model, side="right", pad=0, prompts=PROMPTS, responses=RESPONSES):
    return collate(prompts, responses, pad_token_id=pad, encoder_decoder=is_encoder_decoder(model), padding_side=side)


def by_hand(model, prompt, response) -> float:
    """Σ log softmax of the model's own logits, one row at a time, no padding."""
    if is_encoder_decoder(model):
        out = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([response]))
        logps = out.logits[0].log_softmax(-1)
        return sum(logps[t, token].item() for t, token in enumerate(response))
    logps = model(input_ids=torch.tensor([prompt + response])).logits[0].log_softmax(-1)
    return sum(logps[len(prompt) - 1 + t, token].item() for t, token in enumerate(response))


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("side", ["right", "left"])
def test_equals_the_sum_over_the_models_own_logits(kind, side, tokenizer):
    model = MAKERS[kind](tokenizer)
    with torch.no_grad():
        result = response_logps(model, batch_of(model, side))
        expected = [by_hand(model, p, r) for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    assert result.total.tolist() == pytest.approx(expected, abs=2e-5)
    assert result.tokens.tolist() == [4, 2, 6]
    torch.testing.assert_close(result.mean, result.total / torch.tensor([4, 2, 6]))


def test_content_of_the_padding_is_irrelevant(model):
    with torch.no_grad():
        clean = response_logps(model, batch_of(model)).total
        dirty = batch_of(model)
        dirty["input_ids"] = dirty["input_ids"].masked_fill(dirty["attention_mask"] == 0, 33)
        torch.testing.assert_close(response_logps(model, dirty).total, clean, atol=1e-6, rtol=1e-6)


def test_more_padding_is_irrelevant(model):
    with torch.no_grad():
        alone = [
            response_logps(model, batch_of(model, prompts=[p], responses=[r])).total.item()
            for p, r in zip(PROMPTS, RESPONSES, strict=True)
        ]
        assert response_logps(model, batch_of(model)).total.tolist() == pytest.approx(alone, abs=2e-5)


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("limit", [0, 2**30])
def test_chunks_and_recomputation_change_neither_value_nor_gradient(model, chunk, limit):
    def run(**knobs):
        model.zero_grad()
        total = response_logps(model, batch_of(model), **knobs).total
        total.sum().backward()
        return total.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    total, gradients = run()
    again, same = run(chunk_tokens=chunk, max_logit_bytes=limit)
    torch.testing.assert_close(again, total)
    for one, two in zip(gradients, same, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


SHARED_PROMPTS = [PROMPTS[0], PROMPTS[1], PROMPTS[0], PROMPTS[2], PROMPTS[0]]
SHARED_RESPONSES = [*RESPONSES, [40, 41, 1], [42, 1]]


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("width", [1024, 13])
def test_a_shared_prompt_gives_the_same_scores_and_gradients(kind, attention, width, tokenizer):
    model = MAKERS[kind](tokenizer)
    model.set_attn_implementation(attention)
    assert shares_prompts(model)
    shape = {"pad_token_id": 0, "encoder_decoder": is_encoder_decoder(model)}
    prompt_of = [4, 7, 4, 2, 4]
    shared = collate_shared(SHARED_PROMPTS, SHARED_RESPONSES, prompt_of, max_width=width, **shape)
    plain = collate(SHARED_PROMPTS, SHARED_RESPONSES, **shape)
    results = []
    for batch in (shared, plain):
        model.zero_grad()
        total = response_logps(model, batch).total
        (total * torch.arange(1.0, 6.0)).sum().backward()
        results.append(
            (total.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        )
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-5, rtol=1e-5)
    scale = results[1][1].abs().max()
    assert ((results[0][1] - results[1][1]).abs().max() / scale).item() < 1e-5


@pytest.mark.parametrize("family", sorted(POSITION_RESTARTS))
def test_each_family_that_shares_prompts_scores_as_without_sharing(family):
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0}
    sizes |= {"bos_token_id": 1, "eos_token_id": 1}
    if family == "gpt2":
        sizes = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **sizes, attn_implementation="sdpa")
    if getattr(config, "sliding_window", None) is not None:
        config.sliding_window = None  # with a window it is not shared, which another test shows
    model = AutoModelForCausalLM.from_config(config).eval()
    assert shares_prompts(model)
    shape = {"pad_token_id": 0, "encoder_decoder": False}
    with torch.no_grad():
        shared = response_logps(model, collate_shared(SHARED_PROMPTS, SHARED_RESPONSES, [4, 7, 4, 2, 4], **shape))
        plain = response_logps(model, collate(SHARED_PROMPTS, SHARED_RESPONSES, **shape))
    torch.testing.assert_close(shared.total, plain.total, atol=2e-5, rtol=1e-5)


def test_a_model_with_a_sliding_window_does_not_share(tokenizer):
    model = make_llama(tokenizer)
    model.config.sliding_window = 4
    assert not shares_prompts(model)


def test_labels_on_the_first_token_are_an_error(tokenizer):
    model = make_llama(tokenizer)
    ids = torch.tensor([[5, 6]])
    with pytest.raises(ConfigError, match="nothing predicts"):
        response_logps(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids})


def test_an_unknown_way_to_the_logits_is_an_error(tokenizer):
    model = make_llama(tokenizer)
    old = model.forward

    def forward(*args, **kwargs):
        out = old(*args, **kwargs)
        out.logits = out.logits * 1.5
        return out

    model.forward = forward
    with pytest.raises(ConfigError, match="more between hidden states and logits"):
        response_logps(model, batch_of(model))


def test_t5_with_scaled_outputs(tokenizer):
    model = make_t5(tokenizer)
    model.config.scale_decoder_outputs = True
    with torch.no_grad():
        result = response_logps(model, batch_of(model)).total.tolist()
        assert result == pytest.approx(
            [by_hand(model, p, r) for p, r in zip(PROMPTS, RESPONSES, strict=True)], abs=2e-5
        )


def test_end_of_sequence_is_counted(model, tokenizer, rows):
    table, _ = tokenize(rows, tokenizer, limits=Limits(), encoder_decoder=is_encoder_decoder(model))
    assert all(ids[-1] == tokenizer.eos_token_id for ids in table["response_ids"])
    batch = Collator(0, is_encoder_decoder(model), share_prompts=False).batch(table, [0, 5])
    assert (batch["labels"] != IGNORED).sum(1).tolist() == [len(table["response_ids"][i]) for i in (0, 5)]


def test_texts_of_the_fixture_are_known_to_the_tokenizer(tokenizer):
    assert tokenizer.unk_token_id not in tokenizer(TEXTS[0])["input_ids"]
