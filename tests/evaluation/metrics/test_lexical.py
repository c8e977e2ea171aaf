"""BLEU, ROUGE and METEOR: what the libraries give when called directly, and values worked by hand."""

import shutil
import subprocess
import sys
from pathlib import Path

import nltk
import numpy as np
import pytest
import sacrebleu
from nltk import word_tokenize
from nltk.translate.meteor_score import single_meteor_score
from rouge_score import rouge_scorer, scoring
from sacrebleu.metrics import BLEU

from metric_texts import texts
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation import text_metrics
from valuefree.evaluation.metrics import nltk_data
from valuefree.evaluation.metrics.bleu import bleu_of_sums
from valuefree.evaluation.metrics.row_scores import spread_over_processes


def value(prediction, reference, name, **settings):
    return text_metrics([prediction], [reference], metrics=[name], **settings)[name].value


def test_bleu_by_hand():
    """Matches 5 of 6, 3 of 5, 2 of 4, 1 of 3; equal lengths: the fourth root of 1/12."""
    found = text_metrics(["the cat sat on the mat"], ["the cat sat on a mat"], metrics="bleu,sacrebleu")
    assert found["bleu"].value == pytest.approx((1 / 12) ** 0.25, abs=1e-12)
    assert found["sacrebleu"].value == pytest.approx(100 * (1 / 12) ** 0.25, abs=1e-10)
    assert found["bleu"].note is None


def test_bleu_says_when_an_order_has_no_match():
    """Matches 2 of 4, 1 of 3, none of 2, none of 1; sacreBLEU counts a half, then a quarter."""
    found = text_metrics(["a b c d"], ["a b x y"], metrics="bleu,sacrebleu")
    assert found["bleu"].value == 0
    assert found["sacrebleu"].value == pytest.approx(100 * (2 / 4 * 1 / 3 * 0.5 / 2 * 0.25 / 1) ** 0.25, abs=1e-10)
    assert "no match of n-grams of order 3, 4" in found["bleu"].note


