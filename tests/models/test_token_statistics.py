"""Statistics of the scoring pass against plain formulas over whole distributions, token by token."""

import numpy as np
import pytest
import torch

from conftest import MAKERS
from valuefree.batches.collate import Collator, collate
from valuefree.errors import ConfigError
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import is_encoder_decoder
from valuefree.models.token_columns import BETAS, EVERY, MASSES, RANKS, SHAPES, SLICES, WIDTH, TokenStatistics
from valuefree.models.token_statistics import CACHE_BYTES, subsample, token_part

GENERATOR = torch.Generator().manual_seed(0)
PROMPTS = [[5, 6, 7, 8], [9, 10], [5, 6, 7, 8]]
RESPONSES = [torch.randint(2, 100, (n,), generator=GENERATOR).tolist() for n in (40, 1, 33)]


def sharp(kind, tokenizer):
    model = MAKERS[kind](tokenizer)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(6)
    return model


def log_probs_of(model, prompt, response):
    if is_encoder_decoder(model):
        return model(input_ids=torch.tensor([prompt]), labels=torch.tensor([response])).logits[0].log_softmax(-1)
    return model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)


def by_hand(log_probs, response):
    """All columns of one response, from the definitions in token_columns.py, with a loop over its tokens."""
    sums = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    phase = sum(response) % EVERY
    for place, (row, token) in enumerate(zip(log_probs.double().numpy(), response, strict=True)):
        probs, logp = np.exp(row), row[token]
        mean = probs @ row
        full = {"entropy": -mean, "variance": probs @ (row - mean) ** 2, "hits": float(token == row.argmax())}
        full |= {"top1": probs.max(), "top1_variance": probs.max() * (1 - probs.max())}
        for name, value in full.items():
            sums[name] += value
        if place == len(response) - 1:
            sums |= {f"last_{name}": value for name, value in full.items()} | {"last_logp": logp}
        elif (place + phase) % EVERY == 0:
            _add_sampled(sums, row, logp)
    return np.concatenate([np.ravel(sums[name]) for name in SHAPES])


def _add_sampled(sums, row, logp):
    probs = np.exp(row)
    above = row > logp
    sums["sampled"] += 1
    sums["largest_rank"] = max(sums["largest_rank"], 1 + above.sum())
    sums["largest_mass"] = max(sums["largest_mass"], probs[above].sum())
    sums["beyond"] += [*(above.sum() >= np.array(RANKS)), *(probs[above].sum() >= np.array(MASSES))]
    mass_above = np.array([probs[row > one].sum() for one in row])
    for index, beta in enumerate(BETAS):
        weights = probs**beta / (probs**beta).sum()
        mean = weights @ row
        sums["means"][index] += mean
        sums["variances"][index] += weights @ (row - mean) ** 2
        sums["top1s"][index] += weights.max()
        tails = [1 - np.sort(weights)[::-1][:rank].sum() for rank in RANKS]
        sums["tails"][index] += tails + [weights[mass_above >= mass].sum() for mass in MASSES]


@pytest.mark.parametrize("kind", list(MAKERS))
@torch.no_grad()
def test_every_column_equals_its_definition(kind, tokenizer):
    model = sharp(kind, tokenizer)
    encoder_decoder = is_encoder_decoder(model)
    expected = np.stack([by_hand(log_probs_of(model, p, r), r) for p, r in zip(PROMPTS, RESPONSES, strict=True)])
    rows = {"prompt_ids": PROMPTS, "response_ids": RESPONSES, "prompt_id": [0, 1, 0]}
    padded = collate(PROMPTS, RESPONSES, pad_token_id=0, encoder_decoder=encoder_decoder, padding_side="right")
    for batch in (padded, Collator(0, encoder_decoder).tensors(rows)):
        for size in (7, 512):
            scores = response_logps(model, batch, statistics=True, chunk_tokens=size)
            torch.testing.assert_close(scores.total, response_logps(model, batch).total, atol=1e-5, rtol=1e-6)
            for name, at in SLICES.items():
                found = scores.statistics.numpy()[:, at]
                np.testing.assert_allclose(found, expected[:, at], atol=2e-3, rtol=1e-4, err_msg=name)
    assert expected[:, SLICES["sampled"]].sum() >= 2


@torch.no_grad()
def test_logits_of_minus_infinity_count_as_probability_zero():
    """Four tokens, of which two are possible with probability ½: H = log 2, no variance."""
    logits = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]])
    part = token_part(logits, torch.tensor([1]), torch.tensor([True]))
    assert part.full[0].tolist() == pytest.approx([-np.log(2), np.log(2), 0, 1, 0.5, 0.25], abs=1e-6)
    assert part.sampled.isfinite().all()


@torch.no_grad()
def test_blocks_of_the_cache_change_nothing():
    vocabulary = CACHE_BYTES // 16  # four tokens per block
    logits = torch.randn(10, vocabulary, generator=GENERATOR) * 3
    ids, chosen = torch.arange(10), torch.arange(10) % 3 == 0
    whole = token_part(logits, ids, chosen)
    single = [token_part(logits[i : i + 1], ids[i : i + 1], chosen[i : i + 1]) for i in range(10)]
    for name in ("logps", "full", "sampled"):
        torch.testing.assert_close(getattr(whole, name), torch.cat([getattr(part, name) for part in single]))


def test_the_subsample_depends_on_the_response_alone_and_leaves_out_its_last_token():
    ids = torch.cat([torch.tensor(response) for response in RESPONSES])
    rows = torch.arange(3).repeat_interleave(torch.tensor([len(response) for response in RESPONSES]))
    together = subsample(ids, rows).split([len(response) for response in RESPONSES])
    for response, chosen in zip(RESPONSES, together, strict=True):
        alone = subsample(torch.tensor(response), torch.zeros(len(response), dtype=torch.int64))
        assert torch.equal(alone, chosen)
        assert not chosen[-1]
        assert (chosen.nonzero().flatten() + sum(response)).remainder(EVERY).eq(0).all()


def test_fields_have_their_shapes():
    statistics = TokenStatistics(np.arange(2.0 * WIDTH).reshape(2, WIDTH))
    assert statistics["tails"].shape == (2, len(BETAS), len(RANKS) + len(MASSES))
    assert statistics["entropy"].tolist() == [0, WIDTH]
    assert statistics["tails"][1, -1, -1] == 2 * WIDTH - 1


def test_statistics_need_no_gradients_and_whole_distributions(model):
    batch = collate(PROMPTS, RESPONSES, pad_token_id=0, encoder_decoder=is_encoder_decoder(model), padding_side="right")
    with pytest.raises(ConfigError, match="statistics=True have no gradient"):
        response_logps(model, batch, statistics=True)
    with torch.no_grad(), pytest.raises(ConfigError, match="Leave out one of the two"):
        response_logps(model, batch, statistics=True, top_k=3)
