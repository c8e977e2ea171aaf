"""From rows to a `ScoredDataset`: who wrote the rows, and what that decides."""

from dataclasses import replace

import datasets
import pytest
import torch

from conftest import make_llama
from valuefree.batches.rendering import Limits
from valuefree.data import RewardScaler
from valuefree.models.authorship import Authorship
from valuefree.models.sampler import Sampler
from valuefree.objectives import KTO, RPO, SFT
from valuefree.training.preparation import Scorer, prepare
from valuefree.training.scored_dataset import collator_for
from valuefree.training.training_rows import training_rows


@pytest.fixture
def scorer(tokenizer):
    model = make_llama(tokenizer)
    return Scorer(model, tokenizer, collator_for(model, tokenizer), torch.device("cpu"), Limits(), progress=False)


def prepared(rows: datasets.Dataset, objective, scorer):
    table = training_rows(rows, objective, RewardScaler.fit(rows["reward"]))
    return prepare(rows, table, objective.resolve(table), scorer)


def test_rows_with_reference_scores_have_an_author(rows, scorer, caplog):
    caplog.set_level("INFO")
    scored = prepared(rows, RPO(), scorer)
    assert isinstance(scored.authorship, Authorship)
    assert scored.authorship.rows == 16
    assert scored.authorship.short() in caplog.text
    for objective in (SFT(), KTO()):
        found = prepared(rows, objective, scorer)
        assert (found.authorship is None) == (found.reference is None)


def test_a_truncating_sampler_leaves_the_author_open(rows, scorer):
    scored = prepared(rows, RPO(), replace(scorer, sampler=Sampler(top_k=1000)))
    assert scored.authorship is None


@pytest.mark.parametrize("verdict", ["on-policy", "temperature", "undecided"])
@pytest.mark.parametrize("given", [None, True, False])
def test_the_author_decides_on_policy_unless_it_is_given(verdict, given, rows, scorer, monkeypatch):
    found = replace(prepared(rows, RPO(), scorer).authorship, verdict=verdict)
    monkeypatch.setattr("valuefree.training.preparation.authorship", lambda *args, **settings: found)
    scored = prepared(rows, RPO(estimator="coverage", on_policy=given), scorer)
    expected = verdict == "on-policy" if given is None else given
    assert scored.report.settings.on_policy is expected
    who = "on-policy responses" if expected else "responses that others wrote"
    why = f"by the authorship test, which says {verdict}" if given is None else "as given by on_policy"
    assert f"{who} ({why})" in str(scored.report)
    same = prepared(rows, RPO(estimator="coverage", on_policy=expected), scorer)
    assert scored.values.tolist() == same.values.tolist()
