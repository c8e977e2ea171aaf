"""Values, intervals, diversity, and the forms in which metrics are written."""

import csv
import io
import json
from dataclasses import fields

import numpy as np
import pytest
from scipy import stats

from metric_texts import texts
from valuefree.cli.options.metrics import MetricOptions
from valuefree.errors import ConfigError
from valuefree.evaluation import text_metrics
from valuefree.evaluation.metrics.base import Metric, of_mean, of_ratio, of_sums
from valuefree.evaluation.metrics.registry import METRICS, OWNED, metric_names, names_in
from valuefree.evaluation.metrics.table import HEADER, as_csv, as_markdown, notes_of, table_rows, write_metrics
from valuefree.evaluation.stats import bootstrap_mean


def test_distinct_and_repetition_by_hand():
    """Five words of which three differ; three pairs that all differ. Five 4-grams of which four differ."""
    found = text_metrics(["a a b", "b c"], metrics="distinct1,distinct2,self_repetition,length")
    assert found["distinct1"].value == pytest.approx(3 / 5)
    assert found["distinct2"].value == 1
    assert (found["self_repetition"].value, found["self_repetition"].unscored) == (None, 2)
    assert found["length"].value == 2.5
    again = text_metrics(["a b c d a b c d", "a b"], metrics="self_repetition")["self_repetition"]
    assert (again.value, again.n, again.unscored) == (pytest.approx(1 - 4 / 5), 1, 1)


def test_the_jackknife_of_distinct_by_hand():
    """Without one of ten texts "a a b" 3 of 29 words differ, without "b c" 2 of 30.

    With m the mean of these eleven the error is √(10/11·Σ(x − m)²).
    """
    found = text_metrics(["a a b"] * 10 + ["b c"], metrics="distinct1")["distinct1"]
    without = np.array([3 / 29] * 10 + [2 / 30])
    half = stats.t.ppf(0.975, 10) * np.sqrt(10 / 11 * np.square(without - without.mean()).sum())
    assert found.value == 3 / 32
    assert found.interval == pytest.approx((3 / 32 - half, 3 / 32 + half))
    one = text_metrics(["a a b"], metrics="distinct1")["distinct1"]
    assert (one.value, one.interval) == (pytest.approx(2 / 3), None)


def test_the_interval_of_a_share_stays_within_0_and_1():
    """Of two texts Student's t alone would reach from −1.5 to 2.7."""
    assert text_metrics(["a a b", "b c"], metrics="distinct1")["distinct1"].interval == (0.0, 1.0)


def test_the_jackknife_of_distinct_covers_what_fresh_samples_give():
    """Words of a Zipf law: the 95 % interval of one draw holds the mean over 400 draws in most of them."""
    generator = np.random.default_rng(0)

    def draw():
        lengths = generator.integers(5, 30, size=60)
        return [" ".join(f"w{min(word, 5000)}" for word in generator.zipf(1.4, size=length)) for length in lengths]

    found = [text_metrics(draw(), metrics="distinct1")["distinct1"] for _ in range(400)]
    truth = np.mean([metric.value for metric in found])
    covered = np.mean([metric.interval[0] <= truth <= metric.interval[1] for metric in found])
    assert 0.92 <= covered <= 0.999


def test_the_length_ratio_is_one_of_sums():
    """Six words over four; the lengths of the responses are 4 and 2."""
    found = text_metrics(["a b c d", "a b"], ["a b", "a b"], metrics="length_ratio,length")
    assert found["length_ratio"].value == 6 / 4
    assert found["length_ratio"].signature == "tok:13a"


def test_tokens_of_a_tokenizer(tokenizer):
    text = "the sea is wide and blue"
    found = text_metrics([text], [text + " " + text], metrics="length,length_ratio", tokenizer=tokenizer)
    assert found["length"].value == len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert found["length_ratio"].value == pytest.approx(0.5)


@pytest.mark.parametrize("count", [20, 300])
def test_a_mean_as_ratio_of_sums_has_the_interval_of_the_mean(count):
    """Both come from the same resamples."""
    data = np.random.default_rng(1).lognormal(size=count)
    plain = bootstrap_mean(data)
    sums = of_ratio("length_ratio", data, np.ones(count), range(count))
    assert sums.value == pytest.approx(plain.value)
    assert sums.interval == pytest.approx(plain.interval, abs=1e-9)


@pytest.mark.parametrize("count", [30, 250])
def test_samples_of_a_prompt_are_no_further_evidence(count):
    """Every response three times: same values, same intervals as once, where rows taken alone would narrow them."""
    predictions, references = texts(count)
    names = "bleu,sacrebleu,rougeL,length,length_ratio"
    prompts = [f"prompt {i}" for i in range(count)]
    once = text_metrics(predictions, references, prompts=prompts, metrics=names)
    thrice = text_metrics(predictions * 3, references * 3, prompts=prompts * 3, metrics=names)
    naive = text_metrics(predictions * 3, references * 3, metrics=names)
    for name, metric in thrice.items():
        assert (metric.n, metric.prompts) == (3 * count, count)
        assert metric.value == pytest.approx(once[name].value)
        assert metric.interval == pytest.approx(once[name].interval)
        assert np.ptp(naive[name].interval) < 0.75 * np.ptp(metric.interval)


