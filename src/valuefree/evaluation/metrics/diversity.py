"""Length, distinct n-grams, repetition: of words as sacreBLEU's tokenizer 13a cuts them. No torch."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from valuefree.evaluation.metrics.base import Metric, numbers_of, of_mean, of_ratio, share_by_jackknife
from valuefree.evaluation.metrics.extra import library, name_of

REPEATED = 4  # words of the n-grams of self_repetition


def words_of(text: str) -> list[str]:
    """Words and punctuation, case kept."""
    return _cutter()(text.rstrip()).split()


def _cutter() -> Callable[[str], str]:
    return library("sacrebleu.tokenizers.tokenizer_13a").Tokenizer13a()


def ngrams(words: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """All n-grams, in order."""
    return list(zip(*(words[start:] for start in range(order)), strict=False))


def self_repetition(words: Sequence[str]) -> float | None:
    """1 − distinct 4-grams / 4-grams (Welleck et al. 2020, arXiv 1908.04319); None for fewer than four words."""
    grams = ngrams(words, REPEATED)
    return 1 - len(set(grams)) / len(grams) if grams else None


def distinct(name: str, order: int, words_R: Sequence[Sequence[str]], prompts: Sequence[Hashable], unscored: int):
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
    if (rest_P == 0).any():  # one prompt has all the n-grams, so nothing is known of the variation
        return Metric(name, value, None, len(words_R), unscored, len(counts_P), "tok:13a")
    without_P = (len(whole) - own_P) / rest_P
    return share_by_jackknife(name, value, without_P, n=len(words_R), unscored=unscored, signature="tok:13a")


def diversity_metrics(
    names: Sequence[str], predictions: Sequence[str], prompts: Sequence[Hashable], unscored: int
) -> dict[str, Metric]:
    """Those of distinct1, distinct2 and self_repetition that are named."""
    cut = _cutter()
    words_R = [cut(text.rstrip()).split() for text in predictions]
    found = {}
    for order, name in ((1, "distinct1"), (2, "distinct2")):
        if name in names:
            found[name] = distinct(name, order, words_R, prompts, unscored)
    if "self_repetition" in names:
        values = [self_repetition(words) for words in words_R]
        found["self_repetition"] = of_mean(
            "self_repetition",
            values,
            prompts,
            bounds=(0.0, 1.0),
            unscored=unscored,
            signature=f"tok:13a|n:{REPEATED}",
        )
    return found


class TokenCounter:
    """Counts tokens: of a transformers tokenizer without special tokens, or words of 13a."""

    def __init__(self, tokenizer: Any = None):
        self.tokenizer = tokenizer
        self._cut = _cutter() if tokenizer is None else None
        self.signature = "tok:13a"
        if tokenizer is not None:
            named = tokenizer.name_or_path
            self.signature = f"tok:{name_of(named) if named else type(tokenizer).__name__}"

    def __call__(self, text: str) -> int:
        """Number of tokens."""
        if self._cut is not None:
            return len(self._cut(text.rstrip()).split())
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def length(self, predictions: Sequence[str], prompts: Sequence[Hashable], unscored: int) -> Metric:
        """Mean tokens per response."""
        values = [float(self(text)) for text in predictions]
        return of_mean("length", values, prompts, bounds=(0.0, math.inf), unscored=unscored, signature=self.signature)

    def ratio(
        self, predictions: Sequence[str], references: Sequence[str], prompts: Sequence[Hashable], unscored: int
    ) -> Metric:
        """Tokens of all responses over tokens of all references."""
        above, below = ([float(self(text)) for text in texts] for texts in (predictions, references))
        return of_ratio("length_ratio", above, below, prompts, unscored=unscored, signature=self.signature)
