"""Who wrote the responses: closed forms on a coin, then samples of tiny models, of others, and at other settings."""

import json
import math

import numpy as np
import pytest
import torch

from conftest import MAKERS
from valuefree.batches.collate import Collator
from valuefree.evaluation.generation import Decoding, generate_ids
from valuefree.models.authorship import Authorship, authorship
from valuefree.models.logprobs import response_logps
from valuefree.models.modules import is_encoder_decoder
from valuefree.models.token_columns import WIDTH, TokenStatistics
from valuefree.models.token_statistics import response_statistics, subsample, token_part
from valuefree.models.token_sums import cut_rows

P = 0.8


def of_distributions(logits, ids, lengths, **settings) -> Authorship:
    """Of tokens `ids` (N,) that were predicted by `logits` (N, V), in responses of `lengths`."""
    rows = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    chosen = subsample(ids, rows)
    part = token_part(logits.double(), ids, chosen)
    values = response_statistics(part.full, part.sampled, chosen, rows, len(lengths)).numpy()
    logps = torch.zeros(len(lengths), dtype=torch.float64).index_add(0, rows, part.logps).numpy()
    return authorship(TokenStatistics(values), logps, np.array(lengths), **settings)


def of_coin(heads, tokens, **settings):
    """A model that always predicts token 0 with probability .8, and responses of which `heads` tokens are token 0."""
    lengths = list(range(20, 60)) * 5 + [100] if tokens == 8000 else [39, 41]
    ids = torch.cat([torch.zeros(heads), torch.ones(tokens - heads)]).long()
    ids = ids[torch.randperm(tokens, generator=torch.Generator().manual_seed(0))]
    return of_distributions(torch.tensor([P, 1 - P]).log().expand(tokens, 2), ids, lengths, **settings)


@pytest.mark.parametrize("heads", [6800, 6400, 7200])
def test_the_temperature_of_a_coin_has_a_closed_form(heads):
    """p_β of token 0 is 1/(1 + e^{−β logit .8}), and the likelihood is largest where it is the observed share."""
    result = of_coin(heads, 8000)
    share = heads / 8000
    expected = math.log(P / (1 - P)) / math.log(share / (1 - share))
    assert result.temperature == pytest.approx(expected, rel=0.01)
    information = 8000 * share * (1 - share) * math.log(P / (1 - P)) ** 2
    half_width = 1.96 / math.sqrt(information) * expected**2
    assert (result.high - result.low) / 2 == pytest.approx(half_width, rel=0.1)
    assert result.hits == share
    assert result.hits_expected == pytest.approx(share, abs=0.003)
    assert result.hits_z == pytest.approx((heads - 6400) / math.sqrt(8000 * P * (1 - P)), abs=1e-3)
    assert result.surprise_z == pytest.approx(-result.hits_z, abs=1e-3)


def test_verdicts_on_a_coin():
    assert of_coin(6400, 8000).verdict == "on-policy"
    assert of_coin(6400, 8000).p == pytest.approx(1)
    assert of_coin(7200, 8000).verdict == "temperature"
    assert of_coin(64, 80).verdict == "undecided"


def test_the_temperature_is_relative_to_that_of_the_scores():
    plain, scored = of_coin(7200, 8000), of_coin(7200, 8000, temperature=0.5)
    assert scored.temperature == pytest.approx(plain.temperature / 2)
    assert scored.verdict == "temperature"
    assert "another temperature than 0.5" in scored.sentence()
    assert scored.short() == (
        "The responses are consistent with samples of this model at another temperature than 0.5."
    )


def test_greedy_responses_are_at_the_end_of_the_range():
    result = of_coin(8000, 8000)
    assert result.verdict == "temperature"
    assert "temperature 0.25 or below" in result.sentence()


def test_without_a_subsample_the_temperature_is_of_first_order():
    """Responses of one token: β̂ = 1 + Σ(log p(y) − E)/ΣVar."""
    ids = (torch.arange(1000) % 5 == 0).long()  # 800 heads of 1000
    result = of_distributions(torch.tensor([P, 1 - P]).log().expand(1000, 2), ids, [1] * 1000)
    assert result.temperature == pytest.approx(1, abs=1e-3)
    assert result.hits_expected == pytest.approx(P)