def test_unequal_numbers_of_samples_leave_the_plain_mean():
    found = of_mean("rougeL", [1.0, 0.0, 0.0, 0.5, None], ["p", "q", "q", "r", "r"])
    assert (found.value, found.n, found.unscored, found.prompts) == (0.375, 4, 1, 3)


def test_equal_values_have_no_interval_unless_the_metric_has_bounds():
    """Of 5 prompts up to 1 − .025^(1/5) = .5218 may be other than .5: ½ ± .2609."""
    table = np.tile([2.0, 4.0], (30, 1))
    found = of_sums("length_ratio", table, range(30), lambda sums: sums[:, 0] / sums[:, 1])
    assert (found.value, found.interval) == (0.5, None)
    assert of_mean("length", [0.5] * 5, range(5)).interval is None
    assert of_mean("rougeL", [0.5] * 5, range(5), bounds=(0, 1)).interval == pytest.approx((0.2391, 0.7609), abs=1e-4)
    uneven = of_mean("rougeL", [0.5] * 6, [0, 0, 1, 2, 3, 4], bounds=(0, 1))
    assert uneven.interval == pytest.approx((0.2391, 0.7609), abs=1e-4)


def test_the_interval_of_bleu_covers_the_bleu_of_the_population():
    """Samples of 50 of 3,000 pairs; the BLEU of all lies in 95 % of the intervals, give or take."""
    predictions, references = texts(3000, seed=5)
    truth = text_metrics(predictions, references, metrics="bleu")["bleu"].value
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        rows = generator.integers(3000, size=50)
        part = ([predictions[i] for i in rows], [references[i] for i in rows])
        low, high = text_metrics(*part, metrics="bleu")["bleu"].interval
        covered.append(low <= truth <= high)
    assert np.mean(covered) >= 0.85


FOUND = {
    "bleu": Metric("bleu", 0.5, (0.25, 0.75), 10, 2, 5, "tok:13a", "a note, with a comma"),
    "toxicity": Metric("toxicity", None, None, 0, 12),
}


def test_every_form_says_n_unscored_and_interval(tmp_path):
    write_metrics(tmp_path, FOUND)
    written = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert written["bleu"]["interval"] == [0.25, 0.75]
    assert written["toxicity"]["value"] is None
    rows = list(csv.DictReader(io.StringIO((tmp_path / "metrics.csv").read_text())))
    assert (rows[0]["low"], rows[0]["high"], rows[0]["n"], rows[0]["unscored"]) == ("0.25", "0.75", "10", "2")
    assert (rows[0]["note"], rows[1]["value"], rows[1]["better"]) == ("a note, with a comma", "", "lower")
    markdown = (tmp_path / "metrics.md").read_text().splitlines()
    assert markdown[0] == "| " + " | ".join(HEADER) + " |"
    assert markdown[2] == "| bleu | 0.5 | [0.25, 0.75] | 10 | 5 | 2 | higher |"
    assert markdown[3] == "| toxicity | – | – | 0 | 0 | 12 | lower |"
    assert markdown[5:] == ["- bleu: a note, with a comma", "- bleu: tok:13a"]
    assert as_csv(FOUND).count("\n") == 3
    assert as_markdown({}).count("\n") == 2
    assert notes_of({}) == table_rows({}) == []


def test_names_and_sets():
    assert metric_names("rougeL, paper") == ("rougeL", "bleu", "sacrebleu", "meteor", "bertscore", "toxicity")
    lexical = ("bleu", "sacrebleu", "rouge1", "rouge2", "rougeL", "meteor", "length", "length_ratio", "distinct1")
    assert names_in("lexical") == (*lexical, "distinct2", "self_repetition")
    assert not {added for entry in METRICS.values() for added in entry.adds} & set(METRICS)
    with pytest.raises(ConfigError, match="unknown metric 'bertscor'; did you mean 'bertscore'"):
        metric_names("bleu,bertscor")
    with pytest.raises(ConfigError, match="there are bleu, sacrebleu"):
        metric_names("xyz")


def test_every_option_of_metrics_names_its_owners():
    options = {item.name for item in fields(MetricOptions) if item.name != "metrics"}
    assert set(OWNED) == options
    with pytest.raises(ConfigError, match="--bertscore-model is read by bertscore, which --metrics does not name"):
        MetricOptions(bertscore_model="x").check_metrics(("bleu",))
    with pytest.raises(ConfigError, match="--bertscore-layer is 0"):
        MetricOptions(bertscore_layer=0).check_metrics(("bertscore",))
