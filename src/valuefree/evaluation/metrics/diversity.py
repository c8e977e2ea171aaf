"""Distinct n-grams and repetition, in words of sacreBLEU's tokenizer 13a. No torch."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from valuefree.evaluation.metrics.base import (
    LoadedSettings,
    Measure,
    Metric,
    Texts,
    numbers_of,
    of_mean,
    share_by_jackknife,
)
from valuefree.evaluation.metrics.extra import word_tokenizer

REPEATED = 4  # n of the n-grams of self_repetition


def ngrams(words: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """All n-grams, in order."""
    return list(zip(*(words[start:] for start in range(order)), strict=False))


def self_repetition(words: Sequence[str]) -> float | None:
    """1 − distinct 4-grams / 4-grams (Welleck et al. 2020, arXiv 1908.04319); None for fewer than four words."""
    grams = ngrams(words, REPEATED)
    return 1 - len(set(grams)) / len(grams) if grams else None


def distinct(
    name: str, order: int, words_R: Sequence[Sequence[str]], prompts: Sequence[Hashable], unscored: int
) -> Metric:
    """Distinct n-grams of all responses together over all n-grams (Li et al. 2016, arXiv 1510.03055).

    It falls with the number of responses, so compare it at an equal number. Interval: jackknife over prompts.
    """
    prompt_of = numbers_of(prompts)
    counts_P: list[Counter] = [Counter() for _ in range(int(prompt_of.max(initial=-1)) + 1)]
    for number, words in zip(prompt_of, words_R, strict=True):
        counts_P[number].update(ngrams(words, order))
    whole: Counter = Counter()
    for counts in counts_P:
        whole.update(counts)
    total = whole.total()
    if not total:
        return Metric(name, None, None, 0, unscored + len(words_R), signature="tok:13a")
    own_P = np.array([sum(whole[gram] == times for gram, times in counts.items()) for counts in counts_P])
    rest_P = total - np.array([counts.total() for counts in counts_P])
    value = len(whole) / total
    if (rest_P == 0).any():  # without that prompt the share is undefined
        return Metric(name, value, None, len(words_R), unscored, len(counts_P), "tok:13a")
    without_P = (len(whole) - own_P) / rest_P
    return share_by_jackknife(name, value, without_P, n=len(words_R), unscored=unscored, signature="tok:13a")


def load(names: Sequence[str], settings: LoadedSettings) -> Measure:
    """See `registry.MetricEntry`."""
    words_of = word_tokenizer()

    def measure(texts: Texts) -> dict[str, Metric]:
        words_R = [words_of(text) for text in texts.predictions]
        found = {
            name: distinct(name, order, words_R, texts.prompts, texts.unscored)
            for name, order in (("distinct1", 1), ("distinct2", 2))
            if name in names
        }
        if "self_repetition" in names:
            values = [self_repetition(words) for words in words_R]
            shared = {"unscored": texts.unscored, "signature": f"tok:13a|n:{REPEATED}"}
            found["self_repetition"] = of_mean("self_repetition", values, texts.prompts, bounds=(0.0, 1.0), **shared)
        return found

    return measure
