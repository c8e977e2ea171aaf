"""Logged responses: the reference differs from itself by nothing, and rows keep their order."""

import numpy as np
import pytest
import torch

from conftest import make_llama, make_t5
from valuefree.batches.rendering import Limits
from valuefree.data import read_triplets
from valuefree.demo.data import feedback, take_prompts
from valuefree.errors import DataError
from valuefree.evaluation.held_out.assessment import HeldOutResponses
from valuefree.evaluation.held_out.logged_responses import LoggedResponses, sample_prompts
from valuefree.models.logprobs import response_logps
from valuefree.training.preparation import Scorer
from valuefree.training.scored_dataset import collator_for

MAKERS = pytest.mark.parametrize("make", [make_t5, make_llama])


def scorer_of(model, tokenizer, folder):
    collator = collator_for(model, tokenizer)
    limits, cache = Limits(96), str(folder / "scores")
    return Scorer(model, tokenizer, collator, torch.device("cpu"), limits, cache, batch_tokens=512, progress=False)


@MAKERS
def test_the_reference_has_no_log_ratio(make, tokenizer, tmp_path):
    model = make(tokenizer)
    rows = LoggedResponses.prepare(take_prompts(feedback(), 6), scorer_of(model, tokenizer, tmp_path)).rows(model)
    assert np.abs(rows.logratios).max() < 1e-4
    assert rows.features is None


@MAKERS
def test_log_ratios_are_of_each_row_in_the_order_of_the_data(make, tokenizer, tmp_path):
    data = take_prompts(feedback(), 6)
    reference, policy = make(tokenizer), make(tokenizer, seed=1)
    scorer = scorer_of(reference, tokenizer, tmp_path)
    responses = LoggedResponses.prepare(data, scorer)
    rows = responses.rows(policy)
    assert rows.rewards.tolist() == data["reward"][:]
    for row in (0, 7, len(data) - 1):
        batch = scorer.collator.batch(responses.table, [row])
        with torch.no_grad():
            own, base = (float(response_logps(model, batch).total) for model in (policy, reference))
        assert rows.logratios[row] == pytest.approx(own - base, abs=1e-3)


def test_prompts_with_one_response_have_features(tokenizer, tmp_path):
    model = make_llama(tokenizer)
    columns = [{"prompt": f"prompt {n}", "response": f"answer {n % 3}", "reward": n % 2} for n in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(str(row).replace("'", '"') for row in columns))
    data = read_triplets(str(tmp_path / "rows.jsonl"))
    rows = LoggedResponses.prepare(data, scorer_of(model, tokenizer, tmp_path)).rows(model)
    assert rows.features is not None
    assert rows.features.shape == (6, 32)


def test_no_rows_and_a_broken_policy_are_errors(tokenizer, tmp_path):
    model = make_llama(tokenizer)
    scorer = scorer_of(model, tokenizer, tmp_path)
    data = take_prompts(feedback(), 2)
    with pytest.raises(DataError, match="no rows"):
        LoggedResponses.prepare(data.select([]), scorer)
    responses = LoggedResponses.prepare(data, scorer)
    broken = make_llama(tokenizer)
    torch.nn.init.constant_(broken.model.norm.weight, float("nan"))
    with pytest.raises(DataError, match="finite"):
        responses.rows(broken)


def test_training_prompts_are_sampled_whole(tokenizer, tmp_path):
    data = feedback()
    assert sample_prompts(data, 1000, seed=0) is data
    drawn = sample_prompts(data, 10, seed=0)
    assert len(drawn) == 40
    assert sorted(set(drawn["prompt_id"])) == list(range(10))
    assert set(drawn["prompt"]) != set(sample_prompts(data, 10, seed=1)["prompt"])


def test_report_selection_and_training_rows_are_measured_apart(tokenizer, tmp_path):
    data = feedback()
    model, policy = make_llama(tokenizer), make_llama(tokenizer, seed=1)
    scorer = scorer_of(model, tokenizer, tmp_path)
    parts = {"report": take_prompts(data, 4), "training": take_prompts(data, 8)}
    held_out = HeldOutResponses.prepare(scorer, selection=None, seed=0, **parts)
    assessment = held_out.assess(policy, tau=1.0)
    assert assessment.learned.prompts == 4
    assert len(assessment.points["training"]["rewards"]) == 32
    assert "cannot be told" in str(assessment.learned.no_gain)
    assert "cannot be told" in str(assessment.origin)
    assert assessment.strength is None
