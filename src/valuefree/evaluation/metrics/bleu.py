"""BLEU and sacreBLEU, which share their counts. No torch."""

from collections.abc import Hashable, Sequence

import numpy as np

from valuefree.evaluation.metrics.base import Metric, of_sums
from valuefree.evaluation.metrics.extra import library

ORDERS = 4


def bleu_counts(predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Sufficient statistics by sacreBLEU, tokenizer 13a: matches and totals of 1- to 4-grams, both lengths; (R, 10)."""
    scorer = library("sacrebleu.metrics").BLEU(effective_order=True)  # for one sentence; it does not change the counts
    scores = (scorer.sentence_score(text, [reference]) for text, reference in zip(predictions, references, strict=True))
    rows = [[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores]
    return np.array(rows, dtype=np.float64).reshape(-1, 2 * ORDERS + 2)


def bleu_of_sums(sums_BK: np.ndarray, *, smooth: bool) -> np.ndarray:
    """BLEU from 0 to 100 of sums of `bleu_counts`, shape (B, 10) → (B,).

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
    return np.where(matches.any(axis=1) & (length > 0), scores, 0.0)


def bleu_metrics(
    names: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[str],
    prompts: Sequence[Hashable],
    unscored: int,
) -> dict[str, Metric]:
    """Those of bleu (0 to 1) and sacrebleu (0 to 100) that are named; BLEU says where the two disagree, and why."""
    counts = bleu_counts(predictions, references)
    sums = counts.sum(axis=0)
    differ = abs(float(np.diff([bleu_of_sums(sums[None], smooth=smooth)[0] for smooth in (False, True)])[0])) > 1e-9
    orders = [str(order + 1) for order in range(ORDERS) if not sums[order]]
    note = f"differs from sacreBLEU/100: no match of n-grams of order {', '.join(orders)}" if differ else None
    scorers = library("sacrebleu.metrics")
    found = {}
    for name in names:
        smooth = name == "sacrebleu"
        scale = 1.0 if smooth else 100.0

        def statistic(sums_BK: np.ndarray, smooth: bool = smooth, scale: float = scale) -> np.ndarray:
            return bleu_of_sums(sums_BK, smooth=smooth) / scale

        scorer = scorers.BLEU(smooth_method="exp" if smooth else "none")
        scorer.corpus_score([""], [[""]])  # a signature needs a corpus to know the number of references
        found[name] = of_sums(
            name,
            counts,
            prompts,
            statistic,
            unscored=unscored,
            signature=str(scorer.get_signature()),
            note=None if smooth else note,
        )
    return found
