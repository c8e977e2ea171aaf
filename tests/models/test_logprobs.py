"""response_logps against the model's own logits, and what must not matter: padding, side, chunks, sharing."""

import copy

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from conftest import MAKERS, TEXTS, make_llama, make_t5
from valuefree.batches.collate import IGNORED, Collator, collate
from valuefree.batches.rendering import Limits, tokenize
from valuefree.errors import ConfigError
from valuefree.models.hidden_states import POSITION_RESTARTS, supports_packing
from valuefree.models.logprobs import patch_forward, response_logps
from valuefree.models.modules import disable_dropout, is_encoder_decoder
from valuefree.models.packed_attention import attention_name

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


PROMPT_OF = [4, 7, 4, 2, 4]


def forms(model) -> dict[str, Collator]:
    kind = is_encoder_decoder(model)
    return {
        "packed": Collator(0, kind, share_prompts=True, padding_free=True),
        "packed, prompts repeated": Collator(0, kind, share_prompts=False, padding_free=True),
        "encoder rows shared": Collator(0, kind, share_prompts=kind, padding_free=False),
    }


def rows_of(prompts, responses, prompt_of=PROMPT_OF):
    return {"prompt_ids": prompts, "response_ids": responses, "prompt_id": prompt_of}


def scores_and_gradient(model, batch):
    model.zero_grad()
    total = response_logps(model, batch).total
    (total * torch.arange(1.0, len(total) + 1)).sum().backward()
    return total.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def with_adapter(model):
    return get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("form", ["packed", "packed, prompts repeated", "encoder rows shared"])
@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_form_of_a_batch_gives_the_same_scores_and_gradients(kind, form, adapter, checkpointing, tokenizer):
    """Groups of three, one and one, rows of a group apart; against one padded row per response, padded left.

    In float64, where what is left is the float32 of the models' own norms; in float32 see the next test.
    """
    model = MAKERS[kind](tokenizer).double()
    assert supports_packing(model)
    model = with_adapter(model) if adapter else model
    if checkpointing:
        model.train()
        disable_dropout(model)
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    batch = forms(model)[form].tensors(rows_of(SHARED_PROMPTS, SHARED_RESPONSES))
    scores, gradient = scores_and_gradient(model, batch)
    plain = collate(
        SHARED_PROMPTS, SHARED_RESPONSES, pad_token_id=0, encoder_decoder=is_encoder_decoder(model), padding_side="left"
    )
    expected, its_gradient = scores_and_gradient(model, plain)
    torch.testing.assert_close(scores, expected, atol=1e-6, rtol=1e-6)
    assert ((gradient - its_gradient).abs().max() / its_gradient.abs().max()).item() < 1e-6


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("form", ["packed", "packed, prompts repeated", "encoder rows shared"])
def test_in_float32_the_forms_differ_by_rounding_alone(kind, form, tokenizer):
    model = MAKERS[kind](tokenizer)
    scores, gradient = scores_and_gradient(model, forms(model)[form].tensors(rows_of(SHARED_PROMPTS, SHARED_RESPONSES)))
    plain = batch_of(model, prompts=SHARED_PROMPTS, responses=SHARED_RESPONSES)
    expected, its_gradient = scores_and_gradient(model, plain)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    assert ((gradient - its_gradient).abs().max() / its_gradient.abs().max()).item() < 1e-5


