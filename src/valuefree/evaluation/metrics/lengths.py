"""Lengths in tokens: of the responses, and relative to the references. No torch."""

import math
from collections.abc import Sequence
from typing import Any

from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.base import LoadedSettings, Measure, Metric, Texts, of_mean, of_ratio
from valuefree.evaluation.metrics.extra import library, name_of, word_tokenizer


class TokenCounter:
    """Counts tokens: of a transformers tokenizer without special tokens, or words as 13a splits them.

    Args:
        tokenizer: None for words; else a tokenizer, or its hub name or folder.

    Raises:
        ConfigError: a tokenizer that cannot be loaded; sacrebleu is not installed.
    """

    def __init__(self, tokenizer: Any = None):
        if isinstance(tokenizer, str):
            try:
                tokenizer = library("transformers").AutoTokenizer.from_pretrained(tokenizer)
            except (OSError, ValueError) as error:
                raise ConfigError(f"could not load the tokenizer {tokenizer!r}: {error}") from error
        self.tokenizer = tokenizer
        self.signature = "tok:13a"
        if tokenizer is None:
            self._words = word_tokenizer()
        else:
            named = tokenizer.name_or_path
            self.signature = f"tok:{name_of(named) if named else type(tokenizer).__name__}"

    def __call__(self, text: str) -> float:
        """Number of tokens."""
        if self.tokenizer is None:
            return float(len(self._words(text)))
        return float(len(self.tokenizer(text, add_special_tokens=False)["input_ids"]))


def load(names: Sequence[str], settings: LoadedSettings) -> Measure:
    """See `registry.MetricEntry`."""
    count = TokenCounter(settings.tokenizer)

    def measure(texts: Texts) -> dict[str, Metric]:
        shared = {"unscored": texts.unscored, "signature": count.signature}
        own = [count(text) for text in texts.predictions]
        found = {}
        if "length" in names:
            found["length"] = of_mean("length", own, texts.prompts, bounds=(0.0, math.inf), **shared)
        if "length_ratio" in names:
            others = [count(text) for text in texts.references]
            found["length_ratio"] = of_ratio("length_ratio", own, others, texts.prompts, **shared)
        return found

    return measure