def test_the_brevity_penalty_by_hand():
    """Four of six words, all matches: e^(1 − 6/4)."""
    assert value("the cat sat on", "the cat sat on a mat", "bleu") == pytest.approx(np.exp(1 - 6 / 4), abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_bleu_equals_sacrebleu(count):
    predictions, references = texts(count, seed=3)
    found = text_metrics(predictions, references)
    direct = sacrebleu.corpus_bleu(predictions, [references])
    assert found["sacrebleu"].value == pytest.approx(direct.score, abs=1e-9)
    plain = BLEU(smooth_method="none", tokenize="13a")
    assert found["bleu"].value == pytest.approx(plain.corpus_score(predictions, [references]).score / 100, abs=1e-12)
    assert found["bleu"].signature == str(plain.get_signature())
    scorer = BLEU()
    scorer.corpus_score(predictions, [references])
    assert found["sacrebleu"].signature == str(scorer.get_signature())


def test_bleu_of_sums_equals_sacrebleu_on_every_kind_of_counts():
    generator = np.random.default_rng(0)
    for _ in range(500):
        totals = np.maximum(generator.integers(0, 6) - np.arange(4), 0)
        matches = np.minimum(np.sort(generator.integers(0, 4, size=4))[::-1], totals)
        lengths = [int(totals[0]), int(generator.integers(0, 8))]
        sums = np.array([[*matches, *totals, *lengths]], dtype=float)
        for smooth, method in ((True, "exp"), (False, "none")):
            direct = BLEU.compute_bleu(matches.tolist(), totals.tolist(), *lengths, smooth_method=method).score
            assert bleu_of_sums(sums, smooth=smooth)[0] == pytest.approx(direct, abs=1e-9), sums


def test_rouge_by_hand():
    """Longest common subsequence "police killed" (or "the gunman"), 2 of 4 words on either side."""
    assert value("police killed the gunman", "the gunman police killed", "rougeL") == pytest.approx(0.5)
    assert value("police killed the gunman", "the gunman police killed", "rouge1") == pytest.approx(1.0)
    assert value("police killed the gunman", "the gunman police killed", "rouge2") == pytest.approx(2 / 3)


def test_rouge_is_the_plain_mean_of_the_library(pairs):
    names = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(names)
    direct = [scorer.score(reference, text) for text, reference in zip(*pairs, strict=True)]
    found = text_metrics(*pairs, metrics=names)
    for name in names:
        assert found[name].value == pytest.approx(np.mean([score[name].fmeasure for score in direct]), abs=1e-12)


@pytest.mark.parametrize("names", [["rougeL"], ["rouge1", "rouge2", "rougeL", "rougeLsum"]])
def test_rouge_mid_equals_what_the_evaluate_library_does(pairs, names):
    """Its module draws from numpy's global generator for its four types in turn; asking for one changes nothing."""
    types = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer, aggregator = rouge_scorer.RougeScorer(rouge_types=types, use_stemmer=False), scoring.BootstrapAggregator()
    for text, reference in zip(*pairs, strict=True):
        aggregator.add_scores(scorer.score(reference, text))
    np.random.seed(42)  # noqa: NPY002
    direct = aggregator.aggregate()
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    found = text_metrics(*pairs, metrics=names, rouge_mid_seed=42)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    for name in names:
        assert found[f"{name}_mid"].value == direct[name].mid.fmeasure
        assert found[f"{name}_mid"].interval == (direct[name].low.fmeasure, direct[name].high.fmeasure)
        assert found[f"{name}_mid"].value != found[name].value


@pytest.mark.usefixtures("wordnet")
class TestMeteor:
    def test_by_hand(self):
        """Three matches in one chunk: 1 − ½·(1/3)³. Then two of three on either side: ⅔·(1 − ½·(1/2)³).

        nltk looks for synonyms among stems, so "auto" is found for "car", and "automobile" ("automobil") is not.
        """
        assert value("the cat sat", "the cat sat", "meteor") == pytest.approx(1 - 0.5 / 27)
        assert value("a dog runs", "a dog run", "meteor") == pytest.approx(1 - 0.5 / 27)  # by stem
        assert value("a car stopped", "one auto stopped", "meteor") == pytest.approx(2 / 3 * (1 - 0.5 / 8))
        assert value("a car stopped", "one automobile stopped", "meteor") == pytest.approx(1 / 3 * (1 - 0.5))

    def test_equals_nltk(self, pairs):
        direct = [
            single_meteor_score(word_tokenize(reference), word_tokenize(text), alpha=0.9, beta=3, gamma=0.5)
            for text, reference in zip(*pairs, strict=True)
        ]
        assert text_metrics(*pairs, metrics="meteor")["meteor"].value == pytest.approx(np.mean(direct), abs=1e-12)

    def test_empty_texts_score_nothing(self):
        found = text_metrics(["", "the cat", ""], ["the cat", "", ""], metrics="meteor")["meteor"]
        assert (found.value, found.n) == (0, 3)

    @pytest.mark.parametrize("processes", [2, 3, 5])
    def test_several_processes_give_the_same(self, pairs, processes):
        names = ["rouge1", "rougeL", "meteor"]
        alone = spread_over_processes(names, *pairs, processes=1)
        assert spread_over_processes(names, *pairs, processes=processes) == alone
        assert spread_over_processes(["rougeL"], *pairs, processes=processes)["rougeL"] == alone["rougeL"]


def test_a_process_without_meteor_data_is_an_error_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk_data, "DEBIAN", tmp_path / "no-wordnet")
    with pytest.raises(ConfigError, match=r"python -m nltk\.downloader wordnet punkt_tab"):
        text_metrics(["a"], ["a"], metrics="rougeL,meteor")
    with pytest.raises(ConfigError, match="which is not a folder"):
        text_metrics(["a"], ["a"], metrics="meteor", nltk_data=str(tmp_path / "nothing"))


@pytest.mark.usefixtures("wordnet")
def test_meteor_takes_data_from_a_folder_and_from_debian(tmp_path, monkeypatch, pairs):
    """A folder given, and Debian's files, which lack `lexnames` and stand where nltk does not look."""

    expected = text_metrics(*pairs, metrics="meteor")["meteor"].value
    places = {name: str(nltk.data.find(name)) for name in ("corpora/wordnet", "tokenizers/punkt_tab/english")}
    debian, folder = tmp_path / "debian", tmp_path / "data"
    shutil.copytree(places["corpora/wordnet"], debian, ignore=shutil.ignore_patterns("lexnames"))
    shutil.copytree(places["tokenizers/punkt_tab/english"], folder / "tokenizers" / "punkt_tab" / "english")
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk_data, "DEBIAN", debian)
    found = text_metrics(*pairs, metrics="meteor", nltk_data=str(folder))["meteor"].value
    assert found == expected
    made = tmp_path / "cache" / "nltk_data" / "corpora" / "wordnet"
    assert (made / "lexnames").read_bytes() == Path(places["corpora/wordnet"], "lexnames").read_bytes()
    assert nltk.data.path == [str(made.parents[1].resolve()), str(folder.resolve())]


@pytest.mark.usefixtures("wordnet")
def test_meteor_takes_the_archives_that_the_downloader_of_nltk_leaves(tmp_path, monkeypatch, pairs):
    expected = text_metrics(*pairs, metrics="meteor")["meteor"].value
    for place, folder in (("corpora", "wordnet"), ("tokenizers", "punkt_tab")):
        source = Path(str(nltk.data.find(f"{place}/{folder}")))
        (tmp_path / place).mkdir()
        shutil.make_archive(str(tmp_path / place / folder), "zip", source.parent, folder)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    nltk.tokenize._get_punkt_tokenizer.cache_clear()
    assert text_metrics(*pairs, metrics="meteor")["meteor"].value == expected


