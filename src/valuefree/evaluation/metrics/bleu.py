"""BLEU and sacreBLEU, from the same counts. No torch."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from valuefree.evaluation.metrics.base import LoadedSettings, Measure, Metric, Texts, of_sums
from valuefree.evaluation.metrics.extra import library

ORDERS = 4


def bleu_counts(predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Sufficient statistics by sacreBLEU, tokenizer 13a: matches and totals of 1- to 4-grams, both lengths; (R, 10)."""
    scorer = library("sacrebleu.metrics").BLEU(effective_order=True)  # for one sentence; it does not change the counts
    scores = (scorer.sentence_score(text, [reference]) for text, reference in zip(predictions, references, strict=True))
    rows = [[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores]
    return np.array(rows, dtype=np.float64).reshape(-1, 2 * ORDERS + 2)


def bleu_of_sums(sums_BK: np.ndarray, *, smooth: bool, highest: float = 100.0) -> np.ndarray:
    """BLEU from 0 to `highest` of sums of `bleu_counts`, shape (B, 10) → (B,).

    smooth: an order without a match counts as half a match, the next as a quarter (sacreBLEU's "exp"); else BLEU is 0.
    """
    matches, totals = sums_BK[:, :ORDERS], sums_BK[:, ORDERS : 2 * ORDERS]
    length, reference = sums_BK[:, -2], sums_BK[:, -1]
    missed = (matches == 0) & (totals > 0)
    counted = np.where(missed, 0.5 ** np.cumsum(missed, axis=1), matches) if smooth else matches
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(totals > 0, counted / totals, 0.0)).mean(axis=1)
        brevity = np.where(length < reference, np.exp(1 - reference / length), 1.0)
        scores = 100 * brevity * np.exp(logs)
    return np.where(matches.any(axis=1) & (length > 0), scores, 0.0) / (100.0 / highest)


def load(names: Sequence[str], settings: LoadedSettings) -> Measure:
    """See `registry.MetricEntry`: bleu from 0 to 1, sacrebleu from 0 to 100."""
    scorers = library("sacrebleu.metrics")

    def measure(texts: Texts) -> dict[str, Metric]:
        counts = bleu_counts(texts.predictions, texts.references)
        found = {}
        for name in names:
            smooth = name == "sacrebleu"
            scorer = scorers.BLEU(smooth_method="exp" if smooth else "none")
            scorer.corpus_score([""], [[""]])  # a signature needs a corpus to know the number of references
            found[name] = of_sums(
                name,
                counts,
                texts.prompts,
                partial(bleu_of_sums, smooth=smooth, highest=100.0 if smooth else 1.0),
                unscored=texts.unscored,
                signature=str(scorer.get_signature()),
                note=None if smooth else _difference(counts.sum(axis=0, keepdims=True)),
            )
        return found

    return measure


def _difference(sums_1K: np.ndarray) -> str | None:
    """Why BLEU without smoothing differs from sacreBLEU, if it does."""
    plain, smoothed = (bleu_of_sums(sums_1K, smooth=smooth).item() for smooth in (False, True))
    if abs(smoothed - plain) <= 1e-9:
        return None
    orders = [str(order + 1) for order in range(ORDERS) if not sums_1K[0, order]]
    return f"differs from sacreBLEU/100: no match of n-grams of order {', '.join(orders)}"