@pytest.mark.parametrize(("hits", "verdict"), [(480, "on-policy"), (280, "other")])
def test_few_hits_of_a_flat_model_are_another_author(hits, verdict):
    """A token of probability .06, ten of .04 and 54 of .01; responses whose mean log-probability is that of the model.

    With 480 of 8000 hits they are as the model draws them. With 280 the other tokens make up for the missing hits, so
    that the temperature is 1, and the share of hits is .035 in place of .06.
    """
    logits = torch.tensor([0.06] + [0.04] * 10 + [0.01] * 54).log() - 1e-4 * torch.arange(65)
    middle = {480: 3200, 280: 3459}[hits]
    low = 8000 - hits - middle
    ids = torch.cat([torch.zeros(hits).long(), 1 + torch.arange(middle) % 10, 11 + torch.arange(low) % 54])
    ids = ids[torch.randperm(8000, generator=torch.Generator().manual_seed(0))]
    result = of_distributions(logits.expand(8000, 65), ids, [*range(20, 60)] * 5 + [100])
    assert result.temperature == pytest.approx(1, abs=0.01)
    assert result.hits_expected == pytest.approx(0.06, abs=1e-3)
    assert result.verdict == verdict
    assert ("can pass for its samples" in result.short()) == (verdict == "on-policy")
    assert "can pass" not in of_coin(6400, 8000).sentence()


def test_no_rows_and_no_uncertainty_are_undecided():
    nothing = authorship(TokenStatistics(np.zeros((0, WIDTH))), np.zeros(0), np.zeros(0, dtype=int))
    sure = of_distributions(torch.tensor([0.0, -torch.inf]).expand(80, 2), torch.zeros(80).long(), [40, 40])
    for result in (nothing, sure):
        assert result.verdict == "undecided"
        assert "no estimate of the temperature" in result.sentence()
        again = Authorship.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False)))
        assert again.verdict == "undecided"


def test_a_dictionary_gives_the_same_object_again():
    for result in (of_coin(6400, 8000), of_coin(7200, 8000)):
        assert Authorship.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@pytest.mark.parametrize("settings", [{"k": 20}, {"mass": 0.9}])
def test_truncated_samples_are_recognised_with_their_bound(settings):
    """300 tokens with Gaussian logits, of which only the most probable are drawn."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(16000, 300, generator=generator)
    ordered, order = logits.softmax(-1).sort(-1, descending=True)
    above = ordered.cumsum(-1) - ordered
    kept = torch.arange(300) < settings["k"] if "k" in settings else above < settings["mass"]
    drawn = torch.multinomial(ordered * kept, 1, generator=generator)
    ids = order.gather(-1, drawn).squeeze(-1)
    result = of_distributions(logits, ids, list(range(20, 60)) * 10 + [200])
    assert result.verdict == "truncated"
    assert result.bound == ("top-k 20" if "k" in settings else "top-p 0.9")
    assert not result.on_policy
    assert f"with {result.bound}: of the tokens looked at, 0 are beyond" in result.sentence()


def test_lengths_that_pile_up_are_cut():
    """120 of 300 rows at 41 tokens, two a little beyond; then lengths without a limit."""
    spread = np.arange(178) % 39 + 2
    cut = cut_rows(np.concatenate([spread, np.full(120, 41), [42, 43]]))
    assert cut.sum() == 122
    assert not cut[:178].any()
    assert not cut_rows(spread).any()
    assert not cut_rows(np.full(3, 9)).any()
    assert not cut_rows(np.random.default_rng(0).geometric(0.1, 500)).any()


def sharp(kind, tokenizer, seed=0):
    """A tiny model with random weights whose predictions differ as much as those of a trained model."""
    model = MAKERS[kind](tokenizer, seed=seed)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1 if kind == "t5" else 14)
    return model


def of_samples(reader, writer, tokenizer, rows=200, **decoding) -> Authorship:
    """`reader`'s verdict on `rows` samples of `writer`; an end of sequence is added to those that were cut."""
    settings = {"max_new_tokens": 24, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "batch_size": 200} | decoding
    prompts = [f"Name {number} fruits that cats like." for number in range(rows)]
    asked, answers = generate_ids(writer, tokenizer, prompts, Decoding(**settings))
    answers = [ids if ids[-1] == 1 else [*ids, 1] for ids in answers]
    batch = Collator(0, is_encoder_decoder(reader)).tensors({"prompt_ids": asked, "response_ids": answers})
    with torch.no_grad():
        scores = response_logps(reader, batch, statistics=True)
    return authorship(TokenStatistics(scores.statistics.numpy()), scores.total.double().numpy(), scores.tokens.numpy())


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_samples_of_a_model_are_recognised(kind, tokenizer):
    model = sharp(kind, tokenizer)
    for seed in range(3):
        result = of_samples(model, model, tokenizer, seed=seed)
        assert result.on_policy, result.sentence()
        assert result.cut > 0
    assert of_samples(model, model, tokenizer, temperature=0.7).verdict == "temperature"
    other = of_samples(model, sharp(kind, tokenizer, seed=1), tokenizer)
    assert other.verdict in ("other", "temperature")
    assert not other.on_policy
    few = of_samples(model, model, tokenizer, rows=4, max_new_tokens=6)
    assert few.verdict == "undecided"