def test_lexnames_are_those_of_wordnet():
    """The first, the last and the middle as lexnames(5WN) prints them, and a line for each of 00 to 44."""
    lines = nltk_data.lexnames().splitlines()
    assert [line.split("\t")[0] for line in lines] == [f"{number:02d}" for number in range(45)]
    assert {"00\tadj.all\t3", "02\tadv.all\t4", "03\tnoun.Tops\t1", "18\tnoun.person\t1"} <= set(lines)
    assert {"29\tverb.body\t2", "43\tverb.weather\t2", "44\tadj.ppl\t3"} <= set(lines)


LEXICAL = "bleu,sacrebleu,rouge1,rouge2,rougeL,rougeLsum,length,length_ratio,distinct1,distinct2,self_repetition"


@pytest.mark.parametrize("predictions", [["", ""], ["", "the sea"], [" ", "\n"]])
@pytest.mark.parametrize("references", [["", ""], ["the sea", ""]])
def test_empty_texts_are_texts(predictions, references):
    found = text_metrics(predictions, references, metrics=LEXICAL)
    assert {found[name].n for name in ("bleu", "sacrebleu", "rougeL", "length")} == {2}
    assert found["sacrebleu"].value == pytest.approx(sacrebleu.corpus_bleu(predictions, [references]).score)
    if references == ["", ""]:
        assert (found["length_ratio"].value, found["length_ratio"].unscored) == (None, 2)
    if not any(text.strip() for text in predictions):
        assert found["distinct1"].value is None
        assert found["self_repetition"].value is None


def test_missing_texts_are_unscored_and_never_zero():
    predictions, references = ["the cat sat on a mat", None, "the cat", None], ["the cat sat on a mat", "a", None, None]
    found = text_metrics(predictions, references, metrics=LEXICAL)
    assert (found["rougeL"].value, found["rougeL"].n, found["rougeL"].unscored) == (pytest.approx(1), 1, 3)
    assert (found["bleu"].value, found["bleu"].n, found["bleu"].unscored) == (pytest.approx(1), 1, 3)
    assert (found["length"].value, found["length"].n, found["length"].unscored) == (4, 2, 2)
    nothing = text_metrics([None, None], ["a", "b"], metrics=LEXICAL)
    assert all(metric.value is None and metric.n == 0 and metric.unscored == 2 for metric in nothing.values())


def test_one_example_has_a_value_and_no_interval():
    found = text_metrics(["the cat sat on the mat"], ["the cat sat on a mat"], metrics=LEXICAL)
    assert all(metric.interval is None for metric in found.values())
    assert found["bleu"].value > 0


def test_ten_thousand_examples():
    predictions, references = ([f"{text} {i % 97}" for i, text in enumerate(column * 100)] for column in texts(100))
    found = text_metrics(predictions, references, metrics="bleu,sacrebleu,length_ratio")
    assert found["bleu"].n == found["bleu"].prompts == 10_000
    low, high = found["bleu"].interval
    assert low < found["bleu"].value < high
    assert high - low < 0.02


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "words"),
    [
        (([], []), {}, DataError, "no predictions"),
        ((["a"], ["a", "b"]), {}, DataError, "1 predictions, but 2 references"),
        ((["a"], None), {}, DataError, "bleu, sacrebleu, rougeL need references"),
        ((["a"], [3]), {}, DataError, "are no texts: int"),
        ((["a"], ["a"]), {"metrics": "rougel"}, ConfigError, "did you mean 'rougeL'"),
        ((["a"], ["a"]), {"metrics": ""}, ConfigError, "expected names of bleu"),
        ((["a"], ["a"]), {"metrics": "kl"}, ConfigError, "of models, not of texts"),
        ((["a"], ["a"]), {"metrics": "reward"}, ConfigError, "needs reward_function"),
        ((["a"],), {"metrics": "reward", "reward_function": len}, DataError, "need prompts"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments, settings, error, words):
    with pytest.raises(error, match=words):
        text_metrics(*arguments, **settings)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(ConfigError, match=r"pip install 'valuefree\[metrics\]'"):
        text_metrics(["a"], ["a"])


def test_the_mean_reward():
    def words(prompts, responses):
        return [float(len(response.split())) for response in responses]

    settings = {"metrics": "reward", "reward_function": words}
    found = text_metrics(["a b", "a", None], prompts=["p", "q", "r"], **settings)["reward"]
    assert (found.value, found.n, found.unscored) == (1.5, 2, 1)


def test_nothing_heavy_is_loaded_for_lexical_metrics():
    code = (
        "import sys; from valuefree.evaluation import text_metrics\n"
        "text_metrics(['a b'], ['a c'], metrics='bleu,rougeL,distinct1')\n"
        "assert not {'torch', 'bert_score'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = (
        "import sys, valuefree.evaluation.metrics.row_scores; assert not {'torch', 'scipy', 'nltk'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