@pytest.mark.parametrize("kind", list(MAKERS))
def test_in_bfloat16_sharing_moves_scores_no_more_than_another_batch_shape_does(kind, tokenizer):
    """Largest difference to float32 of the same weights, over 40 responses; the other shape is one row at a time."""
    model = MAKERS[kind](tokenizer).to(torch.bfloat16)
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(2, 100, (5 + i // 4,), generator=generator).tolist() for i in range(0, 40, 4)]
    prompts = [prompt for prompt in prompts for _ in range(4)]
    responses = [torch.randint(2, 100, (1 + i % 9,), generator=generator).tolist() for i in range(40)]
    packed = forms(model)["packed"].tensors(rows_of(prompts, responses, [i // 4 for i in range(40)]))
    with torch.no_grad():
        shared = response_logps(model, packed).total
        plain = response_logps(model, batch_of(model, prompts=prompts, responses=responses)).total
        alone = torch.cat(
            [
                response_logps(model, batch_of(model, prompts=[p], responses=[r])).total
                for p, r in zip(prompts, responses, strict=True)
            ]
        )
    between_shapes = (plain - alone).abs()
    assert (shared - plain).abs().mean() <= 1.5 * between_shapes.mean() + 1e-3


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_packed_batch_has_no_padding(kind, tokenizer):
    """Distinct prompts of 4, 2 and 6 tokens, responses of 4 + 2 + 6 + 3 + 2: 29 positions, against those padded."""
    model = MAKERS[kind](tokenizer)
    encoder_decoder = is_encoder_decoder(model)
    collator = forms(model)["packed"]
    rows = rows_of(SHARED_PROMPTS, SHARED_RESPONSES)
    assert collator.padding(collator.tensors(rows)) == (0, 29)
    lengths = [len(p) for p in SHARED_PROMPTS], [len(r) for r in SHARED_RESPONSES]
    assert collator.positions(*lengths, PROMPT_OF) == 29
    padded = Collator(0, encoder_decoder, share_prompts=encoder_decoder, padding_free=False)
    padding, positions = padded.padding(padded.tensors(rows))
    # encoder 3 × 6 and decoder 5 × 6; or 5 rows of the longest prompt and response together, 4 + 6
    assert positions == padded.positions(*lengths, PROMPT_OF) == (48 if encoder_decoder else 50)
    assert positions - padding == (29 if encoder_decoder else 37)


def test_another_attention_is_neither_packed_nor_changed(tokenizer):
    for kind in MAKERS:
        model = MAKERS[kind](tokenizer)
        model.set_attn_implementation("eager")
        assert not supports_packing(model)
        with torch.no_grad():
            response_logps(model, batch_of(model))
        assert model.config._attn_implementation == "eager"


def test_a_packed_model_generates_and_saves_as_before(tokenizer, tmp_path):
    model = make_llama(tokenizer)
    ids = torch.tensor([[0, 5, 6], [7, 8, 9]])
    ask = {"input_ids": ids, "attention_mask": (ids > 0).long(), "max_new_tokens": 6, "do_sample": False}
    before = model.generate(**ask)
    with torch.no_grad():
        response_logps(model, forms(model)["packed"].tensors(rows_of(SHARED_PROMPTS, SHARED_RESPONSES)))
    assert torch.equal(model.generate(**ask), before)
    assert attention_name(model) == "sdpa"
    model.save_pretrained(tmp_path)
    assert "valuefree" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_frozen_head_keeps_no_logits_and_gives_the_same_gradient(kind, scaled, tokenizer, caplog):
    model = MAKERS[kind](tokenizer)
    if scaled and kind == "t5":
        model.config.scale_decoder_outputs = True
    head = model.get_output_embeddings()
    if head.weight is model.get_input_embeddings().weight:
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    batch = batch_of(model)
    caplog.set_level("DEBUG", logger="valuefree")
    scores, _ = scores_and_gradient(model, batch)
    assert "logits are kept for the backward pass" in caplog.text
    everything = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    head.weight.requires_grad_(False)
    again, _ = scores_and_gradient(model, batch)
    assert "the weight is frozen" in caplog.text
    torch.testing.assert_close(again, scores)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, everything[name], atol=1e-5, rtol=1e-4)


def test_each_head_path_is_logged_once(tokenizer, caplog):
    model = make_llama(tokenizer)
    caplog.set_level("DEBUG", logger="valuefree")
    for _ in range(2):
        response_logps(model, batch_of(model), max_logit_bytes=10).total.sum().backward()
    assert caplog.text.count("computed again in the backward pass") == 1


def test_autocast_around_the_whole_model_takes_part(tokenizer):
    """What accelerate does for bf16: a forward under autocast."""
    model = make_llama(tokenizer)
    patch_forward(model)
    seen = []
    model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    AcceleratorState._reset_state(reset_partial_state=True)  # of tests before this one
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    wrapped = accelerator.prepare_model(model)
    result = response_logps(wrapped, batch_of(model))
    assert seen == [torch.bfloat16]
    assert result.total.dtype == torch.float32
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_copy_of_a_prepared_model_is_its_own(tokenizer):
    model = make_llama(tokenizer)
    response_logps(model, batch_of(model))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(0.5)
        ids = torch.tensor([PROMPTS[0] + RESPONSES[0]])
        assert not torch.allclose(twin(input_ids=ids).logits, model(input_ids=ids).logits)
        result = response_logps(twin, batch_of(twin)).total.tolist()
        assert result == pytest.approx([by_hand(twin, p, r) for p, r in zip(PROMPTS, RESPONSES, strict=True)], abs=2e-5)


def test_prompt_tuning_is_refused(tokenizer):
    tuned = get_peft_model(make_llama(tokenizer), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(ConfigError, match="adapters that add tokens"):
        response_logps(tuned, batch_of(tuned))


@pytest.mark.parametrize("family", sorted(POSITION_RESTARTS))
def test_each_family_that_is_packed_scores_as_padded(family):
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
    assert supports_packing(model)
    columns = rows_of(SHARED_PROMPTS, SHARED_RESPONSES)
    with torch.no_grad():
        shared = response_logps(model, Collator(0, False).tensors(columns))
        plain = response_logps(model, Collator(0, False, False, False).tensors(columns))
    torch.testing.assert_close(shared.total, plain.total, atol=2e-5, rtol=1e-5)


def test_a_model_with_a_sliding_window_is_not_packed(tokenizer):
    model = make_llama(tokenizer)
    model.config.sliding_window = 4
    assert not supports_packing(model)


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
    batch = Collator(0, is_encoder_decoder(model), share_prompts=False, padding_free=False).batch(table, [0, 5])
    assert (batch["labels"] != IGNORED).sum(1).tolist() == [len(table["response_ids"][i]) for i in (0, 5)]


def test_texts_of_the_fixture_are_known_to_the_tokenizer(tokenizer):
    assert tokenizer.unk_token_id not in tokenizer(TEXTS[0])["input_ids"]
