"""Scores of the model as it is sampled: against transformers' own logits processors, and gradients against autograd."""

import math

import pytest
import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from conftest import MAKERS
from valuefree.batches.collate import Collator, collate
from valuefree.errors import ConfigError
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import is_encoder_decoder
from valuefree.models.sampler import Sampler

PROMPTS = [[5, 6, 7, 8], [9, 10], [5, 6, 7, 8]]
RESPONSES = [[20, 21, 22, 1], [30, 1], [23, 24, 25, 26, 27, 1]]


def logits_of(model, prompt, response):
    """Logits (T, V) of the tokens of one response, by the model's own forward pass."""
    if is_encoder_decoder(model):
        return model(input_ids=torch.tensor([prompt]), labels=torch.tensor([response])).logits[0]
    return model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]


def batches(model):
    kind = is_encoder_decoder(model)
    rows = {"prompt_ids": PROMPTS, "response_ids": RESPONSES, "prompt_id": [0, 1, 0]}
    yield collate(PROMPTS, RESPONSES, pad_token_id=0, encoder_decoder=kind, padding_side="left")
    yield Collator(0, kind, share_prompts=True, padding_free=True).tensors(rows)


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize(
    "sampler", [Sampler(0.7), Sampler(1.3, top_k=90), Sampler(1.0, top_p=0.97), Sampler(0.6, 100, 0.99)], ids=str
)
@torch.no_grad()
def test_equals_the_logits_processors_of_transformers(kind, sampler, tokenizer):
    model = MAKERS[kind](tokenizer)
    for parameter in model.get_output_embeddings().parameters():
        parameter.mul_(4)  # probabilities that are far from equal
    warpers = [TemperatureLogitsWarper(sampler.temperature)]
    warpers += [TopKLogitsWarper(sampler.top_k)] if sampler.top_k else []
    warpers += [TopPLogitsWarper(sampler.top_p)] if sampler.top_p < 1 else []
    expected = []
    for prompt, response in zip(PROMPTS, RESPONSES, strict=True):
        logps = LogitsProcessorList(warpers)(None, logits_of(model, prompt, response)).log_softmax(-1)
        expected.append(logps[torch.arange(len(response)), response].sum().item())
    for batch in batches(model):
        assert response_logps(model, batch, **sampler._asdict()).total.tolist() == pytest.approx(expected, abs=1e-4)
        assert response_logps(model, batch, **sampler._asdict(), chunk_tokens=2).total.tolist() == pytest.approx(
            expected, abs=1e-4
        )


@torch.no_grad()
def test_a_token_outside_the_support_has_probability_zero(model):
    batch = next(batches(model))
    top_one = response_logps(model, batch, top_k=1).total
    assert top_one.tolist() == [-math.inf] * 3
    assert response_logps(model, batch, top_k=10**6).total.isfinite().all()


@pytest.mark.parametrize("gradients", [False, True])
def test_temperature_one_changes_no_bit(model, gradients):
    for batch in batches(model):
        with torch.set_grad_enabled(gradients):
            assert torch.equal(response_logps(model, batch, temperature=1.0).total, response_logps(model, batch).total)


@pytest.mark.parametrize("kind", list(MAKERS))
@pytest.mark.parametrize("path", ["kept", "recomputed", "frozen", "module"])
def test_gradients_equal_autograd_of_log_softmax(kind, path, tokenizer):
    """Of the log-softmax of logits/T of the model's own forward pass; "module": a head with a bias."""
    model = MAKERS[kind](tokenizer).double()
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=path != "frozen")
    if path == "module":
        head.bias = torch.nn.Parameter(torch.linspace(-1, 1, len(head.weight), dtype=torch.float64))
    total = sum(
        (logits_of(model, prompt, response) / 0.7).log_softmax(-1)[torch.arange(len(response)), response].sum()
        * (i + 1)
        for i, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True))
    )
    weights = [p for p in model.parameters() if p.requires_grad]
    expected = torch.autograd.grad(total, weights, allow_unused=True)
    for batch in batches(model):
        limit = 0 if path == "recomputed" else 2**30
        scores = response_logps(model, batch, temperature=0.7, max_logit_bytes=limit, chunk_tokens=3).total
        gradients = torch.autograd.grad((scores * torch.arange(1.0, 4.0)).sum(), weights, allow_unused=True)
        for one, other in zip(gradients, expected, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_truncation_has_no_gradient(model):
    with pytest.raises(ConfigError, match=r"top_k=5 and top_p=1.0 have no gradient"):
        response_logps(model, next(batches(model)), top_k=5)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"temperature": math.inf}])
def test_a_sampler_outside_its_range_is_an_error(model, wrong):
    with pytest.raises(ConfigError, match="expected a finite"):
        response_logps(model, next(batches(model)), **wrong)
