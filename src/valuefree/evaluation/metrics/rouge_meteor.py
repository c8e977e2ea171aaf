"""ROUGE and METEOR, measured together: both are slow plain Python and share processes. No torch."""

from collections.abc import Sequence

import numpy as np

from valuefree.evaluation.metrics.base import LoadedSettings, Measure, Metric, Texts, of_mean
from valuefree.evaluation.metrics.extra import library
from valuefree.evaluation.metrics.nltk_data import use_nltk_data
from valuefree.evaluation.metrics.row_scores import ROUGE, spread_over_processes

MID_RESAMPLES = 1000


def load(names: Sequence[str], settings: LoadedSettings) -> Measure:
    """See `registry.MetricEntry`."""
    rouge = [name for name in names if name in ROUGE]
    if rouge:
        library("rouge_score.rouge_scorer")
    if "meteor" in names:
        use_nltk_data(settings.nltk_data)

    def measure(texts: Texts) -> dict[str, Metric]:
        scores = spread_over_processes(names, texts.predictions, texts.references, processes=settings.processes)
        found = {
            name: of_mean(name, scores[name], texts.prompts, bounds=(0.0, 1.0), unscored=texts.unscored)
            for name in names
        }
        if rouge and settings.rouge_mid_seed is not None and texts.predictions:
            found |= rouge_mid({name: scores[name] for name in rouge}, settings.rouge_mid_seed, unscored=texts.unscored)
        return found

    return measure


def rouge_mid(scores: dict[str, list[float]], seed: int, *, unscored: int = 0) -> dict[str, Metric]:
    """ROUGE as the `evaluate` library computes it: the median of 1,000 bootstrap means, and their 95 % range.

    The number depends on `seed`: evaluate draws from numpy's global generator, for its four types in turn, so types
    that are not in `scores` are drawn for as well. numpy's state is restored. The resamples are of responses.
    """
    rows = len(next(iter(scores.values())))
    scoring = library("rouge_score.scoring")
    aggregator = scoring.BootstrapAggregator(n_samples=MID_RESAMPLES)
    for index in range(rows):
        values = {name: scores[name][index] if name in scores else 0.0 for name in ROUGE}
        aggregator.add_scores({name: scoring.Score(0.0, 0.0, value) for name, value in values.items()})
    state = np.random.get_state()  # noqa: NPY002 - the library draws from the global generator
    try:
        np.random.seed(seed)  # noqa: NPY002
        found = aggregator.aggregate()
    finally:
        np.random.set_state(state)  # noqa: NPY002
    metrics = {}
    for name in scores:
        low, mid, high = (float(score.fmeasure) for score in (found[name].low, found[name].mid, found[name].high))
        interval = (low, high) if rows > 1 else None
        metrics[f"{name}_mid"] = Metric(f"{name}_mid", mid, interval, rows, unscored, rows, f"seed:{seed}")
    return metrics
